#!/usr/bin/env python3
"""The release gate: `soma replay --compare-build` against a soma whose deciders were changed.

Every change must be reported with exit 64, and for each actor the first recorded command that it touches must be named.
Where that is, the test finds out from the steps of the unchanged build.
"""

import json
import os

import audit_test
import harness
from harness import check, gate, soma

CHANGED = os.path.join(harness.BUILD, "tests", "system", "changed_soma")
NOTHING = "e3b0c44298fc1c14"  # the digest of no effects
POSITION, ENTRY, ACTOR, COMMAND_ID, COMMAND, SEQUENCE, GIVES, DECISION, STATE, EFFECTS = range(10)


def steps(data):
    code, out, err = soma("--offline", "replay", "--steps", data=data)
    check(code == 0, err)
    return [json.loads(line) for line in out.splitlines()]


def first_of(all_steps, kind, touched):
    """{actor: (position, command id)} of the first touched step of each actor of a type."""
    out = {}
    for step in all_steps:
        if step[ACTOR].split("/")[1] == kind and touched(step):
            out.setdefault(step[ACTOR], (step[POSITION], step[COMMAND_ID]))
    return out


def has_events(step):
    return step[GIVES] != "no event" and not step[GIVES].startswith("refused")


def variants(all_steps):
    """(type, where, how, touched): what each seeded change must touch."""
    kinds = sorted({(s[ACTOR].split("/")[1], s[COMMAND]) for s in all_steps if has_events(s)})
    hows = ("refuse", "throw", "drop_event", "alter_event", "twice", "other_reply")
    for n, (kind, command) in enumerate(kinds):
        how = hows[n % len(hows)]
        always = how in ("refuse", "throw")

        def touched(s, command=command, always=always, how=how):
            accepted = not s[GIVES].startswith("refused")
            return s[COMMAND] == command and (always or (accepted if how == "other_reply" else has_events(s)))
        yield kind, command, how, touched
    events = sorted({(s[ACTOR].split("/")[1], e) for s in all_steps if has_events(s) for e in s[GIVES].split()})
    for kind, event in events:
        yield kind, event, "mistake", lambda s, event=event: has_events(s) and event in s[GIVES].split()
    for kind in sorted({s[ACTOR].split("/")[1] for s in all_steps if s[EFFECTS] != NOTHING}):
        for how in ("no_effects", "other_request", "later"):
            yield kind, "effects", how, lambda s: s[EFFECTS] != NOTHING


def compare(data, build, change=""):
    os.environ["SOMA_CHANGE"] = change
    try:
        code, out, err = soma("replay", "--compare-build", build, "-o", "json", data=data)
    finally:
        del os.environ["SOMA_CHANGE"]
    return code, json.loads(out) if out else None, err


def test():
    with harness.Folder() as folder, harness.Upstream() as upstream:
        node = folder.node(*upstream.flags, "--postgres", harness.NO_POSTGRES).wait_ready()
        client = harness.Client(node.url)
        session = audit_test.talk(client, 3)
        client.call("POST", f"/v1/sessions/{session}/messages", {"content": "and then?"})
        client.call("POST", "/v1/remember", {"text": "the sky is blue"}, key="r1")
        # A running node's journal grows while both read; both stop at the same place.
        code, report, err = compare(folder.data, harness.SOMA)
        check(code == 0 and report["ok"], f"a build differs from itself: {code} {report} {err}")
        node.terminate()
        code, report, err = compare(folder.data, CHANGED)
        check(code == 0 and report["ok"] and report["steps"] > 20, f"unchanged: {code} {report} {err}")
        all_steps = steps(folder.data)
        found = 0
        for kind, where, how, touched in variants(all_steps):
            name = f"{kind}:{where}:{how}"
            expected = first_of(all_steps, kind, touched)
            code, report, err = compare(folder.data, CHANGED, name)
            check(code == 64, f"{name}: exit {code}\n{report}\n{err}")
            got = {d["actor"]: (d["position"], d["command_id"]) for d in report["divergences"]}
            check(got == expected, f"{name}: {got}, not {expected}")
            check(sum(g["actors"] for g in report["groups"]) == report["differing_actors"] == len(expected), name)
            breaks = {d["actor"] for d in report["divergences"] if d["breaks"]}
            check(set(report["broken"]) == breaks and report["broken_actors"] == len(breaks), f"{name}: {report['broken']}")
            check(how not in ("refuse", "throw") or breaks, f"{name}: nothing would break")
            check(how != "throw" or breaks == set(expected), f"{name}: {breaks} would break, not {set(expected)}")
            for group in report["groups"]:
                paths = {d["path"] for d in group["difference"]}
                check(paths and all(p.startswith("/" + group["kind"]) or (group["kind"] == "state" and p.startswith("/effects"))
                                    or group["kind"] == "decision" for p in paths), f"{name}: {group}")
                check(group["kind"] != "decision" or any(p.startswith("/decision") for p in paths), f"{name}: {group}")
            found += 1
        code, _, err = compare(folder.data, "/bin/true")
        check(code == 6, f"a build that tells no steps: exit {code} {err}")
        gate("X4", f"{found} of {found} seeded changes", "20, each actor's first diverging command", found >= 20)


if __name__ == "__main__":
    harness.main(test)
