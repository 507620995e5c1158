#!/usr/bin/env python3
"""Time travel and what an operator mends: any state at any place, causes as a tree, rebuilds, redrives, other builds.

States are compared with a fold that this test makes of the events, by rules of its own.
"""

import glob
import hashlib
import http.server
import json
import os
import threading

import audit_test
import harness
from harness import check, soma, wait_until


CANARY = "canary-7f3c9d"


STAGES = {"budget.requested": "RESERVING", "budget.reserved": "RECALLING", "memory.recalled": "CALLING", "turn.completed": "DONE",
          "turn.failed": "TURN_FAILED"}
USAGE = ("prompt_tokens", "completion_tokens")


def fold(events):
    """What a session is after these events, as far as the test knows sessions."""
    out = {"status": None, "model": "", "turns": []}
    for event in events:
        kind, data = event["type"], event["data"]
        turn = out["turns"][int(data["turn"]) - 1] if int(data.get("turn", 0)) and kind != "turn.started" else None
        if kind == "session.started":
            out.update(status="ACCEPTED", model=data.get("model", ""), session_id=data["session_id"], tenant=data["tenant_id"])
        elif kind == "turn.started":
            out["status"] = "RUNNING"
            out["turns"].append({"prompt": data["prompt"], "answer": "", "stage": None, "decision": None, "reserved": 0,
                                 "memories": [], "model": "", "call": "", "usage": dict.fromkeys(USAGE, 0)})
        elif kind == "policy.decided":
            turn["decision"] = data["decision"]["decision_id"]
        elif kind == "budget.requested":
            turn["reserved"] = int(data["tokens"])
        elif kind == "memory.recalled":
            turn["memories"] = [m["memory_id"] for m in data.get("memories", [])]
        elif kind == "model.requested":
            turn["call"] = data["call_id"]
        elif kind == "model.answered":
            turn.update(answer=data["answer"]["output"], model=data["answer"]["model"],
                        usage={name: int(data["answer"]["usage"].get(name, 0)) for name in USAGE})
        elif kind in ("session.completed", "session.failed", "session.cancelled"):
            out["status"] = kind.split(".")[1].upper()
        if turn and kind in STAGES:
            turn["stage"] = STAGES[kind]
    out["tokens"] = {name: sum(t["usage"][name] for t in out["turns"]) for name in USAGE}
    return out


def seen(state):
    """The same of a state as the node or the command tells it."""
    turns = [{"prompt": t.get("prompt", ""), "answer": t.get("answer", ""),
              "stage": None if t.get("stage") in (None, "TURN_STAGE_UNSPECIFIED") else t["stage"],
              "decision": (t.get("decision") or {}).get("decision_id"), "reserved": int(t.get("reserved_tokens", 0)),
              "memories": [m["memory_id"] for m in t.get("memories", [])], "model": t.get("model", ""), "call": t.get("call_id", ""),
              "usage": {name: int((t.get("usage") or {}).get(name, 0)) for name in USAGE}} for t in state.get("turns", [])]
    return {"status": state["status"], "model": state.get("model", ""), "session_id": state["session_id"],
            "tenant": state["tenant_id"], "turns": turns, "tokens": {n: sum(t["usage"][n] for t in turns) for n in USAGE}}


def read(where, *args):
    code, out, err = soma(*where, *args, "-o", "json")
    check(code == 0, f"soma {args}: {code} {err}")
    return json.loads(out)


def states(where, session, events, client=None):
    last = fold(events)
    check(len(last["turns"]) == 2 and all(t["answer"] and t["model"] and t["usage"]["completion_tokens"] for t in last["turns"])
          and any(t["memories"] for t in last["turns"]), f"too little to compare: {last}")
    for n in range(1, len(events) + 1):
        known, event = fold(events[:n]), events[n - 1]
        state = read(where, "actor", "state", f"session/{session}", "--at", str(n))
        got = seen(state["state"])
        check(got == known, f"at {n}, after {event['type']}:\n{got}\nnot\n{known}")
        check(state["sequence"] == n and state["position"] == event["position"], f"at {n}: {state['position']}")
        if n == len(events) or events[n]["position"] != event["position"]:
            at = read(where, "session", "state", session, "--at", event["position"])
            check(at["state"] == state["state"], f"by position {event['position']}")
        if n == len(events) or events[n]["time"] > event["time"]:
            at = read(where, "session", "state", session, "--at", event["time"])
            check(at["state"] == state["state"], f"by time {event['time']}")
        if client:
            answer = client.call("POST", "/v1/replay", {"actor": f"session/{session}", "at": str(n)})
            check(answer.status == 200, answer.body)
            check(answer.json["state"] == state["state"], f"POST /v1/replay at {n}")
            waits = answer.json["effects"]
            check(bool(waits) == (n < len(events) and event["type"] in ("budget.reserved",)) or
                  event["type"] not in ("budget.reserved", "session.completed"), f"at {n}: effects {waits}")


def histories(where, session, events):
    """Events up to a place are those that had happened there."""
    def told(*words):
        code, out, err = soma(*where, *words, "--limit", "200", "-o", "json")
        check(code == 0, f"soma {words}: {code} {err}")
        return [json.loads(line)["event_id"] for line in out.splitlines()]
    ids = [e["event_id"] for e in events]
    for words in (("session", "events", session), ("actor", "history", f"session/{session}")):
        check(told(*words) == ids, f"{words}: not all events")
        for n, event in enumerate(events, 1):
            check(told(*words, "--at", str(n)) == ids[:n], f"{words} --at {n}")
            same_place = [e["event_id"] for e in events if e["position"] == event["position"]]
            check(told(*words, "--at", event["position"]) == ids[:ids.index(same_place[-1]) + 1], f"{words} --at {event['position']}")
            check(told(*words, "--at", event["time"]) == [e["event_id"] for e in events if e["time"] <= event["time"]],
                  f"{words} --at {event['time']}")
        check(told(*words, "--at", "3", "--filter", f"type={events[1]['type']}") == ids[1:2], "--at beside --filter")
        check(soma(*where, *words, "--at", "soon")[0] == 2, "no place")


def walk(nodes):
    for node in nodes:
        yield node
        yield from walk(node["led_to"])


def traced(where, session, events):
    trace = read(where, "session", "show", session, "--trace")["trace"]
    nodes = list(walk(trace))
    own = [e["event_id"] for n in nodes if n["actor"] == f"demo/session/{session}" for e in n["events"]]
    check(sorted(own) == sorted(e["event_id"] for e in events), "the tree holds other events than the history")
    roots = [n["command"] for n in trace]
    check(roots and set(roots) <= {"start_session", "add_message", "send_message", "ask"}, f"roots: {roots}")
    kinds = {(n["actor"].split("/")[1], n["command"]) for n in nodes}
    check({("tenant", "reserve_budget"), ("session", "budget_granted"), ("session", "effect_outcome"),
           ("session", "call_succeeded"), ("memory", "remember")} <= kinds, f"not in the tree: {kinds}")
    below = [n["actor"] for n in nodes if n["command"] == "start_session" for n in n["led_to"]]
    check(below == ["demo/tenant/settings"], f"the tenant's decision of the budget does not stand below what asked for it: {below}")
    held = {n["command_id"] for n in nodes}
    check(all(s["command_id"] in held for n in nodes for s in n["sent"]), "something that was sent is not followed")
    decided = [e for n in nodes for e in n["events"] if e["type"] == "policy.decided"]
    check(decided and all(e["data"]["decision"].get("constitution_hash") for e in decided), "no constitution")
    table = soma(*where, "session", "show", session, "--trace", "-o", "table")[1]
    check("├─ start_session" in table and "└─ send_message" in table and "policy allows" in table, table)
    for decision in (e["data"]["decision"] for e in decided):
        check(f"constitution {decision['constitution_hash'][:12]}" in table and
              f"settings version {decision.get('settings_version', 0)}; no policy rules" in table, f"{decision}\n{table}")
    return trace


def log_digest(data):
    digest = hashlib.sha256()
    for name in sorted(glob.glob(os.path.join(data, "log", "*.seg"))):
        with open(name, "rb") as f:
            digest.update(f.read())
    return digest.hexdigest()


def otherwise(folder, where, session, events):
    """What-if: parts where the changed rule bites, and nowhere when it does not; leaves the log alone."""
    before = log_digest(folder.data)
    decided = next(e for e in events if e["type"] == "policy.decided")["data"]["decision"]["input"]

    def ask(flag, content):
        path = os.path.join(folder.path, "other.json")
        with open(path, "w", encoding="utf-8") as f:
            json.dump(content, f)
        return read(where, "session", "what-if", session, flag, path)
    same = ask("--policy", {"action_id": decided["action_id"]})
    check(not same["diverges"] and same["simulated"] and same["recorded"] == same["what_if"], f"the same: {same}")
    for flag, content in (("--policy", {"risk_score": 1.0, "confidence": 0.0}),
                          ("--constitution", {"prohibited_actions": [decided["action_id"]]}),
                          ("--constitution", {"document": {"version": "2", "rules": {"maximum_risk": -1}}}),
                          ("--settings", {"policy": {"threshold": 0.999}})):
        other = ask(flag, content)
        check(other["diverges"] and other["at"]["command"] == "start_session", f"{flag} {content}: {other}")
        check("policy.decided" in other["at"]["what_if"] and "budget.requested" not in other["at"]["what_if"], f"{other}")
        check(other["what_if"]["status"] == "failed" and other["commands_reused"] == 0, f"{other['what_if']}")
        first = next(n for n, event in enumerate(events) if event["type"] == "budget.requested")
        check(other["at"]["recorded"] == [e["type"] for e in events[:first + 1]] and other["at"]["sequence"] == first + 1,
              f"{flag} parts at {other['at']}, not in what was decided with event {first + 1}")
    for text, parts in ((f'@id("no") forbid(principal, action == Action::"{decided["action_id"]}", resource);', True),
                        ('@id("no") forbid(principal, action == Action::"other", resource);', False)):
        path = os.path.join(folder.path, "other.cedar")
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        ruled = read(where, "session", "what-if", session, "--policy", path)
        check(ruled["diverges"] == parts, f"{text}: {ruled}")
        check(not parts or ruled["what_if"]["error"]["code"] == "policy_denied", f"{ruled['what_if']}")
    with open(path, "w", encoding="utf-8") as f:
        f.write("forbid(")
    check(soma(*where, "session", "what-if", session, "--policy", path)[0] == 2, "broken rules")
    model = read(where, "session", "what-if", session, "--model", "another")
    check(model["diverges"] and model["at"]["command"] == "effect_outcome" and model["commands_reused"] > 0, f"{model}")
    other = soma(*where, "session", "what-if", session, "--settings", "/dev/null")
    check(other[0] == 2, f"no JSON: {other}")
    check(soma(*where, "session", "what-if", session)[0] == 2, "nothing is otherwise")
    check(soma(*where, "session", "what-if", "none", "--model", "x")[0] == 3, "no such session")
    check(log_digest(folder.data) == before, "what-if touched the log")


def otherwise_over_http(folder, client, other, session):
    """POST /v1/replay with what_if: what the command tells of the same journal; calls and writes nothing; within its tenant."""
    def ask(actor=session, caller=client, **what_if):
        return caller.call("POST", "/v1/replay", {"actor": f"session/{actor}", "what_if": what_if})

    def refused(answer, status, place=None):
        check(answer.status == status, f"{answer.status}, not {status}: {answer.body}")
        check(place is None or [e["loc"] for e in answer.json["errors"]] == [place.split(".")], f"{place}: {answer.body}")

    where, before = ("--data-dir", folder.data), log_digest(folder.data)
    forbid = '@id("no") forbid(principal, action == Action::"session.turn", resource);'
    for flag, name, content in (("--policy", "policy", {"risk_score": 1.0, "confidence": 0.0}), ("--policy", "policy", forbid),
                                ("--policy", "policy", {"action_id": "session.turn"}),
                                ("--constitution", "constitution", {"document": {"version": "2", "rules": {"maximum_risk": -1}}}),
                                ("--settings", "settings", {"policy": {"threshold": 0.999}}), ("--model", "model", "another")):
        if flag == "--model":
            path = content
        else:
            path = os.path.join(folder.path, "http.json")
            with open(path, "w", encoding="utf-8") as f:
                f.write(content if isinstance(content, str) else json.dumps(content))
        answer = ask(**{name: content})
        check(answer.status == 200, f"{name}: {answer.status} {answer.body}")
        told = read(where, "session", "what-if", session, flag, path)
        check(answer.json == told, f"{name} {content}: over HTTP\n{answer.json}\nthe command\n{told}")
        check(told["simulated"] and told["live"] is None, told)
    refused(ask(), 422, "body.what_if")
    refused(ask(model="another", live=True), 422, "body.what_if.live")
    refused(ask(policy={"risc_score": 1}), 422, "body.what_if.policy")
    refused(ask(policy="forbid("), 422, "body.what_if.policy")
    refused(ask(policy=7), 422, "body.what_if.policy")
    refused(ask(constitution={"version": "2"}), 422, "body.what_if.constitution")
    refused(ask(settings={"policy": {"threshold": "high"}}), 422, "body.what_if.settings")
    refused(client.call("POST", "/v1/replay", {"actor": f"session/{session}", "at": "2", "what_if": {"model": "x"}}), 422, "body.at")
    refused(client.call("POST", "/v1/replay", {"actor": "tenant/settings", "what_if": {"model": "x"}}), 422, "body.actor")
    missing = ask("none", model="another")
    refused(missing, 404)
    foreign = ask(caller=other, model="another")
    foreign_name = other.call("POST", "/v1/replay", {"actor": f"demo/session/{session}", "what_if": {"model": "another"}})
    check(foreign.status == foreign_name.status == 404 and foreign.json["detail"] == missing.json["detail"] ==
          foreign_name.json["detail"], f"another tenant's: {foreign.body} {foreign_name.body}")
    check(log_digest(folder.data) == before, "a what-if over HTTP touched the log")


def shown_then(where, session, events):
    """session show --at: the session's own view of a place, which must be that of the state there."""
    stages = {"session.started": "accepted", "turn.started": "running", "session.completed": "completed"}
    for n, event in enumerate(events, 1):
        then = read(where, "session", "show", session, "--at", str(n))
        state = read(where, "session", "state", session, "--at", str(n))["state"]
        check(len(then["turns"]) == len(state.get("turns", [])), f"at {n}: {then}")
        check(then["status"] == stages.get(event["type"], then["status"]), f"at {n}, {event['type']}: {then['status']}")
        check([t["answer"] for t in then["turns"] if t["answer"]] == [t["answer"] for t in state.get("turns", []) if t.get("answer")],
              f"at {n}: answers of {then}")
    now = read(where, "session", "show", session)
    check(then == now and read(where, "session", "show", session, "--at", events[-1]["position"]) == now, "the last place is not now")
    check(soma(*where, "session", "show", session, "--at", "soon")[0] == 2, "no place")
    check(soma(*where, "session", "show", session, "--at", "2000-01-01T00:00:00Z")[0] == 3, "before it began")
    check(soma(*where, "session", "show", session, "--at", "2", "--trace")[0] == 2, "--trace --at")
    return [read(where, "session", "show", session, "--at", str(n)) for n in range(1, len(events) + 1)]


class OtherBuild(http.server.BaseHTTPRequestHandler):
    """A node that knows none of our routes."""

    def do_GET(self):
        body = b'{"type":"about:blank","title":"Not Found","status":404,"code":"not_found","detail":"no route has this path"}'
        self.send_response(404)
        self.send_header("Content-Type", "application/problem+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def skewed():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), OtherBuild) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        code, out, err = soma("--server", f"http://127.0.0.1:{server.server_port}", "projections", "list", "-o", "json")
        server.shutdown()
    check(code == 6 and out == "", f"another build's node: exit {code} {out}{err}")


def support(folder, where, token):
    path = os.path.join(folder.path, "support.json")
    code, _, err = soma("bundle", "--out", path, *where)
    check(code == 0, err)
    with open(path, encoding="utf-8") as f:
        text = f.read()
    bundle = json.loads(text)
    check({"machine", "folder", "status", "partitions", "metrics"} <= set(bundle) and "unavailable" not in bundle["status"],
          f"support bundle: {sorted(bundle)}")
    for secret in (CANARY, token, "question 0", "Hello from the script", "PRIVATE KEY"):
        check(secret not in text, f"the support bundle tells `{secret}`")


def mended(where, session):
    report = read(where, "projections", "rebuild")
    check(report["status"] == "rebuilt" and report["rows"] > 0, f"rebuild: {report}")
    done = read(where, "projections", "rebuild", "--no-wait")["rebuild"]["done"]
    wait_until("the rebuild that nobody waited for has ended", 60,
               lambda: read(where, "projections", "list")["rebuild"]["done"] == done + 1, 0.1)
    again = read(where, "dlq", "redrive", f"demo/session/{session}")
    check(again["status"] == "nothing_parked", f"redrive of nothing: {again}")
    check(soma(*where, "dlq", "redrive", "demo/session/none")[0] == 3, "redrive of an actor that is not there")


def test():
    with harness.Folder() as folder, harness.Upstream() as upstream:
        node = folder.node(*upstream.flags, env={"SOMA_SLM_OPENAI_API_KEY": CANARY}).wait_ready()
        client, where = harness.Client(node.url), ("--data-dir", folder.data)
        client.call("POST", "/v1/remember", {"text": "the answer to question 1 is blue"}, key="remembered")
        session = audit_test.talk(client, 2)
        client.call("POST", f"/v1/sessions/{session}/messages", {"content": "and question 2, is it blue?"})
        wait_until("the second turn's end", 30, lambda: (lambda s: len(s["turns"]) == 2 and s["status"] == "completed")(
            client.call("GET", f"/v1/sessions/{session}").json), 0.1)
        events = client.call("GET", f"/v1/sessions/{session}/events?limit=200").json["items"]
        states(where, session, events, client)
        histories(where, session, events)
        tree = traced(where, session, events)
        token = soma("auth", "token", "--tenant", "acme", "--sub", "ann", "--cap", "*", data=folder.data)[1]
        token = json.loads(token)["token"] if token.startswith("{") else token.strip()
        other = harness.Client(node.url, token)
        for name in (f"session/{session}", f"demo/session/{session}", "session/none"):
            check(other.call("POST", "/v1/replay", {"actor": name}).status == 404, f"{name} of another tenant")
        check(client.call("POST", "/v1/replay", {"actor": "session"}).status == 422, "no actor")
        check(client.call("POST", "/v1/replay", {"actor": "session/x", "at": "soon"}).status == 422, "no place")
        otherwise_over_http(folder, client, other, session)
        shown = shown_then(where, session, events)
        check(other.call("GET", f"/v1/sessions/{session}?at=2").status == 404, "another tenant's session, as it was")
        mended(where, session)
        support(folder, where, token)
        skewed()
        node.terminate()
        states(where, session, events)
        histories(where, session, events)
        check(shown_then(where, session, events) == shown, "the stopped folder shows the session otherwise")
        otherwise(folder, where, session, events)
        check(traced(where, session, events) == tree, "the stopped folder tells another tree")


if __name__ == "__main__":
    harness.main(test)
