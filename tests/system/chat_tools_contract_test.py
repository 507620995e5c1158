"""Tools in /v1/chat/completions, as an OpenAI client meets them: what the model asks for is shown only where policy allows it."""

import json
import tempfile

from constitution import Signer
from contract import as_, case, equal, problem, run
from harness import Client, check

FOLDER = tempfile.TemporaryDirectory()
SIGNER = Signer(FOLDER.name)
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
ASK = [{"role": "user", "content": "What is it like in Bonn?"}]


def tool(name, **more):
    return {"type": "function", "function": {"name": name, "description": f"does {name}", "parameters": PARAMETERS}, **more}


TOOLS = [tool("weather", category="web"), tool("pay", requires_human=True), tool("shell"), tool("nuke"), tool("spy", category="spies")]


def asked(w):
    seen = Client(w.upstream.base_url.removesuffix("/v1")).call("GET", "/control/requests").json
    return [json.loads(r["body"]) for r in seen if r["path"].endswith("/chat/completions")]


def chat(w, status=200, **body):
    return w.ok("POST", "/v1/chat/completions", {"messages": ASK, **body}, status, headers=as_(w)).json


def prepared(w):
    if w.call("GET", "/v1/constitution", headers=as_(w)).status != 200:
        w.ok("POST", "/v1/constitution/load", SIGNER.bundle("1", {"prohibited_actions": ["nuke"], "permitted_tool_categories": ["web"]}),
             headers=as_(w))
        w.ok("PUT", "/v1/policy/rules", {"rules": '@id("no-shell") forbid(principal, action == Action::"shell", resource);'}, headers=as_(w))
        w.ok("PUT", "/v1/tenants/acme", {"deployment_mode": "test", "budgets_tokens": 1_000_000}, headers=as_(w))


def decisions(w):
    told = w.ok("GET", "/v1/audit/events?type=policy.decided&limit=200", headers=as_(w)).json["items"]
    return {e["data"]["tool_call_id"]: e for e in told if e["data"].get("tool_call_id")}


@case
def an_allowed_call_is_shown_and_its_result_goes_back(w):
    prepared(w)
    w.upstream.script({"tool_calls": ['weather {"city": "Bonn"}'], "tokens": ["14", " degrees"]})
    before = len(asked(w))
    answer = chat(w, tools=TOOLS, tool_choice="auto", parallel_tool_calls=False)
    choice = answer["choices"][0]
    equal(choice["finish_reason"], "tool_calls", "finish_reason")
    [call] = choice["message"]["tool_calls"]
    equal((call["type"], call["function"]["name"], json.loads(call["function"]["arguments"])), ("function", "weather", {"city": "Bonn"}), "call")
    equal(choice["message"]["content"], None, "content")
    check("refusal" not in choice["message"], str(choice))
    told = decisions(w)[call["id"]]
    equal((told["topic"], told["data"]["decision"]["input"]["capability"], told["data"]["decision"]["allow"]),
          ("policy.decisions", "tool:weather", True), "its decision")
    sent = asked(w)[before]
    equal(([t["function"]["name"] for t in sent["tools"]], sent["tool_choice"], sent["parallel_tool_calls"]),
          ([t["function"]["name"] for t in TOOLS], "auto", False), "what the model was offered")
    equal(sent["tools"][0]["function"]["parameters"], PARAMETERS, "parameters")
    check("category" not in json.dumps(sent["tools"]), "what calls are judged by is not the model's business")
    talk = ASK + [choice["message"], {"role": "tool", "tool_call_id": call["id"], "content": "14 degrees"}]
    done = chat(w, messages=talk, tools=TOOLS)["choices"][0]
    equal((done["finish_reason"], done["message"]["content"]), ("stop", "14 degrees"), "the answer")
    second = asked(w)[-1]["messages"]
    equal((second[1]["tool_calls"][0]["id"], second[2]["tool_call_id"], second[2]["content"]), (call["id"], call["id"], "14 degrees"), "sent on")


@case
def what_is_denied_is_not_shown_but_told(w):
    prepared(w)
    w.upstream.script({"tool_calls": ['weather {"city": "Bonn"}', "nuke {}", "shell {}", "spy {}", "pay {}", "format_disk {}", "weather [1]"]})
    message = chat(w, tools=TOOLS)["choices"][0]["message"]
    equal([c["function"]["name"] for c in message["tool_calls"]], ["weather"], "shown")
    denied = message["denied_tool_calls"]
    equal([(d["name"], d["code"]) for d in denied],
          [("nuke", "policy_denied"), ("shell", "policy_denied"), ("spy", "policy_denied"), ("pay", "approval_required"),
           ("format_disk", "unknown_tool"), ("weather", "arguments_invalid")], "denied")
    for d in denied:
        why = w.ok("GET", f"/v1/decisions/{d['decision_id']}", headers=as_(w)).json
        equal(why["allow"], False, d["name"])
    check("rule:no-shell" in message["refusal"] and "prohibited_action" in message["refusal"], message["refusal"])
    codes = [sorted(e["data"]["decision"]["reason_codes"]) for e in decisions(w).values()]
    check(["rule:no-shell"] in codes and ["unknown_tool"] in [c[-1:] for c in codes], str(codes))


@case
def where_all_is_denied_the_end_says_so(w):
    prepared(w)
    w.upstream.script({"tool_calls": ["nuke {}"]})
    choice = chat(w, tools=TOOLS)["choices"][0]
    equal(choice["finish_reason"], "content_filter", "finish_reason")
    check("tool_calls" not in choice["message"], str(choice))
    equal(choice["message"]["denied_tool_calls"][0]["name"], "nuke", "denied")


def chunks(w, body):
    stream = w.stream("/v1/chat/completions", {**as_(w)}, "POST", {"messages": ASK, "stream": True, **body})
    equal(stream.status, 200, "status")
    data = [d for _, _, d in stream]
    equal(data[-1], "[DONE]", "end")
    return [json.loads(d) if isinstance(d, str) else d for d in data[:-1]]


@case
def a_stream_ends_with_the_calls_that_are_allowed(w):
    prepared(w)
    w.upstream.script({"tool_calls": ['weather {"city": "Bonn"}', "nuke {}", 'weather {"city": "Ulm"}']})
    seen = chunks(w, {"tools": TOOLS})
    deltas = [c["choices"][0]["delta"] for c in seen if c["choices"]]
    [calls] = [d["tool_calls"] for d in deltas if "tool_calls" in d]
    equal([(c["index"], c["type"], c["function"]["name"]) for c in calls], [(0, "function", "weather"), (1, "function", "weather")], "calls")
    equal([json.loads(c["function"]["arguments"])["city"] for c in calls], ["Bonn", "Ulm"], "arguments")
    equal([d["denied_tool_calls"][0]["name"] for d in deltas if "denied_tool_calls" in d], ["nuke"], "denied")
    equal([c["choices"][0]["finish_reason"] for c in seen if c["choices"]][-1], "tool_calls", "finish_reason")
    check("nuke" not in json.dumps([d.get("tool_calls") for d in deltas]), "shown")


@case
def the_same_key_gives_the_same_calls(w):
    prepared(w)
    w.upstream.script({"tool_calls": ["weather {}"]})
    body, key = {"messages": ASK, "tools": TOOLS}, {"Idempotency-Key": "chat-tools-1"}
    first = w.ok("POST", "/v1/chat/completions", body, headers={**as_(w), **key})
    again = w.ok("POST", "/v1/chat/completions", body, headers={**as_(w), **key})
    equal((again.body, again.headers["Idempotent-Replayed"]), (first.body, "true"), "replayed")


@case
def no_tools_are_offered_where_none_are_wished(w):
    prepared(w)
    w.upstream.script({"tokens": ["No", " tools"]})
    answer = chat(w, tools=TOOLS, tool_choice="none")
    check("tools" not in asked(w)[-1], "offered")
    check("tool_calls" not in answer["choices"][0]["message"], str(answer))
    w.upstream.script({"tool_calls": ["weather {}"]})
    named = {"type": "function", "function": {"name": "weather"}}
    chat(w, tools=TOOLS, tool_choice=named)
    equal(asked(w)[-1]["tool_choice"], named, "by name")
    chat(w, tools=TOOLS, tool_choice="required")
    equal(asked(w)[-1]["tool_choice"], "required", "required")


@case
def what_cannot_be_meant_names_its_member(w):
    prepared(w)
    call = lambda **body: w.call("POST", "/v1/chat/completions", {"messages": ASK, **body}, headers=as_(w))
    problem(call(tool_choice="required"), 422, loc=["body", "tool_choice"])
    problem(call(tools=TOOLS, tool_choice="sometimes"), 422, loc=["body", "tool_choice"])
    problem(call(tools=TOOLS, tool_choice={"type": "function", "function": {"name": "other"}}), 422, loc=["body", "tool_choice"])
    problem(call(tools=[tool("a b")]), 422)
    problem(call(tools=[tool("a"), tool("a")]), 422)
    problem(call(functions=[{"name": "a"}]), 422, loc=["body", "functions"])
    problem(call(messages=ASK + [{"role": "tool", "tool_call_id": "1", "content": "x"}]), 422, loc=["body", "messages", "1", "tool_call_id"])
    problem(call(messages=[{"role": "assistant", "tool_calls": [{"id": "1"}]}]), 422, loc=["body", "messages", "0", "tool_calls", "0", "function"])
    problem(call(messages=[{"role": "robot", "content": "x"}]), 422, loc=["body", "messages", "0", "role"])


run("--constitution-trusted-keys", SIGNER.public, "--mode", "test")
