#!/usr/bin/env python3
"""What holds for all tenants shows nothing of any: views that differ from the log, a broken journal, switches and locks.

Each is asked for by the tenant whose it is and by another, with all rights of their own tenants.
"""

import json
import os
import subprocess

import contract
import harness
from harness import check, wait_until

SECRET = "plover"


def client_of(node, tenant, person):
    return harness.Client(node.url, harness.token(node.data, tenant, person))


def talk(client):
    session = client.call("POST", "/v1/sessions/start", {"prompt": f"Where is the {SECRET}?"}).json["session_id"]
    wait_until("an answer", 30, lambda: client.call("GET", f"/v1/sessions/{session}").json["status"] == "completed")
    return session


def verified(client):
    answer = wait_until("views", 60, lambda: (lambda a: a if a.status == 200 else None)(
        client.call("GET", "/v1/admin/projections/verify")), 0.1)
    return answer.body, answer.json


def views_that_differ(node, ana, eve):
    session = talk(ana)
    wait_until("the views", 60, lambda: any(s["session_id"] == session for s in ana.call("GET", "/v1/sessions").json.get("items", [])))
    wait_until("all rows", 60, lambda: ana.call("GET", "/v1/admin/projections/lag").json["lag_frames"] == 0)
    changed = harness.psql(node.data, f"UPDATE session_events SET data = replace(data::text, '{SECRET}', '{SECRET} of gold')::json "
                           f"WHERE session_id = '{session}' AND type = 'turn.started' RETURNING event_id")
    check(len(changed) == 2, f"nothing was changed: {changed}")  # the row and its count
    text, own = verified(ana)
    check(not own["ok"] and own["wrong_actors"] == 1 and own.get("other_tenants") == {"wrong_actors": 0}, own)
    told = own["differences"][0]
    check((told["table"], told["kind"], told["event_id"], told["column"]) == ("session_events", "changed", changed[0], "data"), told)
    check(SECRET in told["expected"] and f"{SECRET} of gold" in told["found"], told)
    text, theirs = verified(eve)
    check(not theirs["ok"] and theirs["wrong_actors"] == 1, theirs)
    check(theirs["differences"] == [] and theirs.get("other_tenants") == {"wrong_actors": 1}, theirs)
    for word in (SECRET, "acme", session, changed[0]):
        check(word not in text, f"another tenant is told {word}: {text}")


def switches(ana, eve):
    on = ana.call("POST", "/v1/admin/kill-switch", {"enabled": True, "reason": "a drill"})
    check(on.json["changed_by"] == "acme/ana", on.body)
    shown = eve.call("GET", "/v1/admin/kill-switch")
    check(shown.json["enabled"] and shown.json["reason"] == "a drill" and shown.json["changed_by"] is None, shown.body)
    ana.call("POST", "/v1/admin/kill-switch", {"enabled": False, "reason": "over"})
    locked = ana.call("POST", "/v1/training/start", {"tenant_id": "acme", "requested_by": "ana"})
    check(locked.status == 200, locked.body)
    refused = contract.problem(eve.call("POST", "/v1/settings/mode", {"mode": "test"}), 409, "conflict")
    check([e["type"] for e in refused["errors"]] == ["training_closed"] and "ana" not in json.dumps(refused), refused)
    ana.call("POST", "/v1/training/stop", {"tenant_id": "acme", "requested_by": "ana"})
    switched = ana.call("POST", "/v1/settings/mode", {"mode": "developer-full"})
    check(switched.json["changed_by"] == "acme/ana", switched.body)
    shown = eve.call("GET", "/v1/settings/mode")
    check(shown.json["mode"] == "developer-full" and shown.json["changed_by"] is None, shown.body)


def journal_report(client):
    answer = client.call("GET", "/v1/admin/verify")
    check(answer.status == 200, answer.body)
    data = next(block.split("data: ", 1)[1] for block in answer.body.split("\n\n") if "event: report" in block)
    return data, json.loads(data)


def a_broken_journal(node):
    owner, eve = client_of(node, "demo", "ann"), client_of(node, "rival", "eve")
    _, own = journal_report(owner)
    check(not own["ok"] and own["first_bad"]["invariant"] == "I6", own)
    check("demo/counter/torn: event 2 where 1 was due" in own["first_bad"]["reason"], own)
    text, theirs = journal_report(eve)
    check(not theirs["ok"] and {k: theirs["first_bad"][k] for k in ("invariant", "partition", "frame")} ==
          {k: own["first_bad"][k] for k in ("invariant", "partition", "frame")}, theirs)
    check("torn" not in text and "demo" not in text, f"another tenant is told whose: {text}")


def test():
    with harness.Upstream() as upstream, harness.Folder() as folder:
        node = folder.node(*upstream.flags).wait_ready()
        ana, eve = client_of(node, "acme", "ana"), client_of(node, "rival", "eve")
        views_that_differ(node, ana, eve)
        switches(ana, eve)
        node.terminate()
        done = subprocess.run([os.path.join(harness.BUILD, "tests", "system", "plant_entries"), os.path.join(folder.data, "log"),
                               "gap", "torn", "call"], capture_output=True, text=True, check=False)
        check(done.returncode == 0, done.stderr)
        a_broken_journal(folder.node(*upstream.flags, "--postgres", harness.NO_POSTGRES).wait_ready())
    print("views, switches and a broken journal: each told to whose it is, counted for the others")


if __name__ == "__main__":
    harness.main(test)
