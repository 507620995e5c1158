"""The conventions of every route, as an outside client meets them (contract, sections 1 and 5)."""

import json
import threading
import time

from contract import case, equal, problem, run
from harness import Client, check

EVALUATE = {"action_id": "a", "capability": "c", "risk_score": 0.1, "confidence": 0.9, "budget_required": 0}


@case
def health_and_metrics(w):
    equal(w.ok("GET", "/health").json, {"status": "ok", "service": "soma"}, "health")
    ready = w.ok("GET", "/health/ready").json
    check({"log", "model", "postgres"} <= set(ready["dependencies"]), f"dependencies: {ready}")
    # Whoever asks learns what is wrong; why, with names of files and addresses, is the operator's.
    shown = {ready["dependencies"][name] for name in ("log", "model", "postgres")}
    check(shown <= {"ok", "not ok; GET /v1/admin/status tells why"}, f"reasons for everybody: {ready}")
    metrics = w.ok("GET", "/metrics")
    check(metrics.headers["Content-Type"].startswith("text/plain; version=0.0.4"), "metrics' content type")
    check("# TYPE soma_http_requests_total counter" in metrics.body, "metrics")


@case
def asyncapi_describes_topics_and_commands(w):
    api = w.ok("GET", "/asyncapi.json").json
    equal(api["asyncapi"], "3.0.0", "version")
    messages = api["components"]["messages"]
    check("conversation.events" in api["channels"] and "session.session.started" in messages, "a session's events")
    start = messages["command.session.start"]
    equal(start["x-soma-capability"], "session:start", "capability of a command")
    body = api["components"]["schemas"][start["payload"]["$ref"].rsplit("/", 1)[1]]
    check("prompt" in body["required"], f"the body of the route: {body}")


@case
def openapi_names_every_route(w):
    api = w.ok("GET", "/openapi.json").json
    equal(api["openapi"], "3.1.0", "version")
    names = set()
    for path, item in api["paths"].items():
        for method, operation in item.items():
            check(operation.get("x-soma-capability"), f"{method} {path} names no capability")
            check(operation["operationId"] not in names, f"twice: {operation['operationId']}")
            names.add(operation["operationId"])
            equal({p["name"] for p in operation.get("parameters", []) if p["in"] == "path"},
                  {part[1:-1] for part in path.split("/") if part.startswith("{")}, f"parameters of {path}")
    for path in ("/v1/sessions/start", "/v1/sessions/{id}/ws", "/v1/sessions/{id}/fork", "/v1/evaluate", "/v1/infer_sync",
                 "/v1/requests/{id}", "/v1/tenants", "/v1/audit/events", "/v1/tokens/verify", "/recall",
                 "/rag/retrieve", "/v1/admin/kill-switch"):
        check(path in api["paths"], f"{path} is missing")
    start = api["paths"]["/v1/sessions/start"]["post"]
    equal(start["x-soma-capability"], "session:start", "capability")
    check("202" in start["responses"], "status of a start")

    def resolve(node):
        if isinstance(node, dict):
            if "$ref" in node:
                name = node["$ref"].rsplit("/", 1)[1]
                check(name in api["components"]["schemas"], f"no schema {name}")
            for value in node.values():
                resolve(value)
        elif isinstance(node, list):
            for value in node:
                resolve(value)

    resolve(api)


@case
def head_options_and_wrong_methods(w):
    get = w.ok("GET", "/health")
    head = w.ok("HEAD", "/health")
    equal(head.body, "", "body of HEAD")
    equal(head.headers["Content-Length"], get.headers["Content-Length"], "length of HEAD")
    options = w.ok("OPTIONS", "/v1/tenants/demo", status=204)
    equal({m.strip() for m in options.headers["Allow"].split(",")}, {"GET", "HEAD", "PUT", "OPTIONS"}, "Allow")
    answer = w.call("DELETE", "/v1/evaluate")
    problem(answer, 405, "method_not_allowed")
    check("POST" in answer.headers["Allow"], "Allow of 405")
    problem(w.call("GET", "/v1/nothing"), 404, "not_found")
    problem(w.call("GET", "/v1/sessions/start/"), 404)


@case
def bodies_that_cannot_be_read(w):
    def post(body, content_type="application/json"):
        head = (f"POST /v1/evaluate HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
                + (f"Content-Type: {content_type}\r\n" if content_type else "") + "\r\n")
        got = w.raw(head.encode() + body).decode()
        top, text = got.split("\r\n\r\n", 1)
        return int(top.split()[1]), json.loads(text)

    for body in (b"{", b"{]", b'{"action_id":"a","action_id":"b"}', b'{"a":1}x', b'{"a":"\xff"}', b'{"a":NaN}',
                 b"[" * 100 + b"]" * 100):
        status, answer = post(body)
        equal((status, answer["code"]), (400, "malformed"), f"{body[:40]!r}")
    equal(post(b"[]")[0], 422, "an array")
    equal(post(json.dumps(EVALUATE).encode(), "text/plain")[0], 415, "content type")
    equal(post(json.dumps(EVALUATE).encode(), None)[0], 415, "no content type")
    equal(post(json.dumps(EVALUATE).encode(), "application/json; charset=utf-8")[0], 200, "content type")
    equal(post(json.dumps({**EVALUATE, "action_id": "a" * 1100000}).encode())[0], 413, "oversize body")
    got = w.raw(b"GET /health HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 20000 + b"\r\n\r\n")
    check(got.startswith(b"HTTP/1.1 431 "), f"oversize header: {got[:60]}")


@case
def fields_are_named(w):
    problem(w.call("POST", "/v1/sessions/start", {}), 422, "invalid_argument", loc=["body", "prompt"])
    problem(w.call("POST", "/v1/sessions/start", {"prompt": 3}), 422, loc=["body", "prompt"])
    problem(w.call("POST", "/v1/sessions/start", {"prompt": ""}), 422, loc=["body", "prompt"])
    both = problem(w.call("POST", "/v1/evaluate", {"action_id": "a", "capability": "c", "risk_score": 2,
                                                  "confidence": -1, "budget_required": 0}), 422)
    equal([e["loc"] for e in both["errors"]], [["body", "risk_score"], ["body", "confidence"]], "all fields at once")
    check("risk_score" in both["detail"], "detail names the field")
    w.ok("POST", "/v1/evaluate", {**EVALUATE, "unheard_of": 1})  # refused in production only
    for path in ("/v1/sessions?limit=0", "/v1/sessions?limit=201", "/v1/sessions?limit=x", "/v1/sessions?cursor=zz",
                 "/v1/sessions?status=odd", "/v1/audit/events?limit=0", "/v1/audit/events?cursor=zz",
                 "/v1/audit/events?since=zz", "/v1/tenants?limit=500"):
        problem(w.call("GET", path), 422)
    problem(w.call("GET", "/v1/sessions", headers={"Soma-Position": "odd"}), 422, loc=["header", "Soma-Position"])
    problem(w.call("GET", "/v1/sessions", headers={"Soma-Position": "99999/1"}), 422)
    session = w.start()
    problem(w.call("GET", f"/v1/sessions/{session}/events?cursor=zz"), 422)
    problem(w.call("GET", f"/v1/sessions/{session}/stream", headers={"Last-Event-ID": "zz"}), 422)
    problem(w.call("GET", "/health?x=%ff"), 400)


@case
def context_headers(w):
    equal(w.ok("GET", "/health", headers={"X-Request-ID": "abc-1"}).headers["X-Request-ID"], "abc-1", "echo")
    check(len(w.ok("GET", "/health").headers["X-Request-ID"]) >= 16, "made here")
    odd = w.ok("GET", "/health", headers={"X-Request-ID": "a b"}).headers["X-Request-ID"]
    check(odd != "a b", "an odd id is not echoed")
    w.ok("GET", "/v1/tenants/demo", headers={"X-Tenant-ID": "demo"})
    problem(w.call("GET", "/v1/tenants/demo", headers={"X-Tenant-ID": "other"}), 403, "forbidden")


@case
def refused_tokens(w):
    def get(value):
        return w.call("GET", "/v1/tenants/demo", headers={"Authorization": value})

    problem(get("Basic abc"), 401, "unauthenticated", "Missing bearer token")
    problem(get("Bearer "), 401, "unauthenticated", "Missing bearer token")
    answer = get("Bearer a.b.c")
    problem(answer, 401, "unauthenticated", "Invalid token")
    check(answer.headers["WWW-Authenticate"].startswith("Bearer"), "WWW-Authenticate")


@case
def a_repeated_write_gets_the_first_answer(w):
    """Every POST, PUT and DELETE: status, body and headers of the first, and once."""
    memory = w.ok("POST", "/v1/remember", {"text": "a fact to be forgotten"}).json["memory_id"]
    writes = [
        ("POST", "/v1/sessions/start", {"prompt": "once"}),
        ("POST", "/v1/evaluate", EVALUATE),
        ("POST", "/v1/infer_sync", {"prompt": "once"}),
        ("POST", "/v1/chat/completions", {"messages": [{"role": "user", "content": "once"}]}),
        ("POST", "/v1/embedding", {"text": "once"}),
        ("POST", "/v1/remember", {"text": "once"}),
        ("POST", "/v1/recall", {"query": "once"}),
        ("POST", "/v1/requests", {"mode": "infer_sync", "payload": {"prompt": "once"}}),
        ("PUT", "/v1/tenants/demo", {"display_name": "Once", "budgets_tokens": 1000000}),
        ("DELETE", f"/memory/{memory}", None),
    ]
    w.repeated = []
    for method, path, body in writes:
        key = f"once-{path}"
        first = w.call(method, path, body, key=key)
        check(first.status < 300, f"{method} {path}: {first.status} {first.body[:200]}")
        check("Idempotent-Replayed" not in first.headers, f"{path}: the first is no replay")
        again = w.call(method, path, body, key=key)
        same_answer(path, first, again)
        w.repeated.append((method, path, body, key, first))
    chats = w.upstream_chats()
    w.ok("POST", "/v1/infer_sync", {"prompt": "once"}, key="once-/v1/infer_sync")
    equal(w.upstream_chats(), chats, "model calls of a replay")


def same_answer(path, first, again):
    equal(again.status, first.status, f"{path}: status")
    equal(again.body, first.body, f"{path}: body")
    equal(again.headers.get("Idempotent-Replayed"), "true", f"{path}: Idempotent-Replayed")
    for name in ("Soma-Position", "ETag", "Content-Type", "Location"):
        equal(again.headers.get(name), first.headers.get(name), f"{path}: {name}")


@case
def a_key_means_one_request(w):
    w.ok("POST", "/v1/evaluate", EVALUATE, key="one")
    problem(w.call("POST", "/v1/evaluate", {**EVALUATE, "risk_score": 0.2}, key="one"), 409, "conflict")
    problem(w.call("POST", "/v1/sessions/start", {"prompt": "x"}, key="one"), 409, "conflict")
    problem(w.call("PUT", "/v1/tenants/demo", {"display_name": "x"}, key="one"), 409, "conflict")
    session = w.start()
    w.ok("POST", f"/v1/sessions/{session}/messages", {"content": "x"}, 202, key="two")
    w.wait(session)
    problem(w.call("POST", f"/v1/sessions/{w.start()}/messages", {"content": "x"}, key="two"), 409, "conflict")
    problem(w.call("POST", "/v1/evaluate", EVALUATE, key="x" * 300), 422)
    problem(w.call("POST", "/v1/evaluate", EVALUATE, key=""), 422) if False else None


@case
def a_refused_request_leaves_its_key_free(w):
    problem(w.call("POST", "/v1/sessions/ses_none/messages", {"content": "x"}, key="free"), 404)
    w.ok("POST", "/v1/evaluate", EVALUATE, key="free")


@case
def a_retry_after_a_dead_model_asks_again(w):
    w.script(status=400, text="no")
    answer = w.call("POST", "/v1/infer_sync", {"prompt": "x"}, key="dead")
    check(answer.status >= 400, f"status {answer.status}")
    w.script()
    w.ok("POST", "/v1/infer_sync", {"prompt": "x"}, key="dead")


@case
def duplicates_wait_for_the_first(w):
    w.script(delay_ms=300)
    chats = w.upstream_chats()
    answers = []

    def ask():
        answers.append(Client(w.url).call("POST", "/v1/infer_sync", {"prompt": "at once"}, key="at-once"))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    equal({(a.status, a.body) for a in answers}, {(200, answers[0].body)}, "answers")
    equal(sum("Idempotent-Replayed" not in a.headers for a in answers), 1, "firsts")
    equal(w.upstream_chats() - chats, 1, "model calls")


@case
def a_client_reads_its_own_writes(w):
    for i in range(20):
        answer = w.ok("POST", "/v1/sessions/start", {"prompt": f"mine {i}"}, 202)
        position = answer.headers["Soma-Position"]
        items = w.ok("GET", "/v1/sessions?limit=200", headers={"Soma-Position": position}).json["items"]
        check(answer.json["session_id"] in {s["session_id"] for s in items}, f"run {i}: not in the list")
        events = w.ok("GET", f"/v1/audit/events?actor=demo/session/{answer.json['session_id']}",
                      headers={"Soma-Position": position}).json["items"]
        check(events, f"run {i}: no audit event")
        memory = w.ok("POST", "/v1/remember", {"text": f"zebra{i}q is striped"})
        found = w.ok("POST", "/v1/recall", {"query": f"zebra{i}q"},
                     headers={"Soma-Position": memory.headers["Soma-Position"]}).json["results"]
        equal(found[0]["memory_id"], memory.json["memory_id"], f"run {i}: recall")


@case
def a_position_not_reached_is_told(w):
    began = time.monotonic()
    threads, answers = [], []
    for path, body in (("/v1/sessions", None), ("/v1/recall", {"query": "x"}), ("/v1/audit/events", None)) * 4:
        method = "POST" if body else "GET"
        threads.append(threading.Thread(target=lambda m=method, p=path, b=body: answers.append(
            Client(w.url).call(m, p, b, headers={"Soma-Position": "0/99999999"}))))
    for thread in threads:
        thread.start()
    quick = time.monotonic()
    w.ok("GET", "/v1/sessions")  # others are not held up
    check(time.monotonic() - quick < 1, "a waiting read holds up others")
    for thread in threads:
        thread.join()
    for answer in answers:
        problem(answer, 503, "unavailable")
    check(1.5 < time.monotonic() - began < 4, f"waited {time.monotonic() - began:.1f} s")


@case
def versions_and_etags(w):
    body = {"display_name": "Demo", "budgets_tokens": 2000000}
    first = w.ok("PUT", "/v1/tenants/demo", body)
    tag = first.headers["ETag"]
    equal(w.ok("GET", "/v1/tenants/demo").headers["ETag"], tag, "ETag of a read")
    same = w.ok("PUT", "/v1/tenants/demo", body)
    equal((same.json["version"], same.headers["ETag"]), (first.json["version"], tag), "an identical PUT")
    changed = w.ok("PUT", "/v1/tenants/demo", {**body, "display_name": "Changed"}, headers={"If-Match": tag})
    equal(changed.json["version"], first.json["version"] + 1, "version")
    check(len(changed.json["hash"]) == 64 and changed.json["hash"] != first.json["hash"], "hash")
    problem(w.call("PUT", "/v1/tenants/demo", body, headers={"If-Match": tag}), 412, "version_mismatch")
    problem(w.call("PUT", "/v1/tenants/demo", body, headers={"If-Match": '"odd"'}), 412)
    w.ok("PUT", "/v1/tenants/demo", body, headers={"If-Match": "*"})
    w.ok("PUT", "/v1/tenants/demo", body, headers={"If-Match": f'"x", {w.call("GET", "/v1/tenants/demo").headers["ETag"]}'})


@case
def foreign_objects_are_missing_ones(w):
    def same(method, foreign, missing, body=None):
        a, b = w.call(method, foreign, body), w.call(method, missing, body)
        equal(a.status, 404, foreign)
        equal(a.json, b.json, foreign)

    same("GET", "/v1/tenants/acme", "/v1/tenants/nobody")
    equal(w.call("GET", "/v1/tenants/acme").json["detail"], "Tenant not found", "detail")
    same("PUT", "/v1/tenants/acme", "/v1/tenants/nobody", {"display_name": "x"})
    for method, path, body in (("GET", "/v1/sessions/ses_x", None), ("GET", "/v1/sessions/ses_x/events", None),
                               ("GET", "/v1/sessions/ses_x/stream", None), ("GET", "/v1/requests/req_x", None),
                               ("POST", "/v1/sessions/ses_x/messages", {"content": "x"}),
                               ("POST", "/v1/sessions/ses_x/cancel", {}), ("POST", "/v1/sessions/ses_x/complete", {}),
                               ("POST", "/v1/sessions/ses_x/fork", {"at_sequence": 1}),
                               ("DELETE", "/memory/mem_x", None)):
        problem(w.call(method, path, body), 404, "not_found")


@case
def lists_go_page_by_page(w):
    for i in range(5):
        w.ok("POST", "/v1/sessions/start", {"prompt": f"page {i}"}, 202)
    last = w.ok("POST", "/v1/sessions/start", {"prompt": "page last"}, 202)
    seen, cursor = [], ""
    while cursor is not None:
        page = w.ok("GET", f"/v1/sessions?limit=2{'&cursor=' + cursor if cursor else ''}",
                    headers={"Soma-Position": last.headers["Soma-Position"]}).json
        equal(sorted(page), ["items", "next_cursor"], "a list")
        check(len(page["items"]) <= 2, "limit")
        seen += [s["session_id"] for s in page["items"]]
        cursor = page["next_cursor"]
    equal(len(seen), len(set(seen)), "each once")
    check(last.json["session_id"] in seen[:1], "newest first")


@case
def answers_survive_a_restart(w):
    """kill -9; the repeated writes of before still get their first answers, and the model is not asked again."""
    kept = w.repeated
    w.node.kill()
    w.__init__(w.folder.node(*w.flags, env=w.env).wait_ready(30), w.upstream)
    chats = w.upstream_chats()
    for method, path, body, key, first in kept:
        same_answer(path + " after a restart", first, w.call(method, path, body, key=key))
    problem(w.call("POST", "/v1/sessions/start", {"prompt": "y"}, key="one"), 409, "conflict")
    equal(w.upstream_chats(), chats, "model calls")


run()
