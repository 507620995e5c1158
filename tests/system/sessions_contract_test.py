"""Sessions as an outside client meets them: turns, histories, streams, sockets, forks (contract, section 2)."""

import json
import threading
import time

from contract import case, equal, problem, run
from harness import Client, check

ENDS = {"session.completed", "session.failed", "session.cancelled"}
FACTS = ["session.started", "turn.started", "policy.decided", "budget.requested", "budget.reserved", "memory.recalled",
         "model.requested", "model.answered", "turn.completed", "session.completed"]


@case
def budget_for_the_tests(w):
    w.ok("PUT", "/v1/tenants/demo", {"budgets_tokens": 100000000})


@case
def a_session_reads_as_promised(w):
    answer = w.ok("POST", "/v1/sessions/start", {"prompt": "hello", "user": "ana", "tenant": "demo",
                                                 "metadata": {"purpose": "test"}}, 202)
    equal((answer.json["status"], answer.json["turn"]), ("accepted", 1), "start")
    check(answer.headers["Soma-Position"], "position")
    state = w.wait(answer.json["session_id"])
    for name in ("session_id", "tenant_id", "user", "status", "created_at", "updated_at", "model", "constitution_hash",
                 "turns"):
        check(name in state, f"no {name}: {state}")
    equal((state["tenant_id"], state["user"], state["status"]), ("demo", "ana", "completed"), "session")
    check(state["model"], "who asks for no model is told which answered")
    turn = state["turns"][0]
    equal((turn["turn"], turn["prompt"], turn["answer"], turn["status"]),
          (1, "hello", "Hello from the script.", "completed"), "turn")
    check(turn["decision_id"].startswith("dec_"), "decision_id")
    check(all(isinstance(turn["usage"][n], int) for n in ("prompt_tokens", "completion_tokens", "total_tokens")), "usage")
    problem(w.call("POST", "/v1/sessions/start", {"prompt": "x", "tenant": "acme"}), 403, "forbidden")


@case
def events_are_dotted_facts_with_numbers(w):
    session = w.start("history")
    items, cursor = [], ""
    while cursor is not None:
        page = w.ok("GET", f"/v1/sessions/{session}/events?limit=3{'&cursor=' + cursor if cursor else ''}").json
        items += page["items"]
        cursor = page["next_cursor"]
    equal([e["type"] for e in items], FACTS, "types")
    equal([e["sequence"] for e in items], list(range(1, 11)), "sequences")
    for e in items:
        for name in ("event_id", "sequence", "type", "time", "position", "actor", "principal", "causation_id",
                     "correlation_id", "data"):
            check(name in e, f"no {name} in {e}")
    by_type = {e["type"]: e["data"] for e in items}
    check(isinstance(by_type["turn.completed"]["usage"]["prompt_tokens"], int), "a number is a number")
    equal(by_type["policy.decided"]["decision"]["allow"], True, "allow")
    equal(by_type["memory.recalled"]["degraded"] in (True, False), True, "a default is shown")


@case
def a_denial_is_a_failed_session(w):
    answer = w.ok("POST", "/v1/sessions/start", {"prompt": "x", "metadata": {"risk_score": 1, "confidence": 0}}, 202)
    state = w.wait(answer.json["session_id"])
    equal((state["status"], state["error"]["code"]), ("failed", "policy_denied"), "denied")
    events = w.ok("GET", f"/v1/sessions/{state['session_id']}/events").json["items"]
    equal([e["data"]["decision"]["allow"] for e in events if e["type"] == "policy.decided"], [False], "allow is visible")


@case
def a_dead_model_is_a_failed_session(w):
    w.script(status=400, text="refused")
    state = w.wait(w.ok("POST", "/v1/sessions/start", {"prompt": "x"}, 202).json["session_id"])
    equal(state["status"], "failed", "status")
    check(state["error"]["code"], "code")


@case
def an_empty_budget_is_a_failed_session(w):
    before = w.ok("GET", "/v1/tenants/demo").json["budgets_tokens"]
    w.ok("PUT", "/v1/tenants/demo", {"budgets_tokens": 1})
    state = w.wait(w.ok("POST", "/v1/sessions/start", {"prompt": "x"}, 202).json["session_id"])
    equal((state["status"], state["error"]["code"]), ("failed", "budget_exhausted"), "empty budget")
    problem(w.call("POST", "/v1/infer_sync", {"prompt": "x"}, key="poor"), 429, "budget_exhausted")
    w.ok("PUT", "/v1/tenants/demo", {"budgets_tokens": before})
    w.ok("POST", "/v1/infer_sync", {"prompt": "x"}, key="poor")


@case
def messages_continue_a_session(w):
    session = w.start("first")
    answer = w.ok("POST", f"/v1/sessions/{session}/messages", {"content": "second"}, 202)
    equal(answer.json["turn"], 2, "turn")
    equal([t["prompt"] for t in w.wait(session)["turns"]], ["first", "second"], "turns")
    seen = Client(w.upstream.base_url.removesuffix("/v1")).call("GET", "/control/requests").body
    check("first" in seen and "second" in seen, "the model sees the earlier turn")
    problem(w.call("POST", f"/v1/sessions/{session}/messages", {}), 422, loc=["body", "content"])


@case
def cancel_and_complete(w):
    w.script(token_delay_ms=100)
    session = w.ok("POST", "/v1/sessions/start", {"prompt": "slow"}, 202).json["session_id"]
    problem(w.call("POST", f"/v1/sessions/{session}/messages", {"content": "x"}), 409, "conflict")
    problem(w.call("POST", f"/v1/sessions/{session}/complete"), 409, "conflict")
    equal(w.ok("POST", f"/v1/sessions/{session}/cancel", {"reason": "enough"}).json["status"], "cancelled", "cancel")
    state = w.wait(session)
    equal((state["status"], state["turns"][0]["status"]), ("cancelled", "cancelled"), "status")
    w.script()
    w.ok("POST", f"/v1/sessions/{session}/messages", {"content": "go on"}, 202)  # its turn was cancelled, not it
    equal(w.wait(session)["status"], "completed", "continued after a cancelled turn")
    done = w.start()
    equal(w.ok("POST", f"/v1/sessions/{done}/complete").json["status"], "completed", "complete")
    problem(w.call("POST", f"/v1/sessions/{done}/cancel", {}), 409, "conflict")


def tokens_of(events):
    return [d for _, name, d in ((i, n, json.loads(x)) for i, n, x in events) if name == "token"]


def check_stream(events, what):
    """Every durable event once in order, every token of the answer once in order between its neighbours."""
    names = [n for _, n, _ in events]
    equal([n for n in names if n != "token"], FACTS, f"{what}: events")
    tokens = [json.loads(d) for _, n, d in events if n == "token"]
    equal("".join(t["text"] for t in tokens), "Hello from the script.", f"{what}: tokens")
    equal([t["index"] for t in tokens], list(range(len(tokens))), f"{what}: indexes")
    check(names.index("model.requested") < names.index("token") < names.index("model.answered"), f"{what}: order")
    check(all(i for i, _, _ in events), f"{what}: an event without an id")


@case
def a_stream_shows_everything_once(w):
    w.script(token_delay_ms=20)
    session = w.ok("POST", "/v1/sessions/start", {"prompt": "live"}, 202).json["session_id"]
    live = w.stream(f"/v1/sessions/{session}/stream")
    check(live.headers["Content-Type"].startswith("text/event-stream"), "content type")
    events = list(live)
    check(live.complete, "the stream has a proper end")
    check_stream(events, "live")
    later = list(w.stream(f"/v1/sessions/{session}/stream"))
    equal(later, events, "seen later, the same with the same ids")


@case
def a_stream_resumes_after_every_event(w):
    w.script(token_delay_ms=5)
    session = w.start("resume")
    whole = list(w.stream(f"/v1/sessions/{session}/stream"))
    for n, (event_id, name, _) in enumerate(whole):
        rest = list(w.stream(f"/v1/sessions/{session}/stream", {"Last-Event-ID": event_id}))
        equal(rest, whole[n + 1:], f"after {event_id} ({name})")
    equal(list(w.stream(f"/v1/sessions/{session}/stream?last_event_id={whole[3][0]}")), whole[4:], "by query")
    problem(w.call("GET", f"/v1/sessions/{session}/stream", headers={"Last-Event-ID": "999"}), 422)


@case
def a_cut_stream_resumes_while_it_runs(w):
    w.script(token_delay_ms=60)
    session = w.ok("POST", "/v1/sessions/start", {"prompt": "cut"}, 202).json["session_id"]
    seen = []
    for cut_after in (1, 3, 8, 2, 100):
        stream = w.stream(f"/v1/sessions/{session}/stream", {"Last-Event-ID": seen[-1][0]} if seen else {})
        for n, event in enumerate(stream):
            seen.append(event)
            if n + 1 == cut_after:
                stream.close()
                break
        if seen[-1][1] in ENDS:
            break
    check_stream(seen, "pieces together")


@case
def a_restarted_attempt_is_announced(w):
    w.script(cut_after=2)
    session = w.ok("POST", "/v1/sessions/start", {"prompt": "again"}, 202).json["session_id"]
    events = []
    for event in w.stream(f"/v1/sessions/{session}/stream"):
        events.append(event)
        if event[1] == "token":
            w.script()
    names = [n for _, n, _ in events]
    check("restarted" in names and "model.restarted" in names, f"announced: {names}")
    at = len(names) - 1 - names[::-1].index("restarted")  # the first attempts may be over before we look
    attempt = json.loads(events[at][2])["attempt"]
    equal(names[at + 1], "model.restarted", "then the fact")
    after = [json.loads(d) for _, n, d in events[at:] if n == "token"]
    equal("".join(t["text"] for t in after), "Hello from the script.", "the last attempt is whole")
    equal(({t["attempt"] for t in after}, attempt >= 2), ({attempt}, True), "attempt")
    again = list(w.stream(f"/v1/sessions/{session}/stream", {"Last-Event-ID": events[at][0]}))
    equal(again[:2], events[at:at + 2], "who saw only the announcement hears it again")


@case
def a_following_stream_stays(w):
    session = w.start("one")
    stream = w.stream(f"/v1/sessions/{session}/stream?follow=true")
    got = []

    def read():
        for event in stream:
            got.append(event[1])
            if got.count("session.completed") == 2:
                return

    reader = threading.Thread(target=read)
    reader.start()
    time.sleep(0.3)
    w.ok("POST", f"/v1/sessions/{session}/messages", {"content": "two"}, 202)
    reader.join(15)
    equal(got.count("session.completed"), 2, "both turns")
    stream.close()


@case
def a_socket_shows_the_same(w):
    w.script(token_delay_ms=10)
    session = w.ok("POST", "/v1/sessions/start", {"prompt": "socket"}, 202).json["session_id"]
    s = w.socket(f"/v1/sessions/{session}/ws")
    equal(s.status, 101, "upgrade")
    messages = list(s)
    equal(s.code, 1000, "close code")
    for m in messages:
        equal(sorted(m), ["data", "event", "id"], "a message")
    check_stream([(m["id"], m["event"], json.dumps(m["data"])) for m in messages], "socket")
    again = w.socket(f"/v1/sessions/{session}/ws?last_event_id={messages[4]['id']}")
    equal(list(again), messages[5:], "resumed")


@case
def a_socket_keeps_to_the_protocol(w):
    session = w.start("rules")
    problem(w.call("GET", f"/v1/sessions/{session}/ws"), 426)
    equal(w.socket("/v1/sessions/ses_none/ws").status, 404, "a missing session")
    equal(w.socket(f"/v1/sessions/{session}/ws", {"Origin": "https://evil.example"}).status, 403, "a foreign page")
    s = w.socket(f"/v1/sessions/{session}/ws?follow=true")
    for _ in FACTS:
        s.frame()
    s.send(9, b"are you there")
    opcode, payload = s.frame()
    while opcode == 1:
        opcode, payload = s.frame()
    equal((opcode, payload), (10, b"are you there"), "pong")
    s.send(1, b"ignored")
    s.send(8, b"\x03\xe8")
    opcode, payload = s.frame()
    while opcode == 1:
        opcode, payload = s.frame()
    equal((opcode, payload[:2]), (8, b"\x03\xe8"), "close answered")
    big = w.socket(f"/v1/sessions/{session}/ws?follow=true")
    try:
        big.send(1, b"x" * (70 * 1024))
    except OSError:
        pass
    opcode = 1
    while opcode != 8:
        opcode, payload = big.frame()
    equal(payload[:2], (1009).to_bytes(2, "big"), "too big")


@case
def tickets_open_one_stream(w):
    session = w.start("ticket")
    ticket = w.ok("POST", "/v1/tokens/ticket").json
    equal(ticket["expires_in"], 30, "life")
    path = f"/v1/sessions/{session}/ws?ticket={ticket['ticket']}"
    equal(w.socket(path).status, 101, "first use")
    equal(w.socket(path).status, 401, "second use")
    equal(w.stream(f"/v1/sessions/{session}/stream?ticket=odd").status, 401, "an unknown one")


@case
def a_fork_keeps_the_history_and_lives_on(w):
    session = w.start("origin")
    w.ok("POST", f"/v1/sessions/{session}/messages", {"content": "second"}, 202)
    w.wait(session)
    origin = w.ok("GET", f"/v1/sessions/{session}/events?limit=200").json["items"]
    fork = w.ok("POST", f"/v1/sessions/{session}/fork", {"at_sequence": 10}, 201, key="fork")
    equal(fork.json["forked_from"], {"session_id": session, "at_sequence": 10}, "origin")
    new = fork.json["session_id"]
    check(new != session, "a session of its own")
    events = w.ok("GET", f"/v1/sessions/{new}/events").json["items"]
    equal([e["type"] for e in events], [e["type"] for e in origin[:10]] + ["session.forked"], "history")
    state = w.ok("GET", f"/v1/sessions/{new}").json
    equal([t["prompt"] for t in state["turns"]], ["origin"], "turns")
    w.ok("POST", f"/v1/sessions/{new}/messages", {"content": "other way"}, 202)
    equal([t["prompt"] for t in w.wait(new)["turns"]], ["origin", "other way"], "goes on")
    equal([t["prompt"] for t in w.ok("GET", f"/v1/sessions/{session}").json["turns"]], ["origin", "second"], "untouched")
    middle = w.ok("POST", f"/v1/sessions/{session}/fork", {"at_sequence": 7}, 201).json["session_id"]
    equal(w.ok("GET", f"/v1/sessions/{middle}").json["error"]["code"], "forked", "cut in a turn")
    w.ok("POST", f"/v1/sessions/{middle}/messages", {"content": "anew"}, 202)
    equal(w.wait(middle)["status"], "completed", "and goes on")
    problem(w.call("POST", f"/v1/sessions/{session}/fork", {"at_sequence": 0}), 422, loc=["body", "at_sequence"])
    problem(w.call("POST", f"/v1/sessions/{session}/fork", {"at_sequence": 9999}), 422, loc=["body", "at_sequence"])


@case
def a_long_history_reaches_a_slow_reader(w):
    """More than any buffer holds: the reader sleeps first, then gets all of it, in order and once."""
    session = w.start("x" * 60000)
    for _ in range(24):
        w.ok("POST", f"/v1/sessions/{session}/messages", {"content": "y" * 60000}, 202)
        w.wait(session)
    stream = w.stream(f"/v1/sessions/{session}/stream")
    time.sleep(1)
    ids = [i for i, n, _ in stream if n != "token"]
    check(stream.complete, "not cut")
    equal([int(i) for i in ids], list(range(1, len(ids) + 1)), "every event once")
    check(len(ids) > 240, f"{len(ids)} events")


@case
def the_kill_switch_stops_new_sessions_only(w):
    session = w.start()
    on = w.ok("POST", "/v1/admin/kill-switch", {"enabled": True, "reason": "incident"})
    equal(on.json["enabled"], True, "switched")
    problem(w.call("POST", "/v1/sessions/start", {"prompt": "x"}), 503, "unavailable", "Gateway kill-switch active")
    w.ok("GET", f"/v1/sessions/{session}")
    w.ok("GET", "/v1/sessions")
    w.node.kill()
    w.__init__(w.folder.node(*w.flags, env=w.env).wait_ready(30), w.upstream)
    problem(w.call("POST", "/v1/sessions/start", {"prompt": "x"}), 503, detail="Gateway kill-switch active")
    w.ok("POST", "/v1/admin/kill-switch", {"enabled": False, "reason": "over"})
    w.start()


run()
