#!/usr/bin/env python3
"""Dashboard and alert rules name only metrics, labels and runbooks that there are; the unit is that of deploy/."""

import json
import os
import re

import yaml

import audit_test
import harness
from harness import check, soma

PROMETHEUS_OWN = {"up"}  # made by the scraper, with these labels on everything
SCRAPED = {"job", "instance", "le"}
METRIC = re.compile(r"\b(?:soma|gen_ai)_[a-z0-9_]+|\bup\b(?=\{)")
SELECTED = re.compile(r"([a-z_0-9]+)\{([^}]*)\}")
GROUPED = re.compile(r"by \(([^)]*)\) \(((?:[^()]|\([^()]*\))*)\)")


def out_of(*words):
    code, out, err = soma(*words)
    check(code == 0 and not err, f"soma {words}: exit {code} {err}")
    return out


def served(text):
    """{sample name: labels that its series have}."""
    found = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, labels = re.match(r"([a-zA-Z0-9_:]+)(?:\{(.*)\})? ", line).groups()
            found.setdefault(name, set()).update(re.findall(r'([a-zA-Z0-9_]+)="', labels or ""))
    return found


def named_right(expression, metrics):
    """Every metric of the expression is served, with every label that is asked for; how many it names."""
    selected = SELECTED.findall(expression)
    check(selected and "SCOPE" not in expression, f"nothing is selected: {expression}")
    labels_of = {}
    for name, matchers in selected:
        check(name in metrics or name in PROMETHEUS_OWN, f"no node serves {name}: {expression}")
        labels_of[name] = metrics.get(name, set()) | SCRAPED
        for label in re.findall(r"([a-z_]+)\s*(?:=~|!=|!~|=)", matchers):
            check(label in labels_of[name], f"{name} has no label {label}: {expression}")
        check("job" in matchers, f"{name} of any job: {expression}")
    bare = re.sub(r"\{[^}]*\}|by \([^)]*\)", "", expression)  # labels may be spelled as metrics are
    check(set(re.findall(r"\b(?:soma|gen_ai)_[a-z0-9_]+", bare)) <= set(labels_of), f"a metric without matchers: {expression}")
    for labels, inner in GROUPED.findall(expression):
        for name in (n for n, _ in SELECTED.findall(inner)):
            for label in re.split(r",\s*", labels):
                check(label in labels_of[name], f"{name} has no label {label}: {expression}")
    return len(selected)


def metrics_of_a_node():
    with harness.Folder() as folder, harness.Upstream({"next": [{"status": 400, "text": "no"}]}) as upstream:
        node = folder.node(*upstream.flags, "--postgres", harness.NO_POSTGRES).wait_ready()
        client = harness.Client(node.url)
        session = audit_test.talk(client, 2)  # the first one's call fails
        check(client.call("POST", f"/v1/sessions/{session}/cancel", {}).status == 409, "nothing was refused")
        return served(client.call("GET", "/metrics").body)


def dashboard(metrics):
    board = json.loads(out_of("generate", "grafana", "--job", "agents"))
    panels = [p for p in board["panels"] if p["type"] != "row"]
    check(len({p["id"] for p in board["panels"]}) == len(board["panels"]), "two panels of one id")
    taken = set()
    for p in board["panels"]:
        g = p["gridPos"]
        cells = {(x, y) for x in range(g["x"], g["x"] + g["w"]) for y in range(g["y"], g["y"] + g["h"])}
        check(not cells & taken and g["x"] + g["w"] <= 24, f"{p['title']} lies over another panel")
        taken |= cells
    named = sum(named_right(t["expr"], metrics) for p in panels for t in p["targets"])
    check(len(panels) >= 12 and named >= len(panels), f"{len(panels)} panels, {named} metrics")
    job = next(v for v in board["templating"]["list"] if v["name"] == "job")
    check(job["current"]["value"] == ["agents"], f"{job}")
    for v in board["templating"]["list"]:
        for name in METRIC.findall(v["query"]["query"] if isinstance(v["query"], dict) else ""):
            check(name in metrics, f"no node serves {name}")


def rules(metrics):
    text = out_of("generate", "prometheus", "--job", "agents")
    told = yaml.safe_load(text)
    check(told == json.loads(out_of("generate", "prometheus", "--job", "agents", "-o", "json")), "YAML and JSON differ")
    with open(os.path.join(harness.ROOT, "docs", "runbooks.md"), encoding="utf-8") as f:
        headings = re.findall(r"(?m)^## (.*)$", f.read())
    anchors = {re.sub(r"[^a-z0-9-]", "", h.lower().replace(" ", "-")) for h in headings}
    alerts = told["groups"][0]["rules"]
    check(len({a["alert"] for a in alerts}) == len(alerts) >= 10, f"{alerts}")
    for alert in alerts:
        named_right(alert["expr"], metrics)
        check('job="agents"' in alert["expr"], f"another job: {alert}")
        check(re.fullmatch(r"\d+[smh]", alert["for"]) and alert["labels"]["severity"] in ("critical", "warning"), f"{alert}")
        book = alert["annotations"].get("runbook")
        check(book is None or book.removeprefix("docs/runbooks.md#") in anchors, f"there is no runbook {book}")


def unit():
    for words, name in (((), "soma-node.service"), (("--environment",), "soma-node.env")):
        with open(os.path.join(harness.ROOT, "deploy", "systemd", name), encoding="utf-8") as f:
            check(out_of("generate", "systemd", *words) == f.read(), f"{name} is not that of deploy/")


def test():
    metrics = metrics_of_a_node()
    dashboard(metrics)
    rules(metrics)
    unit()
    check(soma("generate", "prometheus", "--job", 'a"} or vector(1)')[0] == 2, "a job that ends the matcher")


if __name__ == "__main__":
    harness.main(test)
