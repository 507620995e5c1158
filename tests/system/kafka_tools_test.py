#!/usr/bin/env python3
"""The commands that read a journal, on a real broker's topics: beside the node that writes there, and after it has ended.

What the brokers say must be what the node says. Nothing here may write to a topic, and damage must be found there too.
"""

import json
import os

import harness
from harness import check, soma, wait_until


def ask(code, *args):
    got, out, err = soma(*args, "-o", "json")
    check(got == code, f"soma {' '.join(args)}: exit {got}, not {code}\n{out}{err}")
    return [json.loads(line) for line in out.splitlines()]


def table(*args):
    code, out, err = soma(*args, "-o", "table")
    check(code == 0 and out.strip() and "\x1b" not in out, f"soma {' '.join(args)} -o table: exit {code}\n{out}{err}")


def without(row, *names):
    return {name: value for name, value in row.items() if name not in names}


def same_as_the_node(node, kafka, session):
    """Each starred command: asked of the node, and of the brokers."""
    at = ("--server", node.url)
    for words in (("session", "show", session), ("session", "state", session, "--at", "4"), ("session", "events", session),
                  ("session", "diff", f"{session}@2", session), ("actor", "types"), ("actor", "show", f"demo/session/{session}"),
                  ("actor", "history", f"session/{session}"), ("actor", "state", f"session/{session}", "--at", "3"),
                  ("actor", "diff", f"session/{session}", "--from", "2", "--to", "6"), ("session", "export", session),
                  ("log", "sql", "select status, turns, model from sessions"), ("log", "owners"),
                  ("log", "sql", "select type, count(*) as n from events where actor_type = 'session' group by type"),
                  ("session", "list")):
        theirs, ours = ask(0, *at, *words), ask(0, *words, "--kafka", kafka)
        # Without a folder there is no key that would sign an export; who is warm only nodes know.
        ours, theirs = ([without(r, "lag", "standbys") for r in rows if "signature" not in r] for rows in (ours, theirs))
        check(ours == theirs,
              f"soma {' '.join(words)}:\nnode    {theirs}\nbrokers {ours}")
        table(*words, "--kafka", kafka)
    actors = {a["actor"] for a in ask(0, *at, "actor", "list", "--limit", "500")}
    brokers = {a["actor"] for a in ask(0, "actor", "list", "--limit", "500", "--kafka", kafka)}  # of all tenants
    check(actors == {a for a in brokers if a.startswith("demo/")}, f"actor list: {actors ^ brokers}")


def of_the_journal(kafka, session):
    stat = ask(0, "log", "stat", "--kafka", kafka)[0]
    partitions = ask(0, "log", "partitions", "--kafka", kafka)
    check(stat["records"] == sum(p["records"] for p in partitions) > 0, f"{stat}")
    newest = ask(0, "log", "tail", "--limit", "3", "--kafka", kafka)
    check(len(newest) == 3, newest)
    position = newest[-1]["position"]
    check(ask(0, "log", "get", position, "--kafka", kafka)[0]["position"] == position, "log get")
    check(len(ask(0, "log", "export", "--kafka", kafka)) == stat["frames"], "log export")
    for words in (("stat",), ("partitions",), ("tail",), ("get", position), ("export",)):
        table("log", *words, "--kafka", kafka)
    traced = ask(0, "session", "show", session, "--trace", "--kafka", kafka)[0]
    check(traced["trace"] and not traced["partial"], traced)
    report = ask(0, "verify", "--deep", "--kafka", kafka)[0]
    check(report["ok"] and report["frames"] == stat["frames"], f"{report}")
    replayed = ask(0, "replay", "--jobs", "2", "--kafka", kafka)[0]
    check(replayed["ok"] and replayed["frames"] == stat["frames"], replayed)
    only = ask(0, "replay", "--actor", f"demo/session/{session}", "--kafka", kafka)[0]
    check(only["ok"], only)
    check(0 < only["commands"] < replayed["commands"], f"{only}\n{replayed}")
    ask(3, "replay", "--actor", "demo/session/none", "--kafka", kafka)
    check(ask(0, "replay", "--compare-build", harness.SOMA, "--kafka", kafka), "a build differs from itself")
    topics = {t["topic"]: t for t in ask(0, "kafka", "topics", "--kafka", kafka)}
    check("soma.events" in topics, topics)
    table("kafka", "topics", "--kafka", kafka)
    check(ask(0, "log", "stat", "--kafka", kafka)[0] == stat, "reading wrote something")


def what_if(folder, kafka, session):
    file = os.path.join(folder.path, "stricter.json")
    with open(file, "w", encoding="utf-8") as out:
        json.dump({"maximum_risk": 0.01}, out)
    answer = ask(0, "session", "what-if", session, "--constitution", file, "--kafka", kafka)[0]
    check(answer["diverges"] and answer["at"]["what_if"][-1] == "session.failed", answer)


def audits(folder, data, kafka):
    bundle = os.path.join(folder.path, "demo.audit")
    ask(0, "--data-dir", data, "audit", "export", "--tenant", "demo", "--out", bundle, "--kafka", kafka)
    check(os.path.getsize(bundle) > 1000, "the bundle is empty")
    checked = ask(0, "--data-dir", data, "audit", "verify", bundle)[0]
    check(checked["ok"] and checked["records"] > 5, checked)
    with open(bundle, "rb") as f:
        whole = f.read()
    middle = len(whole) // 2
    with open(bundle, "wb") as f:
        f.write(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1:])
    ask(9, "--data-dir", data, "audit", "verify", bundle)


def test():
    with harness.Brokers() as brokers, harness.Upstream() as upstream, harness.Folder() as folder:
        kafka = brokers.bootstrap
        node = folder.node(*upstream.flags, "--kafka", kafka).wait_ready(60)
        with open(os.path.join(folder.data, "keys", "vault", "master.key"), encoding="ascii") as f:
            os.environ["SOMA_PRIVACY_MASTER_KEY"] = f.read().strip()  # an operator's machine, without the folder
        client = harness.Client(node.url)
        session = client.call("POST", "/v1/sessions/start", {"prompt": "hello"}).json["session_id"]
        wait_until("an answer", 30, lambda: client.call("GET", f"/v1/sessions/{session}").json["status"] == "completed", 0.1)
        same_as_the_node(node, kafka, session)
        table("kafka", "lag", "--kafka", kafka)
        code, _ = node.terminate()
        check(code == 0, f"the node ended with {code}")
        of_the_journal(kafka, session)
        what_if(folder, kafka, session)
        audits(folder, folder.data, kafka)
        for words in (("verify",), ("replay",), ("session", "what-if", session, "--model", "x")):
            code, _, err = soma("--data-dir", folder.data, *words)
            check(code == 3 and "name the brokers with --kafka" in err, f"soma {words} on the folder alone: {code} {err}")
        code, _, err = soma("log", "stat", "--kafka", "127.0.0.1:1", "-o", "json")
        check(code == 1 and json.loads(err.splitlines()[-1])["error"]["code"] == "unavailable", f"no brokers: {code} {err}")
    print("every command that reads a journal, on a broker's topics")


if __name__ == "__main__":
    harness.main(test)
