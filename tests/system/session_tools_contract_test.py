"""Tool calls of a session, as an outside client meets them: each decided by itself, handed out once, answered once."""

import json
import os
import random
import tempfile
import threading

from constitution import Signer
from contract import as_, case, equal, problem, run
from harness import BROKEN, Client, check, soma, verify_deep, wait_until

FOLDER = tempfile.TemporaryDirectory()
SIGNER = Signer(FOLDER.name)
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}


def tool(name, **more):
    return {"type": "function", "function": {"name": name, "description": f"does {name}", "parameters": PARAMETERS}, **more}


TOOLS = [tool("weather", category="web"), tool("pay", requires_human=True), tool("shell"), tool("nuke"), tool("spy", category="spies")]


def script(w, *calls, answer=("It", " rains", ".")):
    """The model asks for the calls, and answers when it has their results."""
    w.upstream.script({"tool_calls": list(calls), "tokens": list(answer)})


def start(w, headers, tools=TOOLS, **metadata):
    body = {"prompt": "What is it like in Bonn?", "tools": tools, "metadata": metadata}
    return w.ok("POST", "/v1/sessions/start", body, 202, headers=headers).json["session_id"]


def read(w, session, headers):
    return w.ok("GET", f"/v1/sessions/{session}", headers=headers).json


def reaches(w, session, headers, *statuses):
    def look():
        state = read(w, session, headers)
        return state if state["status"] in statuses else None

    return wait_until(f"the session is {statuses}", 30, look)


def give(w, session, call, output, headers, **more):
    return w.call("POST", f"/v1/sessions/{session}/tools/{call}", {"output": output, **more}, headers=headers)


def events(w, session, headers):
    return w.ok("GET", f"/v1/sessions/{session}/events?limit=200", headers=headers).json["items"]


def asked(w):
    """The bodies of the model's chats so far."""
    seen = Client(w.upstream.base_url.removesuffix("/v1")).call("GET", "/control/requests").json
    return [json.loads(r["body"]) for r in seen if r["path"].endswith("/chat/completions")]


@case
def an_allowed_call_is_handed_out_answered_and_used(w):
    ana = as_(w, tenant="allowed")
    script(w, 'weather {"city": "Bonn"}')
    session = start(w, ana)
    state = reaches(w, session, ana, "waiting_tools", "failed")
    [call] = state["pending_tool_calls"]
    equal((call["name"], json.loads(call["arguments"]), call["status"]), ("weather", {"city": "Bonn"}, "requested"), "call")
    decision = w.ok("GET", f"/v1/decisions/{call['decision_id']}", headers=ana).json
    equal((decision["input"]["action_id"], decision["input"]["tool_category"], decision["allow"]), ("weather", "web", True), "decision")
    told = w.ok("GET", "/v1/audit/events?type=policy.decided", headers=ana).json["items"]
    equal([(e["topic"], e["data"].get("tool_call_id", "")) for e in told],
          [("policy.decisions", ""), ("policy.decisions", call["call_id"])], "published")
    problem(w.call("POST", f"/v1/sessions/{session}/messages", {"content": "x"}, headers=ana), 409)
    answer = give(w, session, call["call_id"], "14 degrees", ana)
    equal((answer.status, answer.json["call_id"]), (202, call["call_id"]), "taken")
    done = reaches(w, session, ana, "completed", "failed")
    equal((done["status"], done["turns"][0]["answer"]), ("completed", "It rains."), "answer")
    equal([(c["status"], c["output"]) for c in done["turns"][0]["tool_calls"]], [("answered", "14 degrees")], "recorded")
    first, second = asked(w)[-2:]
    equal([t["function"]["name"] for t in first["tools"]], [t["function"]["name"] for t in TOOLS], "offered")
    equal(first["tools"][0]["function"]["parameters"], PARAMETERS, "parameters")
    equal([m["role"] for m in second["messages"]], ["system", "user", "assistant", "tool"], "roles")
    equal(second["messages"][2]["tool_calls"], [{"id": call["call_id"], "type": "function", "function":
          {"name": "weather", "arguments": '{"city": "Bonn"}'}}], "the call as asked")
    equal((second["messages"][3]["tool_call_id"], second["messages"][3]["content"]), (call["call_id"], "14 degrees"), "its result")
    types = [e["type"] for e in events(w, session, ana)]
    equal(types[types.index("model.answered"):], [
        "model.answered", "policy.decided", "tool.call.requested", "tools.awaited", "tool.call.answered", "tools.settled",
        "budget.requested", "budget.reserved", "model.requested", "model.answered", "turn.completed", "session.completed"], "events")
    streamed = [name for _, name, _ in w.stream(f"/v1/sessions/{session}/stream", ana)]
    equal([n for n in streamed if n != "token"], types, "the stream tells the same")


@case
def a_result_is_taken_once(w):
    ana = as_(w, tenant="once")
    script(w, "weather {}")
    session = start(w, ana)
    call = reaches(w, session, ana, "waiting_tools")["pending_tool_calls"][0]["call_id"]
    problem(give(w, session, call, "x", as_(w, tenant="other")), 404, detail="Session not found")
    problem(give(w, session, "tool_none", "x", ana), 404, detail="Tool call not found")
    problem(give(w, session, call, "x" * 32769, ana), 422, loc=["body", "output"])
    problem(w.call("POST", f"/v1/sessions/{session}/tools/{call}", {}, headers=ana), 422, loc=["body", "output"])
    once = {**ana, "Idempotency-Key": "result-1"}
    equal(give(w, session, call, "rain", once).status, 202, "first")
    again = give(w, session, call, "rain", once)
    equal((again.status, again.headers.get("Idempotent-Replayed")), (202, "true"), "the same key")
    problem(give(w, session, call, "sun", once), 409)
    equal(give(w, session, call, "rain", ana).status, 202, "the same again")
    problem(give(w, session, call, "sun", ana), 409)
    problem(give(w, session, call, "rain", ana, is_error=True), 409)
    reaches(w, session, ana, "completed")
    problem(give(w, session, call, "sun", ana), 409)
    types = [e["type"] for e in events(w, session, ana)]
    equal((types.count("tool.call.answered"), types.count("model.requested")), (1, 2), types)


@case
def what_is_not_granted_is_never_handed_out(w):
    ana = as_(w, tenant="denied")
    w.ok("POST", "/v1/constitution/load", SIGNER.bundle("1", {"prohibited_actions": ["nuke"], "permitted_tool_categories": ["web"]}),
         headers=ana)
    w.ok("PUT", "/v1/policy/rules", {"rules": '@id("no-shell") forbid(principal, action == Action::"shell", resource);'}, headers=ana)
    script(w, "nuke {}", "shell {}", "spy {}", "format_disk {}", "weather not json", 'weather {"x": "' + "y" * 20000 + '"}')
    session = start(w, ana)
    done = reaches(w, session, ana, "completed", "failed", "waiting_tools")
    equal(done["status"], "completed", "nothing to wait for")
    calls = done["turns"][0]["tool_calls"]
    equal([(c["name"], c["status"], c["error"]["code"]) for c in calls],
          [("nuke", "denied", "policy_denied"), ("shell", "denied", "policy_denied"), ("spy", "denied", "policy_denied"),
           ("format_disk", "denied", "unknown_tool"), ("weather", "denied", "arguments_invalid"),
           ("weather", "denied", "arguments_too_large")], "each with its reason")
    codes = [w.ok("GET", f"/v1/decisions/{c['decision_id']}", headers=ana).json["reason_codes"] for c in calls]
    equal(codes, [["prohibited_action"], ["rule:no-shell"], ["tool_category_not_permitted"], ["unknown_tool"], ["arguments_invalid"],
                  ["arguments_too_large"]], "decisions")
    told = asked(w)[-1]["messages"][-6:]
    equal([m["role"] for m in told], ["tool"] * 6, "the model is told")
    check("denied" in told[0]["content"] and "prohibited_action" in told[0]["content"], told[0])
    problem(give(w, session, calls[0]["call_id"], "boom", ana), 409)
    types = [e["type"] for e in events(w, session, ana)]
    equal((types.count("tool.call.requested"), types.count("tool.call.denied")), (0, 6), types)


@case
def a_second_person_decides_one_call(w):
    ana, ben = as_(w, tenant="people"), as_(w, "ben", "people")
    for approve in (True, False):
        script(w, 'pay {"eur": 5}', "weather {}")
        session = start(w, ana)
        state = reaches(w, session, ana, "waiting_approval", "failed")
        pay, weather = state["turns"][0]["tool_calls"]
        equal([pay["status"], weather["status"]], ["waiting_approval", "requested"], "one of two")
        problem(give(w, session, pay["call_id"], "paid", ana), 409)
        path = f"/v1/approvals/{pay['approval_id']}"
        approval = wait_until("the approval is there", 20, lambda: (lambda a: a.json if a.status == 200 else None)(
            w.call("GET", path, headers=ana)))
        equal((approval["action"], approval["session_id"], approval["requested_by"]), ("tool.call", session, "ana"), "approval")
        problem(w.call("POST", path + "/approve", {}, headers=ana), 403)
        w.ok("POST", path + ("/approve" if approve else "/reject"), {"reason": "because"}, headers=ben)
        equal(give(w, session, weather["call_id"], "sun", ana).status, 202, "the other's result")
        if approve:
            reaches(w, session, ana, "waiting_tools")
            equal(give(w, session, pay["call_id"], "paid", ana).status, 202, "handed out after all")
        done = reaches(w, session, ana, "completed", "failed")
        pay = done["turns"][0]["tool_calls"][0]
        equal((done["status"], pay["status"]), ("completed", "answered" if approve else "denied"), pay)
        equal(pay.get("approved_by"), "ben" if approve else None, "who")
        if not approve:
            equal(pay["error"]["code"], "approval_rejected", "why")
            problem(give(w, session, pay["call_id"], "paid", ana), 409)


@case
def cancelled_or_overdue_while_it_waits(w):
    ana, ben = as_(w, tenant="ends"), as_(w, "ben", "ends")
    script(w, "weather {}", "pay {}")
    session = start(w, ana)
    weather, pay = reaches(w, session, ana, "waiting_approval")["turns"][0]["tool_calls"]
    w.ok("POST", f"/v1/sessions/{session}/cancel", {}, headers=ana)
    state = read(w, session, ana)
    equal((state["status"], [c["status"] for c in state["turns"][0]["tool_calls"]]), ("cancelled", ["abandoned"] * 2), "cancelled")
    problem(give(w, session, weather["call_id"], "late", ana), 409)
    path = f"/v1/approvals/{pay['approval_id']}"
    wait_until("its approval is withdrawn", 20, lambda: w.call("GET", path, headers=ana).json.get("status") == "expired")
    problem(w.call("POST", path + "/approve", {}, headers=ben), 409)
    script(w, "weather {}")
    session = start(w, ana, tool_seconds=1)
    state = reaches(w, session, ana, "failed", "completed")
    equal((state["status"], state["error"]["code"]), ("failed", "tool_timeout"), "no result came")
    # A model that never stops asking.
    w.upstream.script({"tool_calls": ["weather {}"], "insists": True})
    session = start(w, ana)
    while (state := reaches(w, session, ana, "waiting_tools", "failed", "completed"))["status"] == "waiting_tools":
        equal(give(w, session, state["pending_tool_calls"][0]["call_id"], "rain", ana).status, 202, "round")
    equal((state["status"], state["error"]["code"], len(state["turns"][0]["tool_calls"])), ("failed", "tool_rounds_exceeded", 8), "bounded")


@case
def definitions_are_checked(w):
    ana = as_(w)
    for tools, loc in (([tool("a b")], ["body", "tools", "0", "function", "name"]),
                       ([tool("a"), tool("a")], ["body", "tools", "1", "function", "name"]),
                       ([tool("a", risk_score=2)], ["body", "tools", "0", "risk_score"]),
                       ([{"type": "function"}], ["body", "tools", "0", "function"]),
                       ([{"type": "code", "function": {"name": "a"}}], ["body", "tools", "0", "type"]),
                       ([tool(f"t{n}") for n in range(33)], ["body", "tools"]),
                       ([{"type": "function", "function": {"name": "a", "parameters": {"x": "y" * 33000}}}], ["body", "tools"]),
                       ("weather", ["body", "tools"])):
        problem(w.call("POST", "/v1/sessions/start", {"prompt": "x", "tools": tools}, headers=ana), 422, loc=loc)


@case
def the_command_shows_calls_and_sends_results(w):
    script(w, 'weather {"city": "Bonn"}', "format_disk {}")
    path = os.path.join(FOLDER.name, "tools.json")
    with open(path, "w", encoding="utf-8") as f:
        json.dump(TOOLS, f)
    code, out, err = soma("session", "start", "Weather?", "--tools", path, "--wait", "-o", "table", data=w.node.data)
    check(code == 0 and out.rstrip().endswith("waiting_tools"), f"{code} {out} {err}")
    check("for you to run: weather" in out and "tool call denied: format_disk" in out, out)
    session = out.split()[-2]
    [call] = w.ok("GET", f"/v1/sessions/{session}").json["pending_tool_calls"]
    code, out, err = soma("session", "result", session, call["call_id"], "14 degrees", data=w.node.data)
    check(code == 0, err)
    w.wait(session)
    code, out, err = soma("session", "show", session, "-o", "table", data=w.node.data)
    check(code == 0 and call["call_id"] in out and "no tool of this name" in out and "It rains." in out, out + err)
    code, out, err = soma("session", "result", session, call["call_id"], "no rain", "--error", data=w.node.data)
    check(code == 8, f"a second result: exit {code} {err}")
    code, out, err = soma("session", "start", "x", "--tools", "/nowhere", data=w.node.data)
    check(code == 2 and "--tools" in err, f"exit {code} {err}")


def restart(w):
    w.node.kill()
    w.node = w.folder.node(*w.flags, env=w.env).wait_ready(60)
    w.url, w.client = w.node.url, Client(w.node.url)


@case
def kill_9_anywhere(w):
    """Within milliseconds of a result or of an approval: each call is handed out under one id, the turn is answered once."""
    ana, ben = as_(w, tenant="anywhere"), as_(w, "ben", "anywhere")
    script(w, "weather {}", "pay {}")
    for number in range(6):
        session = start(w, ana)
        weather, pay = reaches(w, session, ana, "waiting_approval")["turns"][0]["tool_calls"]
        approve = f"/v1/approvals/{pay['approval_id']}/approve"
        wait_until("the approval is there", 20, lambda: w.call("GET", approve.removesuffix("/approve"), headers=ana).status == 200)

        def go_on(client):
            try:
                client.call("POST", approve, {}, headers=ben)
                for call in (weather, pay):
                    client.call("POST", f"/v1/sessions/{session}/tools/{call['call_id']}", {"output": "done"}, headers=ana)
            except BROKEN:
                pass  # the node went away under it

        going = threading.Thread(target=go_on, args=(Client(w.url),))
        going.start()
        going.join(random.random() * 0.03)
        restart(w)
        going.join(10)

        def settled():
            go_on(w.client)
            return read(w, session, ana)["status"] in ("completed", "failed")

        wait_until("it goes on", 30, settled)
        done = read(w, session, ana)
        equal((done["status"], [(c["call_id"], c["status"]) for c in done["turns"][0]["tool_calls"]]),
              ("completed", [(c["call_id"], "answered") for c in (weather, pay)]), f"round {number}")
        types = [e["type"] for e in events(w, session, ana)]
        equal([types.count(t) for t in ("tool.call.requested", "tool.call.answered", "model.requested", "model.answered", "turn.completed")],
              [2, 2, 2, 2, 1], types)


@case
def kill_9_while_it_waits(w):
    ana = as_(w, tenant="crash")
    script(w, "weather {}", "shell {}")
    session = start(w, ana)
    before = reaches(w, session, ana, "waiting_tools")

    def listed(status):
        answer = w.call("GET", f"/v1/sessions?status={status}", headers=ana)  # 503: the views are not there yet
        return answer.status == 200 and session in [s["session_id"] for s in answer.json["items"]]

    wait_until("the list shows that it waits", 30, lambda: listed("waiting_tools"))
    chats = w.upstream_chats()
    first, second = before["pending_tool_calls"]
    equal(give(w, session, first["call_id"], "rain", ana).status, 202, "one result")
    restart(w)
    after = read(w, session, ana)
    equal([c["call_id"] for c in after["turns"][0]["tool_calls"]], [c["call_id"] for c in before["pending_tool_calls"]], "the same calls")
    equal([c["status"] for c in after["turns"][0]["tool_calls"]], ["answered", "requested"], "as they stood")
    equal(give(w, session, first["call_id"], "rain", ana).status, 202, "told again")
    problem(give(w, session, first["call_id"], "sun", ana), 409)
    equal(w.upstream_chats(), chats, "no call of the model was doubled")
    equal(give(w, session, second["call_id"], "done", ana).status, 202, "the other")
    equal(reaches(w, session, ana, "completed", "failed")["status"], "completed", "it goes on")
    equal(w.upstream_chats(), chats + 1, "asked once more")
    wait_until("the list shows its end", 30, lambda: listed("completed"))
    check(verify_deep(w.node.data)["ok"], "every decision can be made again")


run("--constitution-trusted-keys", SIGNER.public)
