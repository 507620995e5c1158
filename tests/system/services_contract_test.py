"""Models, memory, policy and tokens as an outside client meets them (contract, section 2)."""

import base64
import json
import math
import struct
import time

from contract import case, equal, problem, run
from harness import Client, check


@case
def budget_for_the_tests(w):
    w.ok("PUT", "/v1/tenants/demo", {"budgets_tokens": 100000000})


@case
def policy_is_the_contracts_arithmetic(w):
    body = {"action_id": "a", "capability": "c", "risk_score": 0.25, "confidence": 0.5, "budget_required": 100,
            "budget_remaining": 50, "requires_human": True}
    d = w.ok("POST", "/v1/evaluate", body).json
    equal(sorted(d), sorted(["score", "allow", "threshold", "reasons", "reason_codes", "constitution_hash",
                             "decision_id"]), "members")
    equal((d["score"], d["allow"], d["threshold"]), (0.45, False, 0.7), "decision")
    equal(d["reasons"], ["confidence contribution: 0.20", "risk contribution: 0.30", "cost contribution: 0.10",
                         "human review penalty: -0.15", "threshold: 0.70"], "reasons")
    strict = w.ok("POST", "/v1/evaluate", {**body, "risk_score": 0.2, "confidence": 0.6, "requires_human": False,
                                           "budget_remaining": None, "deployment_mode": "production"}).json
    equal((strict["allow"], strict["threshold"]), (False, 0.8), "a caller's mode makes it stricter")
    problem(w.call("POST", "/v1/evaluate", {**body, "deployment_mode": "staging"}), 422,
            loc=["body", "deployment_mode"])
    problem(w.call("POST", "/v1/evaluate", {**body, "budget_required": -1}), 422, loc=["body", "budget_required"])


@case
def infer_sync_and_its_aliases(w):
    for path in ("/v1/infer_sync", "/v1/infer/sync", "/infer_sync"):
        for body in ({"prompt": "hi"}, {"input": "hi"}, {"messages": [{"role": "user", "content": "hi"}]}):
            answer = w.ok("POST", path, body).json
            equal(answer["output"], "Hello from the script.", "output")
            equal(answer["tokens_used"], answer["usage"]["prompt_tokens"] + answer["usage"]["completion_tokens"], "sum")
            check({"model", "provider", "latency_ms", "refusal"} <= set(answer), f"members: {answer}")
    problem(w.call("POST", "/v1/infer_sync", {}), 422, loc=["body", "prompt"])
    problem(w.call("POST", "/v1/infer_sync", {"messages": [{"role": "odd", "content": "x"}]}), 422)
    problem(w.call("POST", "/v1/infer_sync", {"prompt": "x", "provider": "odd"}), 422, loc=["body", "provider"])
    problem(w.call("POST", "/v1/infer_sync", {"prompt": "x", "max_tokens": 0}), 422, loc=["body", "max_tokens"])


@case
def embeddings_are_unit_vectors(w):
    for path in ("/v1/embedding", "/embedding", "/v1/embeddings"):
        one = w.ok("POST", path, {"text": "green tea"}).json
        equal((len(one["embedding"]), one["dim"]), (384, 384), "dimensions")
        check(abs(math.sqrt(sum(x * x for x in one["embedding"])) - 1) < 1e-4, "unit length")
        equal(w.ok("POST", path, {"input": "green tea"}).json["embedding"], one["embedding"], "same text, same vector")
    many = w.ok("POST", "/v1/embeddings", {"input": ["green tea", "black tea"], "model": "m"}).json
    equal([d["index"] for d in many["data"]], [0, 1], "one per text")
    packed = w.ok("POST", "/v1/embeddings", {"input": "green tea", "encoding_format": "base64"}).json["data"][0]
    values = struct.unpack("<384f", base64.b64decode(packed["embedding"]))
    check(all(abs(a - b) < 1e-6 for a, b in zip(values, many["data"][0]["embedding"])), "base64 of the same floats")
    problem(w.call("POST", "/v1/embedding", {}), 422, loc=["body", "input"])
    problem(w.call("POST", "/v1/embeddings", {"input": ["a", ""]}), 422, loc=["body", "input"])
    problem(w.call("POST", "/v1/embeddings", {"input": ["a"] * 33}), 422, loc=["body", "input"])


@case
def chat_completions_plain_and_streaming(w):
    body = {"model": "m", "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "hi"}]}
    plain = w.ok("POST", "/v1/chat/completions", body).json
    equal((plain["object"], plain["choices"][0]["message"]), (
        "chat.completion", {"role": "assistant", "content": "Hello from the script."}), "completion")
    equal(plain["choices"][0]["finish_reason"], "stop", "finish")
    check(plain["usage"]["total_tokens"] > 0 and plain["created"] > 1e9, "usage and created")
    stream = w.stream("/v1/chat/completions", method="POST",
                      body={**body, "stream": True, "stream_options": {"include_usage": True}})
    data = [d for _, _, d in stream]
    equal(data[-1], "[DONE]", "end")
    chunks = [json.loads(d) for d in data[:-1]]
    equal({c["object"] for c in chunks}, {"chat.completion.chunk"}, "object")
    equal(len({c["id"] for c in chunks}), 1, "one id")
    equal(chunks[0]["choices"][0]["delta"]["role"], "assistant", "role first")
    equal("".join(c["choices"][0]["delta"].get("content", "") for c in chunks if c["choices"]),
          "Hello from the script.", "text")
    equal((chunks[-1]["choices"], chunks[-1]["usage"]["completion_tokens"] > 0), ([], True), "usage apart")
    equal(chunks[-2]["choices"][0]["finish_reason"], "stop", "finish reason")
    problem(w.call("POST", "/v1/chat/completions", {**body, "n": 2}), 422, loc=["body", "n"])
    for name, value in (("functions", [{"name": "f"}]), ("tool_choice", "auto"),
                        ("tool_choice", {"type": "function"})):  # never left out of the answer in silence
        problem(w.call("POST", "/v1/chat/completions", {**body, name: value}), 422, loc=["body", name])
    w.ok("POST", "/v1/chat/completions", {**body, "tools": [], "tool_choice": "none"})
    for text in ("one", "two"):  # a request id is no idempotency key
        stream = w.stream("/v1/chat/completions", {"X-Request-ID": "same"}, "POST",
                          {"messages": [{"role": "user", "content": text}], "stream": True})
        equal((stream.status, list(stream)[-1][2]), (200, "[DONE]"), text)
    w.script(status=400, text="no")
    failed = w.stream("/v1/chat/completions", method="POST", body={**body, "stream": True})
    check(failed.status >= 400, f"what fails before a token has a status: {failed.status}")


@case
def every_decision_on_a_call_is_told_by_itself(w):
    """On policy.decisions, under an id of its own that stays the same when the request is repeated."""
    told = lambda: [e for e in w.ok("GET", "/v1/audit/events?type=policy.decided&limit=200").json["items"]
                     if e["data"]["decision"]["input"]["action_id"].startswith("slm.")]
    before = len(told())
    message = {"messages": [{"role": "user", "content": "x"}]}
    for _ in range(2):
        w.ok("POST", "/v1/infer_sync", {"prompt": "x"}, key="decided-1")
        w.ok("POST", "/v1/chat/completions", message, key="decided-2")
        w.ok("POST", "/v1/embedding", {"text": "x"}, key="decided-3")
    problem(w.call("POST", "/v1/infer_sync", {"prompt": "x", "metadata": {"risk_score": 1, "confidence": 0}}), 403, "policy_denied")
    new = told()[before:]
    decisions = [e["data"]["decision"] for e in new]
    equal(sorted(d["input"]["action_id"] for d in decisions), ["slm.chat", "slm.embed", "slm.infer", "slm.infer"], "actions")
    equal({e["topic"] for e in new}, {"policy.decisions"}, "topic")
    equal(sorted(bool(d.get("allow")) for d in decisions), [False, True, True, True], "the denied one too")
    equal(len({d["decision_id"] for d in decisions} | {e["event_id"] for e in new}), 8, "ids of their own")
    check(all(d["asker"]["subject"] and d["mode"] and d["constitution_hash"] for d in decisions), decisions)
    for d in decisions:
        equal(w.ok("GET", f"/v1/decisions/{d['decision_id']}").json["input"], d["input"], "explained")


@case
def a_repeated_stream_asks_the_model_once(w):
    chats = w.upstream_chats()
    body = {"messages": [{"role": "user", "content": "hi"}], "stream": True}

    def text():
        stream = w.stream("/v1/chat/completions", {"Idempotency-Key": "stream"}, "POST", body)
        chunks = [json.loads(d) for _, _, d in stream if d != "[DONE]"]
        return stream.headers.get("Idempotent-Replayed"), "".join(
            c["choices"][0]["delta"].get("content", "") for c in chunks)

    equal(text(), (None, "Hello from the script."), "first")
    equal(text(), ("true", "Hello from the script."), "again")
    equal(w.upstream_chats() - chats, 1, "model calls")
    problem(w.call("POST", "/v1/chat/completions", {**body, "stream": False}, key="stream"), 409)


@case
def models_are_listed(w):
    models = w.ok("GET", "/v1/models").json
    equal(models["object"], "list", "object")
    check(all({"id", "object", "owned_by"} <= set(m) for m in models["data"]) and models["data"], "models")


@case
def a_turn_recalls_memories_however_large(w):
    for n in range(3):
        payload = {"task": f"invoice 4711 number {n}", "blob": str(n) * 310_000}
        w.ok("POST", "/v1/remember", {"payload": payload})
    session = w.ok("POST", "/v1/sessions/start", {"prompt": "what of invoice 4711?"}, 202).json["session_id"]
    equal(w.wait(session)["turns"][0]["status"], "completed", "the turn")


@case
def requests_are_answered_later(w):
    def result(body):
        queued = w.ok("POST", "/v1/requests", body, 202).json
        equal(queued["status"], "queued", "status")
        end = time.monotonic() + 15
        while True:
            answer = w.ok("GET", f"/v1/requests/{queued['request_id']}").json
            if answer["status"] != "pending":
                return answer
            check(time.monotonic() < end, "still pending")
            time.sleep(0.01)

    done = result({"mode": "infer_sync", "payload": {"prompt": "hi"}})
    equal((done["status"], done["result"]["output"]), ("completed", "Hello from the script."), "infer_sync")
    equal(result({"mode": "embedding", "payload": {"text": "hi"}})["result"]["dim"], 384, "embedding")
    problem(w.call("POST", "/v1/requests", {"mode": "odd", "payload": {}}), 422, loc=["body", "mode"])
    problem(w.call("POST", "/v1/requests", {"mode": "infer_sync", "provider": "odd", "payload": {"prompt": "x"}}), 422,
            loc=["body", "provider"])
    problem(w.call("POST", "/v1/requests", {"mode": "infer_sync", "payload": {}}), 422)
    for tokens in (-1, 0, 4097, 10_000_000, "9", 1.5):
        problem(w.call("POST", "/v1/requests", {"mode": "infer_sync", "payload": {"prompt": "x", "max_tokens": tokens}}), 422,
                loc=["body", "payload", "max_tokens"])
    problem(w.call("GET", "/v1/requests/req_none"), 404, detail="Request not found")
    w.script(status=400, text="refused")
    equal(result({"mode": "infer_sync", "payload": {"prompt": "hi"}})["status"], "error", "a refusal")


@case
def memory_on_both_ports(w):
    memory = Client(w.node.ready_line["memory"])
    for client, path in ((w.client, "/v1/remember"), (w.client, "/remember"), (memory, "/remember")):
        word = f"quagga{path.count('/')}{client is memory}"
        answer = client.call("POST", path, {"payload": {"task": f"the {word} is striped"}, "coord": f"c-{word}"})
        check(answer.status == 200, answer.body)
        for name in ("ok", "success", "status", "memory_id", "coord", "namespace", "trace_id", "deduplicated", "queued"):
            check(name in answer.json, f"no {name}")
        equal((answer.json["ok"], answer.json["coord"], answer.json["namespace"]), (True, f"c-{word}", "demo"), "answer")
        found = client.call("POST", path.replace("remember", "recall"), {"query": word},
                            headers={"Soma-Position": answer.headers["Soma-Position"]}).json
        for name in ("wm", "memory", "results", "namespace", "trace_id"):
            check(name in found, f"no {name}")
        equal(found["results"][0]["payload"]["task"], f"the {word} is striped", "the rare token's memory first")
        scores = [r["score"] for r in found["results"]]
        equal(scores, sorted(scores, reverse=True), "scores never rise")
    for path in ("/v1/rag/retrieve", "/rag/retrieve"):
        candidates = w.ok("POST", path, {"query": "striped", "top_k": 2}).json["candidates"]
        equal(len(candidates), 2, "top_k")
        check({"memory_id", "coord", "score", "retriever", "payload"} <= set(candidates[0]), "a candidate")
    problem(w.call("POST", "/rag/retrieve", {"query": "x", "retrievers": ["odd"]}), 422)
    for body, *names in (("remember", "universe"), ("recall", "universe", "filters", "as_of"), ("rag/retrieve", "universe")):
        for path in (f"/v1/{body}", f"/{body}"):
            for name in names:  # what is not done yet is refused, not left out of account
                whole = {"text": "x"} if body == "remember" else {"query": "striped"}
                problem(w.call("POST", path, {**whole, name: "other"}), 422, loc=["body", name])
                w.ok("POST", path, {**whole, name: None})
    plain = w.ok("POST", "/v1/rag/retrieve", {"query": "striped"}).json
    for rerank in (True, False, None, "auto", {"model": "m"}):
        answer = w.ok("POST", "/v1/rag/retrieve", {"query": "striped", "rerank": rerank}).json
        equal((answer["reranked"], answer["candidates"]), (False, plain["candidates"]), f"rerank {rerank}: taken, not done, and told")
    gone = w.ok("POST", "/v1/remember", {"text": "okapi17 sleeps"}).json["memory_id"]
    position = w.ok("DELETE", f"/memory/{gone}").headers["Soma-Position"]
    found = w.ok("POST", "/v1/recall", {"query": "okapi17"}, headers={"Soma-Position": position}).json["results"]
    check(gone not in [r["memory_id"] for r in found], "forgotten")
    problem(w.call("DELETE", f"/memory/{gone}"), 404)


@case
def tokens_are_verified(w):
    issued = w.ok("POST", "/v1/tokens/issue", {"user_id": "ana", "tenant_id": "demo", "ttl": 60,
                                              "capabilities": ["session:read"]}).json
    check({"token", "expires_at", "jti"} <= set(issued), "issue")
    good = w.ok("POST", "/v1/tokens/verify", {"token": issued["token"], "required_capabilities": ["session:read"]}).json
    equal((good["valid"], good["claims"]["sub"], good["claims"]["jti"]), (True, "ana", issued["jti"]), "verify")
    weak = w.ok("POST", "/v1/tokens/verify", {"token": issued["token"], "required_capabilities": ["admin:write"]}).json
    equal(weak["valid"], False, "a capability is missing")
    equal(w.ok("POST", "/v1/tokens/verify", {"token": "x.y.z"}).json, {"valid": False, "reason": "Invalid token"}, "odd")
    bearer = {"Authorization": "Bearer " + issued["token"]}
    w.ok("GET", "/v1/sessions", headers=bearer)
    problem(w.call("POST", "/v1/sessions/start", {"prompt": "x"}, headers=bearer), 403, "forbidden")
    problem(w.call("POST", "/v1/tokens/issue", {"user_id": "x", "tenant_id": "acme", "capabilities": ["*"]}), 403)
    keys = w.ok("GET", "/.well-known/jwks.json").json["keys"]
    check(keys and all("d" not in k for k in keys), "public keys only")


run()
