"""The page of a tier and the same as JSON: what was measured, against which bar, by which command, at which commit."""

import json

WHAT = {"T1": "the short forms, as for every change", "T2": "the long forms"}


def shown(result):
    figure = result["measured"]
    if figure is None:
        return result["why"] or ""
    text = f"{figure:,.0f}" if figure == int(figure) else f"{figure:,.3g}"
    return f"{text} {result['unit']}".strip() + (f" ({result['why']})" if result["why"] else "")


def row(result):
    bar = result["bar"] + (f" (in full: {result['full']})" if result["full"] else "")
    command = f"`{result['command']}`".replace("|", "\\|")
    return f"| {result['id']} | {result['what']} | {shown(result)} | {bar} | {result['verdict']} | {command} | {result['seconds']:.0f} | {result['commit']} |"


def when(report, ran):
    """One run, or the last of several: then each row says at which commit it was measured."""
    commits = {g["commit"] for g in ran}
    if commits <= {report["commit"]}:
        return f"Run {report['began']} at {report['commit']}, {report['seconds']} s in all, load {report['load']} at its begin."
    whole = sum({g["command"]: g["seconds"] for g in ran}.values())
    return (f"Measured in parts from {min(g['when'] for g in ran)} to {max(g['when'] for g in ran)}, {whole / 60:.0f} min in all; "
            "the last column says at which commit.")


def text(report):
    ran = [g for g in report["gates"] if g["verdict"] in ("PASS", "FAIL")]
    passed = sum(g["verdict"] == "PASS" for g in ran)
    left = [g for g in report["gates"] if g["verdict"] not in ("PASS", "FAIL")]
    out = [f"# Gates, {report['tier']}", "",
           f"Written by `tools/gates {report['tier']}`: {WHAT[report['tier']]}. Every figure was read from the output of the command beside it.", "",
           f"{when(report, ran)} Machine: {report['machine']}.",
           f"**{passed} of {len(ran)} pass; {sum(g['verdict'] == 'not run' for g in left)} were left out; "
           f"{sum(g['verdict'] == 'TODO' for g in left)} have nothing that measures them yet.**", "",
           "| id | what | measured | bar | verdict | command | s | commit |", "|---|---|---|---|---|---|---|---|"]
    out += [row(g) for g in ran]
    if left:
        out += ["", "## Not measured here", "", "| id | what | bar | why |", "|---|---|---|---|"]
        out += [f"| {g['id']} | {g['what']} | {g['bar']} | "
                + {"TODO": "TODO", "T2": f"only in T2: `{g['command']}`", "not run": f"**not run**: `{g['command']}`"}[g["verdict"]] + " |"
                for g in left]
    return "\n".join(out) + "\n"


def write(report, name):
    """`name`.md for people, `name`.json for the next run of a part."""
    with open(name + ".json", "w", encoding="utf-8") as f:
        json.dump(report, f, indent=1)
        f.write("\n")
    with open(name + ".md", "w", encoding="utf-8") as f:
        f.write(text(report))
