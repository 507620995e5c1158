#!/usr/bin/env python3
"""What-if --live: from where the courses part the model is really called, once a turn, under the budget, and nothing of
the folder that was read is another byte afterwards."""

import hashlib
import json
import os

import audit_test
import harness
from harness import check, soma, wait_until


def digest(data):
    """Of every file under the data folder."""
    out = hashlib.sha256()
    for folder, _, names in sorted(os.walk(data)):
        for name in sorted(names):
            path = os.path.join(folder, name)
            if os.path.isfile(path):
                out.update(path.encode())
                with open(path, "rb") as f:
                    out.update(f.read())
    return out.hexdigest()


class Model:
    """Another model server than the recorded one; counts what reaches it."""

    def __init__(self, upstream):
        self.upstream = upstream
        self.control = harness.Client(upstream.base_url.removesuffix("/v1"))

    def chats(self):
        return self.control.call("GET", "/control/stats").json["chats"]

    def bodies(self):
        seen = self.control.call("GET", "/control/requests").json
        seen = seen if isinstance(seen, list) else seen["requests"]
        return [json.loads(r["body"]) for r in seen if r["path"].endswith("/chat/completions")]


def what_if(where, session, *words):
    code, out, err = soma(*where, "session", "what-if", session, *words, "-o", "json")
    check(not out or code in (0, 7), f"{words}: exit {code} with output\n{out}")
    return code, json.loads(out) if out else None, json.loads(err.splitlines()[-1])["error"] if not out else err


def file_of(folder, name, content):
    path = os.path.join(folder.path, name)
    with open(path, "w", encoding="utf-8") as f:
        json.dump(content, f)
    return path


def called(where, model, session, recorded):
    """Two turns, two calls, the second with the first one's new answer before it."""
    live = ("--live", "--slm-openai-base-url", model.upstream.base_url)
    before = model.chats()
    code, told, err = what_if(where, session, "--model", "another", *live)
    check(code == 0, f"exit {code}: {err}")
    check(model.chats() == before + 2, f"{model.chats() - before} calls, not one a turn")
    check(told["simulated"] is False and told["at"]["command"] == "effect_outcome", f"{told}")
    check([t["answer"] for t in told["what_if"]["turns"]] == ["Quite another."] * 2, f"{told['what_if']}")
    check(told["recorded"] == recorded, f"recorded: {told['recorded']}, not {recorded}")
    calls = told["live"]["calls"]
    check([(c["turn"], c["attempt"], c["asked"], c["error"]) for c in calls] == [(1, 1, "another", None), (2, 1, "another", None)],
          f"calls: {calls}")
    check(told["live"]["tokens_used"] == sum(c["prompt_tokens"] + c["completion_tokens"] for c in calls), f"{told['live']}")
    check(told["live"]["budget_tokens"] == 5000 and not told["live"]["budget_ended"], f"{told['live']}")
    first, second = model.bodies()[-2:]
    check(first["model"] == second["model"] == "another", "another model than asked for was called")
    said = [m["content"] for m in second["messages"]]
    check("Quite another." in said and "Hello from the script." not in said, f"the second turn follows on {said}")
    return live


def budgeted(where, model, session, live):
    """What may not fit is not called, and what was left out is not told as an answer."""
    for budget, calls in ((10, 0), (400, 1)):
        before = model.chats()
        code, told, _ = what_if(where, session, "--model", "another", *live, "--budget-tokens", str(budget))
        check(code == 7 and told["live"]["budget_ended"], f"a budget of {budget}: exit {code}, {told}")
        check(model.chats() == before + calls == before + len(told["live"]["calls"]), f"{model.chats() - before} calls, not {calls}")
        turns = told["what_if"]["turns"]
        check(turns[-1]["status"] == "failed" and turns[-1]["error"]["code"] == "budget_exhausted" and not turns[-1]["answer"],
              f"the turn without budget: {turns[-1]}")
    check(what_if(where, session, "--model", "another", "--budget-tokens", "100")[0] == 2, "a budget for nothing")
    check(what_if(where, session, "--model", "another", *live, "--budget-tokens", "0")[0] == 2, "a budget of nothing")


def not_called(folder, where, model, session, live):
    """A stricter constitution parts at the first command and asks nobody; what does not part asks nobody."""
    before = model.chats()
    strict = file_of(folder, "strict.json", {"maximum_risk": -1})
    code, told, _ = what_if(where, session, "--constitution", strict, *live)
    check(code == 0 and told["at"]["command"] == "start_session" and told["live"]["calls"] == [], f"{told}")
    check([t["status"] for t in told["what_if"]["turns"]] == ["failed", "failed"], f"{told['what_if']}")
    code, told, _ = what_if(where, session, "--settings", file_of(folder, "none.json", {}), *live)
    check(code == 0 and not told["diverges"] and told["live"] is None and told["simulated"], f"{told}")
    check(model.chats() == before, "called where there was nothing to ask")


def allowed(folder, where, model, denied, live):
    """A turn that policy denied is answered under a milder one, without memories that nobody recalled."""
    before = model.chats()
    mild = file_of(folder, "mild.json", {"risk_score": 0.0, "confidence": 1.0})
    code, told, err = what_if(where, denied, "--policy", mild, *live)
    check(code == 0 and model.chats() == before + 1, f"exit {code}: {told} {err}")
    check(told["recorded"]["status"] == "failed" and told["what_if"]["status"] == "completed", f"{told}")
    check(told["live"]["recalls_unknown"] == 1 and "turn.completed" in told["live"]["events"], f"{told['live']}")


def broken(where, model, session, live):
    """A stream without a proper end is no answer: it is tried again, or it is an error."""
    good = {"tokens": ["Quite", " another", "."]}
    model.upstream.script({"next": [{"cut_after": 2}, {"done": False}], "otherwise": good})
    before = model.chats()
    code, told, err = what_if(where, session, "--model", "another", *live)
    check(code == 0 and model.chats() == before + 4, f"exit {code}, {model.chats() - before} calls: {told} {err}")
    calls = [(c["turn"], c["attempt"], c["error"]) for c in told["live"]["calls"]]
    check(calls == [(1, 1, "model_unavailable"), (1, 2, "model_unavailable"), (1, 3, None), (2, 1, None)], f"{calls}")
    check(told["what_if"]["turns"][0]["answer"] == "Quite another.", f"{told['what_if']}")
    check(told["live"]["tokens_used"] > 2 * 256, "what broke off was not counted")
    model.upstream.script({"otherwise": {"status": 400, "text": "no such model"}})
    before = model.chats()
    code, told, error = what_if(where, session, "--model", "another", *live)
    check(code != 0 and told is None and "no such model" in error["message"] and model.chats() == before + 1, f"{code} {error}")
    model.upstream.script({"otherwise": good})


WEATHER = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}, "risk_score": 0.1}]


def with_a_tool(client, recorded_by):
    """A session whose model asked for a tool, and was told."""
    recorded_by.script({"otherwise": {"tool_calls": ['weather {"city":"Paris"}'], "tokens": ["Sunny."]}})
    session = client.call("POST", "/v1/sessions/start", {"prompt": "the weather?", "tools": WEATHER}).json["session_id"]
    at = f"/v1/sessions/{session}"
    wait_until("the call", 20, lambda: client.call("GET", at).json["status"] == "waiting_tools")
    call = client.call("GET", at).json["pending_tool_calls"][0]["call_id"]
    check(client.call("POST", f"{at}/tools/{call}", {"output": "sun"}).status == 202, "result")
    wait_until("the answer", 20, lambda: client.call("GET", at).json["status"] == "completed")
    return session


def tools(where, model, session, live):
    """A recorded result serves the same call again; for another call the course waits, and no time passes for it."""
    model.upstream.script({"otherwise": {"tool_calls": ['weather {"city":"Paris"}'], "tokens": ["Otherwise."]}})
    code, told, err = what_if(where, session, "--model", "another", *live)
    check(code == 0, f"exit {code}: {err}")
    check(told["what_if"]["turns"][0]["answer"] == "Otherwise." and len(told["live"]["calls"]) == 2, f"{told}")
    check(told["what_if"]["turns"][0]["tool_calls"][0]["output"] == "sun" and told["live"]["refused"] == [], f"{told}")
    check(model.bodies()[-1]["messages"][-1]["content"] == "sun", f"{model.bodies()[-1]}")
    model.upstream.script({"otherwise": {"tool_calls": ['weather {"city":"Rome"}'], "tokens": ["Otherwise."]}})
    code, told, err = what_if(where, session, "--model", "another", *live)
    check(code == 0 and told["what_if"]["status"] == "waiting_tools" and len(told["live"]["calls"]) == 1, f"{code} {told} {err}")
    check(told["live"]["recalls_unknown"] == 0 and told["what_if"]["turns"][0].get("error") is None, f"{told}")
    check([c["arguments"] for c in told["what_if"]["pending_tool_calls"]] == ['{"city":"Rome"}'], f"{told['what_if']}")
    model.upstream.script({"otherwise": {"tokens": ["Quite", " another", "."]}})


def nobody(where, session):
    code, told, error = what_if(where, session, "--model", "another", "--live", "--slm-local", "off")
    check(code == 3 and told is None and error["field"] == "--slm-local" and "--slm-openai-base-url" in error["hint"], f"{code} {error}")
    code, told, error = what_if(where, session, "--model", "another", "--live", "--slm-openai-base-url", "http://127.0.0.1:1/v1")
    check(code == 1 and told is None and "--slm-openai-base-url" in error["hint"], f"{code} {error}")


def test():
    with harness.Folder() as folder, harness.Upstream() as recorded_by, harness.Upstream() as other:
        other.script({"otherwise": {"tokens": ["Quite", " another", "."]}})
        model, where = Model(other), ("--data-dir", folder.data)
        node = folder.node(*recorded_by.flags, "--postgres", harness.NO_POSTGRES).wait_ready()
        client = harness.Client(node.url)
        session = audit_test.talk(client, 1)
        sent = client.call("POST", f"/v1/sessions/{session}/messages", {"content": "and then?"})
        check(sent.status == 202, sent.body)
        client.call("GET", f"/v1/sessions/{session}/stream")
        risky = client.call("POST", "/v1/sessions/start", {"prompt": "something bold", "metadata": {"risk_score": 1.0, "confidence": 0.0}})
        denied = risky.json["session_id"]
        client.call("GET", f"/v1/sessions/{denied}/stream")
        asked = with_a_tool(client, recorded_by)
        recorded = client.call("GET", f"/v1/sessions/{session}").json
        events = client.call("GET", f"/v1/sessions/{session}/events?limit=200").json["items"]
        calls = Model(recorded_by).chats()
        live = called(where, model, session, recorded)
        check(client.call("GET", f"/v1/sessions/{session}/events?limit=200").json["items"] == events, "the session went on")
        node.terminate()
        before = digest(folder.data)
        called(where, model, session, recorded)
        budgeted(where, model, session, live)
        tools(where, model, asked, live)
        not_called(folder, where, model, session, live)
        allowed(folder, where, model, denied, live)
        broken(where, model, session, live)
        nobody(where, session)
        check(digest(folder.data) == before, "what-if --live wrote into the folder that it read")
        check(Model(recorded_by).chats() == calls, "the recorded model was asked again")
        os.environ["SOMA_SLM_OPENAI_BASE_URL"] = other.base_url
        before = model.chats()
        check(what_if(where, session, "--model", "another", "--live")[0] == 0 and model.chats() == before + 2, "the environment's server")


if __name__ == "__main__":
    harness.main(test)
