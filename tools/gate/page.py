"""The page of one run: what was measured, against which bar, by which command."""

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
    return f"| {result['id']} | {result['what']} | {shown(result)} | {bar} | {result['verdict']} | {command} | {result['seconds']:.0f} |"


def text(report):
    ran = [g for g in report["gates"] if g["verdict"] in ("PASS", "FAIL")]
    passed = sum(g["verdict"] == "PASS" for g in ran)
    left = [g for g in report["gates"] if g["verdict"] not in ("PASS", "FAIL")]
    out = [f"# Gates, {report['tier']}", "",
           f"Written by `tools/gates {report['tier']}`: {WHAT[report['tier']]}. Every figure was read from the output of the command beside it.", "",
           f"Run {report['began']} at {report['commit']}, {report['seconds']} s in all, load {report['load']} at its begin. "
           f"Machine: {report['machine']}.",
           f"**{passed} of {len(ran)} pass; {sum(g['verdict'] == 'TODO' for g in left)} have nothing that measures them yet.**", "",
           "| id | what | measured | bar | verdict | command | s |", "|---|---|---|---|---|---|---|"]
    out += [row(g) for g in ran]
    if left:
        out += ["", "## Not measured here", "", "| id | what | bar | why |", "|---|---|---|---|"]
        out += [f"| {g['id']} | {g['what']} | {g['bar']} | "
                + ("TODO" if g["verdict"] == "TODO" else f"only in T2: `{g['command']}`") + " |" for g in left]
    return "\n".join(out) + "\n"


def write(report, path):
    with open(path, "w", encoding="utf-8") as f:
        f.write(text(report))
