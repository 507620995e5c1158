#!/usr/bin/env python3
"""What an operator does: settles unknown effects, tries a redrive before it is done, asks in SQL, replays in parts, watches.

Unknown and parked things are planted in a stopped folder's log: a node cannot be brought to them on demand.
"""

import json
import os
import re
import signal
import subprocess
import time

import cli_test
import harness
from harness import check, soma, soma_error as bad, soma_lines as good, wait_until

PLANT = os.path.join(harness.BUILD, "tests", "system", "plant_entries")


def plant(data, *words):
    done = subprocess.run([PLANT, os.path.join(data, "log"), *words], capture_output=True, text=True, check=False)
    check(done.returncode == 0, f"plant_entries {words}: {done.stderr}")


def settles(data, url):
    """An unknown outcome is settled once, by name and reason; what is not unknown cannot be."""
    client = harness.Client(url)
    shown = wait_until("unknown effects", 20, lambda: (lambda a: a if len(a) == 3 else None)(
        good(data, "effects", "list", "--filter", "state=unknown")), 0.1)
    check({e["effect_id"] for e in shown} == {"call-a", "call-b", "call-c"}, shown)
    details = good(data, "effects", "show", "call-a")[0]
    check(details["class"] == "at_most_once" and details["problem"], details)
    check(good(data, "log", "sql", "select state from effects where effect_id = 'call-a'") == [{"state": "unknown"}], "SQL")

    error = client.call("POST", "/v1/admin/effects/call-a/resolve", {"outcome": "done"})
    check(error.status == 422, f"no reason: {error.status} {error.body}")
    check(client.call("POST", "/v1/admin/effects/call-a/resolve", {"outcome": "maybe", "reason": "x"}).status == 422, "maybe")
    check(client.call("POST", "/v1/admin/effects/none/resolve", {"outcome": "done", "reason": "x"}).status == 404, "missing")

    words = ("effects", "resolve", "call-a", "--outcome", "done", "--reason", "the bank shows it")
    check(good(data, *words, "--dry-run")[0]["dry_run"], "dry run")
    settled = good(data, *words, "--idempotency-key", "k")[0]
    check((settled["outcome"], settled["resolved_by"]) == ("done", "developer"), settled)
    check(good(data, *words, "--idempotency-key", "k")[0] == settled, "the same key gets the first answer")
    check(bad(data, 8, *words)["http_status"] == 409, "a second decision")
    event = good(data, "actor", "history", "demo/counter/a")[-1]
    check(event["type"] == "counter.call.resolved", event)
    resolved = event["data"]
    check(resolved["reason"] == "the bank shows it" and resolved["resolved_by"] == "developer", resolved)

    good(data, "effects", "resolve", "call-b", "--outcome", "failed", "--reason", "no trace")
    # A retry is a new attempt; this node runs no such calls, so it fails for good.
    good(data, "effects", "resolve", "call-c", "--outcome", "retry", "--reason", "try again")
    wait_until("the retry's end", 20, lambda: good(data, "actor", "history", "demo/counter/c")[-1]["type"] ==
               "counter.call.settled", 0.1)
    check(good(data, "actor", "history", "demo/counter/c")[-1]["data"]["outcome"] == "failed", "the retry failed")
    check(good(data, "effects", "list") == [], "something is left")

    # Rights: the capability, the tenant.
    for capability, tenant, status in (("admin:*", "demo", 403), ("effect:resolve", "rival", 404)):
        code, token, err = soma("auth", "token", "--tenant", tenant, "--cap", capability, data=data)
        check(code == 0, err)
        answer = harness.Client(url, token.strip()).call("POST", "/v1/admin/effects/call-a/resolve",
                                                         {"outcome": "done", "reason": "x"})
        check(answer.status == status, f"{capability} of {tenant}: {answer.status}")


def tries_a_redrive(data):
    """On a stopped folder: what would run, what would be parked again; and nothing is changed."""
    before = good(data, "log", "stat")[0]
    rows = good(data, "dlq", "redrive", "demo/counter/slow", "--try")
    check([(r["result"], r["events"]) for r in rows] == [("runs", ["counter.added"])], rows)
    check(rows[0]["parked_because"] == "an older build could not", rows)
    code, out, err = soma("dlq", "redrive", "counter/poison", "--try", "-o", "json", data=data)
    row = json.loads(out)
    check(code == 8 and row["result"] == "parked" and "explode" in row["detail"], f"{code} {out}{err}")
    bad(data, 3, "dlq", "redrive", "demo/counter/a", "--try")
    bad(data, 3, "dlq", "redrive", "demo/counter/nobody", "--try")
    check(good(data, "log", "stat")[0] == before, "trying changed the log")


def redrives(data, url):
    """The node tries first. What would run is redriven; what it would park again is not, unless it is forced."""
    client = harness.Client(url)
    path = "/v1/admin/parked/counter/"
    tried = client.call("GET", path + "slow/redrive").json
    check(not tried["would_park_again"] and [(r["result"], r["events"]) for r in tried["items"]] == [("runs", ["counter.added"])],
          tried)
    check(good(data, "dlq", "redrive", "demo/counter/slow", "--dry-run")[0]["result"] == "runs", "a rehearsal")
    check(good(data, "dlq", "redrive", "demo/counter/slow")[0]["status"] == "redriven", "redrive")
    code, out, err = soma("dlq", "redrive", "demo/counter/poison", "-o", "json", data=data)
    row = json.loads(out)
    check(code == 8 and row["result"] == "parked" and "explode" in row["detail"], f"{code} {out}{err}")
    refused = client.call("POST", path + "poison/redrive")
    check(refused.status == 409 and "explode" in refused.json["detail"], f"{refused.status} {refused.body}")
    parked = client.call("GET", path + "poison").json
    check(parked["commands"] == 1 and parked["reason"] == "an older build could not", f"refusing it changed it: {parked}")
    check(good(data, "dlq", "redrive", "demo/counter/poison", "--force")[0]["status"] == "redriven", "by force")
    wait_until("it is parked again", 20, lambda: (lambda a: a.status == 200 and "explode" in a.json["reason"])(
        client.call("GET", path + "poison")), 0.1)
    bad(data, 2, "dlq", "redrive", "demo/counter/poison", "--force", "--try")
    check(client.call("GET", path + "a/redrive").status == 404, "nothing is parked there")
    token = soma("auth", "token", "--tenant", "rival", "--cap", "admin:*", data=data)[1].strip()
    check(harness.Client(url, token).call("GET", path + "poison/redrive").status == 404, "another tenant's")
    wait_until("what was tried", 20, lambda: any(a["id"] == "slow" for a in good(data, "actor", "list", "--limit", "500")), 0.1)
    check(str(good(data, "actor", "show", "demo/counter/slow")[0]["state"]["value"]) == "5", "not what was tried")


def tails(data):
    """The newest frames; from a cursor on all that came since, page by page; filtered."""
    every = {f["position"]: f for f in good(data, "log", "export")}
    for where in ((), ("--offline",)):
        code, out, err = soma(*where, "log", "tail", "--limit", "2", "-o", "json", data=data)
        newest = [json.loads(line) for line in out.splitlines()]
        check(code == 0 and len(newest) == 2, f"{code} {out}{err}")
        cursor = err.split("next: --cursor ")[1].split()[0]
        soma(*where, "log", "tail", "--cursor", cursor, data=data)
        check(len(cursor.split(",")) == len(good(data, "log", "partitions")), cursor)
        start, seen = ",".join(place.split("/")[0] + "/0" for place in cursor.split(",")), []
        for _ in range(100):
            code, out, err = soma(*where, "log", "tail", "--cursor", start, "--limit", "7", "-o", "json", data=data)
            check(code == 0, err)
            page = [json.loads(line)["position"] for line in out.splitlines()]
            check(len(page) <= 7, f"{len(page)} frames in a page of 7")
            seen += page
            if not page:
                break
            start = err.split("next: --cursor ")[1].split()[0]
        check(len(seen) == len(set(seen)), "a frame was told twice")
        # A node shows its caller's tenant alone.
        wanted = {p for p, f in every.items() if where or any(e["actor"].startswith("demo/") for e in f["entries"])}
        check(set(seen) >= wanted, f"not told: {sorted(wanted - set(seen))[:5]}")
        place = seen[0].split("/")[0] + "/"
        one = good(data, *where, "log", "tail", "--cursor", place + "0", "--limit", "1000")
        check({f["position"] for f in one} == {p for p in seen if p.startswith(place)}, "a partition by itself")
        some = good(data, *where, "log", "tail", "--limit", "200", "--filter", "events!=0")
        check(some and all(f["events"] != 0 for f in some), "a filter")
        bad(data, 2, *where, "log", "tail", "--cursor", "soon")
        bad(data, 2, *where, "log", "tail", "--cursor", "4000/1")
        bad(data, 2, *where, "log", "tail", "--filter", "events")


def asks_in_sql(data, url, session):
    """The same on the node and on its folder; another tenant's rows are not there."""
    for query in ("select count(*) as n from events where type = 'session.started'",
                  "select session_id, status, turns from sessions",
                  "select allow, score from decisions order by decision_id",
                  "select tenant, type, events from actors where type = 'session'"):
        node = good(data, "log", "sql", query)
        check(node and node == good(data, "--offline", "log", "sql", query), query)
    check(good(data, "log", "sql", f"select status from sessions where session_id = '{session}'") == [{"status": "completed"}],
          "the session")
    event = good(data, "log", "sql", "select position, data from events where type = 'policy.decided' limit 1")[0]
    check(json.loads(event["data"])["decision"]["decision_id"].startswith("dec_"), event)
    code, token, err = soma("auth", "token", "--tenant", "rival", data=data)
    check(code == 0, err)
    check(good(data, "--token", token.strip(), "log", "sql", "select count(*) as n from events") == [{"n": 0}], "another tenant")
    for where in ((), ("--offline",)):
        check("column 8" in bad(data, 2, *where, "log", "sql", "select typo from events")["message"], "where it is wrong")
        bad(data, 2, *where, "log", "sql", "delete from events")
        bad(data, 2, *where, "log", "sql", "attach 'x' as y")
        forever = "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n"
        began = time.monotonic()
        bad(data, 1, *where, "log", "sql", forever, "--timeout", "0.2")
        check(time.monotonic() - began < 10, "a query that never ends was not ended")
    code, out, err = soma("log", "sql", "select type from events", "--limit", "2", data=data)
    check(code == 0 and len(out.splitlines()) == 2 and "more:" in err, f"{out}{err}")
    code, out, _ = soma("log", "sql", "select type, count(*) as n from events group by type", "-o", "table", data=data)
    check(code == 0 and out.startswith("TYPE"), out)


def replays_in_parts(folder):
    data = folder.data
    whole = good(data, "replay", "--jobs", "2")[0]
    check(whole["ok"] and whole["jobs"] == 2 and whole["divergences"] == [] and whole["events_per_s"] > 0, whole)
    one = good(data, "replay", "--jobs", "1")[0]
    check((one["frames"], one["events"], one["commands"], one["actors"]) ==
          (whole["frames"], whole["events"], whole["commands"], whole["actors"]), f"{one}\n{whole}")
    file = os.path.join(folder.path, "replay.json")
    good(data, "replay", "--checkpoint", file)
    again = good(data, "replay", "--resume", file)[0]
    check((again["commands"], again["ok"]) == (whole["commands"], True), again)
    bad(data, 8, "replay", "--resume", file, "--actor", "demo/session/other")
    bad(data, 3, "replay", "--resume", file + ".none")
    with open(file, encoding="utf-8") as f:
        kept = json.load(f)
    for change in ({"build": "0"}, {"partitions": kept["partitions"][:-1]}):
        with open(file, "w", encoding="utf-8") as f:
            json.dump({**kept, **change}, f)
        bad(data, 8, "replay", "--resume", file)
    with open(file, "w", encoding="utf-8") as f:
        f.write("nonsense")
    bad(data, 2, "replay", "--resume", file)


def watches(folder, url):
    """On a terminal the picture is redrawn where it stands; elsewhere lines are appended; Ctrl-C ends both with 0."""
    client = harness.Client(url)
    for n in range(2):
        client.call("POST", "/v1/sessions/start", {"prompt": f"number {n}"})
    term = cli_test.Terminal(folder.path, {"SOMA_DATA_DIR": folder.data})
    try:
        for words, seen in ((("session", "list"), "SESSION_ID"), (("status",), "PARTITION"), (("log", "owners"), "OWNER"),
                            (("effects", "list"), "EFFECT_ID"), (("dlq", "list"), "ACTOR"), (("approval", "list"), "APPROVAL_ID"),
                            (("projections", "lag"), "READ_UP_TO")):
            term.type(f"clear; {harness.SOMA} {' '.join(words)} --watch 0.2; echo ended with $?")
            term.sees_cleared(seen, "ended with")
            term.key("C-c")
            term.sees("ended with 0")
        term.type(f"clear; {harness.SOMA} session list --watch 0.2; echo ended with $?")
        term.sees_cleared("SESSION_ID", "ended with")
        session = client.call("POST", "/v1/sessions/start", {"prompt": "appears by itself"}).json["session_id"]
        screen = term.sees(session)
        check(screen.count("SESSION_ID") == 1, f"it was not redrawn in place:\n{screen}")
        term.key("C-c")
        term.sees("ended with 0")
    finally:
        term.close()
    process = subprocess.Popen([harness.SOMA, "--data-dir", folder.data, "session", "list", "--watch", "0.2"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    first = process.stdout.readline()
    check(json.loads(first)["session_id"] and "\x1b" not in first, first)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    check(process.returncode == 0, f"Ctrl-C gave {process.returncode}: {err}")
    check(not re.search("\x1b", out), "ANSI where nobody sees it")


def test():
    with harness.Upstream() as upstream, harness.Folder() as folder:
        flags = (*upstream.flags, "--memory-listen", "off")
        node = folder.node(*flags).wait_ready()
        client = harness.Client(node.url)
        session = client.call("POST", "/v1/sessions/start", {"prompt": "hello"}).json["session_id"]
        wait_until("an answer", 20, lambda: client.call("GET", f"/v1/sessions/{session}").json["status"] == "completed", 0.1)
        node.terminate()
        for name in ("a", "b", "c"):
            plant(folder.data, "call", name, f"call-{name}")
        plant(folder.data, "parked", "slow", "add")
        plant(folder.data, "parked", "poison", "explode")
        tries_a_redrive(folder.data)
        node = folder.node(*flags).wait_ready()
        settles(folder.data, node.url)
        redrives(folder.data, node.url)
        tails(folder.data)
        asks_in_sql(folder.data, node.url, session)
        watches(folder, node.url)
        code, _ = node.terminate()
        check(code == 0, f"the node ended with {code}")
        replays_in_parts(folder)
        check(good(folder.data, "verify", "--deep")[0]["ok"], "verify")
    print("unknown effects settled, a redrive tried, SQL asked, a replay in parts, views watched")


if __name__ == "__main__":
    harness.main(test)
