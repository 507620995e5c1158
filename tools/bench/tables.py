"""Benchmark results to Markdown: tables.py LINES [DOCUMENT]; with DOCUMENT between its markers, and to stdout."""
import json
import sys

BEGIN, END = "<!-- results: written by tools/benchmarks -->", "<!-- end of results -->"


def read(path):
    """Lines are `RUN command`, a JSON object, `GATE id measured bar verdict`, or `FAILED reason`."""
    runs = []
    with open(path, encoding="utf-8") as lines:
        for line in (each.strip() for each in lines):
            if line.startswith("RUN "):
                runs.append({"command": line[4:], "gates": [], "result": None, "failed": None})
            elif line.startswith("GATE "):
                runs[-1]["gates"].append(line.split()[1:])
            elif line.startswith("FAILED "):
                runs[-1]["failed"] = line[7:]
            elif line.startswith("{"):
                runs[-1]["result"] = json.loads(line)
    return runs


def number(value):
    if value is None:
        return ""
    if isinstance(value, float) and abs(value) < 100:
        return f"{value:.3g}"
    return f"{round(value):,}" if isinstance(value, (int, float)) else str(value)


def row(cells):
    return "| " + " | ".join(cells) + " |"


def server_rows(runs):
    head = ["what", "clients", "ops/s", "p50 ms", "p99 ms", "p99.9 ms", "CPU us/op", "RSS MB"]
    out = [row(head), row(["---"] * len(head))]
    for run in runs:
        result = run["result"]
        if not result or "ours" not in result:
            continue
        for side in ("ours", "peer"):
            figures = result.get(side)
            if not figures:
                continue
            name = result["bench"] if side == "ours" else "… " + result.get("peer_name", "peer")
            each = ""  # what has no rate has no cost of one
            if figures["ops"] is not None:
                each = number(1e6 * figures["cpu_s"] / max(figures["ops"] * result["seconds"], 1))
            out.append(row([name, number(result["clients"])] + [
                number(figures[key]) for key in ("ops", "p50_ms", "p99_ms", "p999_ms")] + [
                    each, number(figures["rss_mb"])]))
    return out


def render(runs):
    results = [run["result"] for run in runs if run["result"]]
    if not results:
        return "Nothing was measured.\n"
    stated = next((r for r in results if r.get("peer")), results[0])
    peers = {r["peer_name"]: r["durability"]["peer"] for r in results if r.get("peer")}
    told = "".join(f" {name}: {how}." for name, how in peers.items())
    out = [f"Machine: {results[0]['machine']}. Run: {stated.get('when', '')}.", "",
           f"Durability, ours: {stated.get('durability', {}).get('ours')}.{told}", ""]
    out += server_rows(runs) + ["", row(["gate", "measured", "bar", ""]), row(["---"] * 4)]
    for run in runs:
        out += [row([g[0], number(float(g[1])), number(float(g[2])), g[3]]) for g in run["gates"]]
    out += ["", "Also measured:", ""]
    for run in runs:
        result = run["result"] or {}
        known = ("bench", "when", "machine", "durability", "clients", "seconds", "ours", "peer", "ratio", "peer_name")
        extra = ", ".join(f"{k} {number(v)}" for k, v in result.items() if k not in known)
        if extra:
            out.append(f"- `{run['command']}`: {extra}")
        if run["failed"]:
            out.append(f"- `{run['command']}` FAILED: {run['failed']}")
    return "\n".join(out) + "\n"


def main(lines, document=None):
    text = render(read(lines))
    print(text)
    if document:
        with open(document, encoding="utf-8") as source:
            old = source.read()
        before, rest = old.split(BEGIN, 1)
        after = rest.split(END, 1)[1]
        with open(document, "w", encoding="utf-8") as target:
            target.write(before + BEGIN + "\n\n" + text + "\n" + END + after)


main(*sys.argv[1:])
