#!/usr/bin/env python3
"""Every actor type of the build, by reflection: history, state at every place, diff, replay and verification, on a node and on
its folder.

The types are the registry's own: a new one without an example here fails the test.
"""

import datetime
import json

import audit_test
import harness
from constitution import Signer
from harness import check, soma, wait_until


def done(answer):
    check(answer.status < 300, f"{answer.status} {answer.body}")
    return answer


def talks(client, **_):
    session = audit_test.talk(client, 1)
    done(client.call("POST", f"/v1/sessions/{session}/messages", {"content": "and then?"}))
    wait_until("the second turn's end", 30, lambda: (lambda s: len(s["turns"]) == 2 and s["status"] == "completed")(
        client.call("GET", f"/v1/sessions/{session}").json), 0.1)


def asks_a_person(client, **_):
    started = done(client.call("POST", "/v1/sessions/start", {"prompt": "may I?", "metadata": {"requires_human": True}}))
    session = started.json["session_id"]
    wait_until("it waits for a person", 20,
               lambda: client.call("GET", f"/v1/sessions/{session}").json["status"] == "waiting_approval", 0.1)


def counts(client, **_):
    for amount in (3, 4):
        done(client.call("POST", "/v1/bench/counter/c/add", {"amount": amount}, key=f"count-{amount}"))


def decides(client, **_):
    for risk in (0.1, 0.9):
        done(client.call("POST", "/v1/evaluate", {"action_id": "a", "capability": "c", "risk_score": risk, "confidence": 0.5,
                                                  "budget_required": 0}))


def switches(client, **_):
    for enabled in (True, False):
        done(client.call("POST", "/v1/admin/kill-switch", {"enabled": enabled, "reason": "a drill"}))


def names_a_user(client, **_):
    for name in ("Ada", "Ada L."):
        done(client.call("PUT", "/v1/users", {"user_id": "ada", "display_name": name}))


def infers(client, **_):
    done(client.call("POST", "/v1/infer_sync", {"prompt": "hello"}))


def remembers(client, **_):
    for text in ("the sky is blue", "the sea is green"):
        done(client.call("POST", "/v1/remember", {"text": text}))


def prefers(client, **_):
    path = "/v1/tenants/demo/notification-preferences?user_id=developer"
    preferences = {"channels": [{"channel": "email", "address": "a@example.org"}]}
    done(client.call("PUT", path, preferences))
    preferences["channels"][0]["address"] = "b@example.org"
    done(client.call("PUT", path, preferences))


def rules(client, **_):
    for action in ("shell", "mail"):
        text = f'@id("no-{action}") forbid(principal, action == Action::"{action}", resource);'
        done(client.call("PUT", "/v1/policy/rules", {"rules": text}))


def constitutes(client, signer):
    for version in ("1", "2"):  # not older than the one of the first start
        issued = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        done(client.call("POST", "/v1/constitution/load", signer.bundle(version, {"maximum_risk": 0.9}, issued)))


def asks_to_erase(client, **_):
    """In a production tenant: there it waits for a second person."""
    done(client.call("PUT", "/v1/tenants/demo", {"deployment_mode": "production"}))
    for person in ("eve", "mallory"):
        asked = done(client.call("POST", "/v1/tenants/demo/erase-subject", {"subject": person}))
        check(asked.json["status"] == "pending_approval", asked.body)


def sets(client, **_):
    for name in ("One", "Two"):
        done(client.call("PUT", "/v1/tenants/demo", {"display_name": name}))


EXAMPLES = {"approvals": asks_a_person, "constitution": constitutes, "counter": counts, "decision": decides, "gateway": switches,
            "idempotency": counts, "identity": names_a_user, "inference": infers, "memory": remembers, "model": talks,
            "preferences": prefers, "rules": rules, "session": talks, "tenant": sets,
            "erasure": asks_to_erase}  # the last: from then on much waits for a second person


def ask(where, *words):
    code, out, err = soma(*where, *words, "-o", "json")
    check(code == 0, f"soma {' '.join(words)}: exit {code}\n{err}")
    return [json.loads(line) for line in out.splitlines()]


def leaves(value, path=""):
    """{JSON pointer: value} of what holds no other value."""
    if isinstance(value, dict):
        return {k: v for name, part in value.items()
                for k, v in leaves(part, f"{path}/{name.replace('~', '~0').replace('/', '~1')}").items()}
    if isinstance(value, list):
        return {k: v for n, part in enumerate(value) for k, v in leaves(part, f"{path}/{n}").items()}
    return {path: value}


def changed(old, new):
    before, after = leaves(old), leaves(new)
    return {p for p in set(before) | set(after) if before.get(p) != after.get(p) or (p in before) != (p in after)}


def looked_at(where, actor):
    """Of one actor: its history, its state behind each event; what a diff tells is what differs."""
    events = ask(where, "actor", "history", actor, "--limit", "1000")
    check([e["sequence"] for e in events] == list(range(1, len(events) + 1)), f"{actor}: sequences of {events}")
    check(all(e["type"] and isinstance(e["data"], dict) for e in events), f"{actor}: an event without type or data: {events}")
    states = [ask(where, "actor", "state", actor, "--at", str(n + 1))[0] for n in range(len(events))]
    for event, state in zip(events, states):
        check((state["sequence"], state["position"]) == (event["sequence"], event["position"]), f"{actor}: {state}")
    check(ask(where, "actor", "show", actor)[0] == states[-1], f"{actor}: now is not behind its last event")
    moved = [n for n in range(1, len(states)) if states[n]["state"] != states[n - 1]["state"]]
    for n in moved[:3] or [len(states) - 1]:
        told = ask(where, "actor", "diff", actor, "--from", str(max(1, n)), "--to", str(n + 1))
        expected = changed(states[max(0, n - 1)]["state"], states[n]["state"])
        # A value that came or went whole is told as one.
        check(all(any(p == row["path"] or p.startswith(row["path"] + "/") for row in told) for p in expected) and
              all(any(p == row["path"] or p.startswith(row["path"] + "/") for p in expected) for row in told),
              f"{actor}: diff {n} to {n + 1} tells {told}, not {sorted(expected)}")
    return events, states


def test():
    with harness.Upstream() as upstream, harness.Folder() as folder:
        signer = Signer(folder.path)
        node = folder.node(*upstream.flags, "--postgres", harness.NO_POSTGRES, "--erasure-two-keys", "true", "--constitution-trusted-keys", signer.public).wait_ready()
        client = harness.Client(node.url)
        types = {row["type"] for row in ask(("--server", node.url), "actor", "types")}
        check(types, "the registry is empty")
        check(types <= set(EXAMPLES), f"actor types without an example in this test: {sorted(types - set(EXAMPLES))}")
        check(set(EXAMPLES) <= types, f"examples of what is no actor type: {sorted(set(EXAMPLES) - types)}")
        for example in dict.fromkeys(EXAMPLES.values()):
            example(client, signer=signer)
        wait_until("what was asked has ended", 30, lambda: not client.call("GET", "/v1/admin/effects?limit=200").json["items"] or
                   all(e["kind"] == "timer" for e in client.call("GET", "/v1/admin/effects?limit=200").json["items"]), 0.1)
        at_node, here = ("--server", node.url), ("--data-dir", folder.data, "--offline")
        found = {name: [row["actor"] for row in ask(here, "actor", "list", "--type", name, "--limit", "1000")] for name in types}
        check(all(found.values()), f"no actor of {sorted(name for name, actors in found.items() if not actors)}")
        seen = {}
        for name in sorted(types):
            actor = max(found[name], key=lambda a: len(ask(here, "actor", "history", a, "--limit", "1000")))
            seen[actor] = looked_at(here, actor)
            if actor.startswith("demo/"):
                check(looked_at(at_node, actor) == seen[actor], f"{actor}: the node tells it otherwise than its folder")
            else:
                check(soma(*at_node, "actor", "show", actor)[0] == 3, f"{actor} is shown to another tenant")
        check(node.terminate()[0] == 0, "exit code")
        for actor, before in seen.items():
            events, _ = looked_at(here, actor)
            check(events[:len(before[0])] == before[0], f"{actor}: the end of the node changed its history")
            again = ask(here, "replay", "--actor", actor)[0]
            check(again["ok"] and again["commands"] > 0, f"replay of {actor}: {again}")
        report = harness.verify_deep(folder.data)
        check(report["ok"] and report["events"] >= sum(len(events) for events, _ in seen.values()), f"{report}")
        whole = ask(here, "replay")[0]
        check(whole["ok"] and whole["actors"] >= len(seen), f"{whole}")
    print(f"{len(types)} actor types: history, states, diffs, replay and verification, {sum(len(e) for e, _ in seen.values())} events")


if __name__ == "__main__":
    harness.main(test)
