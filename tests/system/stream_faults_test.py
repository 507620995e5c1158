#!/usr/bin/env python3
"""Streams of a model that cuts, stalls, garbles, errs and ends too early, and of a node that is killed meanwhile: who
listens gets every token once and in order, or sees that the stream did not end well.

usage: stream_faults_test.py [--streams N] [--kills N]   N streams of chat completions, and half as many sessions
"""

import argparse
import concurrent.futures
import json
import random
import time

import harness
from contract import Stream
from harness import Client, check, gate

TOKENS = [f" word{n}" for n in range(24)]
WHOLE = "".join(TOKENS)
ENDS = ("session.completed", "session.failed", "session.cancelled")
AT_ONCE = 12


def place():
    return random.randint(0, len(TOKENS))


# How the model's stream goes; the last three are well.
WAYS = {
    "cut": lambda: {"cut_after": place()},
    "malformed": lambda: {"malformed_after": place()},
    "error": lambda: {"error_after": place()},
    "no_finish_reason": lambda: {"finish_reason": ""},
    "no_done": lambda: {"done": False},
    "late_text": lambda: {"late_text": 1 + place()},
    "not_a_stream": lambda: {"streams": False},
    "unavailable": lambda: {"status": 503},
    "stall": lambda: {"stall_after": place()},
    "well": lambda: {},
    "slow": lambda: {"token_delay_ms": random.randint(1, 10)},
    "in_pieces": lambda: {"write_bytes": random.choice((7, 64))},
}
GOOD = ("well", "slow", "in_pieces")
STALLS = 0.03  # of all: each lasts until the node gives the model up


def any_way(of=tuple(WAYS)):
    if random.random() < STALLS:
        return "stall"
    return random.choice([w for w in of if w != "stall"])


class Chat:
    """One stream of chat completions as a client gets it."""

    def __init__(self, url, model):
        self.text, self.told, self.done, self.finish, self.complete = "", None, False, None, False
        try:
            self._read(Stream(url, "/v1/chat/completions", method="POST", body={
                "model": model, "stream": True, "messages": [{"role": "user", "content": "go on"}]}))
        except harness.BROKEN as broken:
            self.told = repr(broken)

    def _read(self, stream):
        if stream.status != 200:
            self.told = f"status {stream.status}"
            return
        for _, _, data in stream:
            if data == "[DONE]":
                self.done = True
                continue
            chunk = json.loads(data)
            if "error" in chunk:
                self.told = chunk["error"]
                continue
            for choice in chunk["choices"]:
                self.text += choice["delta"].get("content") or ""
                self.finish = choice["finish_reason"] or self.finish
        self.complete = stream.complete

    def well(self):
        return self.complete and self.done and self.finish == "stop" and self.told is None

    def judge(self, what):
        check(WHOLE.startswith(self.text), f"{what}: not the model's tokens in order: {self.text!r}")
        check(not self.well() or self.text == WHOLE, f"{what}: ended well with {len(self.text)} of {len(WHOLE)} characters")
        check(self.well() or self.told is not None or not self.complete or not self.done,
              f"{what}: neither well nor told to be otherwise (finish {self.finish})")


def chats(url, upstream, count):
    """(streams, those that ended well), each with a fault or none."""
    ways = {f"chat-{n}": any_way() for n in range(count)}
    upstream.script({"next": [{"model": m, "tokens": TOKENS, **WAYS[w]()} for m, w in ways.items()], "otherwise": {"tokens": TOKENS}})

    def one(model):
        chat = Chat(url, model)
        chat.judge(f"{ways[model]} ({model})")
        check(chat.well() or ways[model] not in GOOD, f"a stream without a fault did not end well: {chat.told}")
        return chat.well()

    return sum(harness.each(ways, one, AT_ONCE))


class Session:
    """A session whose stream is listened to until it ends, again and again from where it broke off."""

    def __init__(self, url, model):
        self.events, self.url = [], url
        answer = Client(url).call("POST", "/v1/sessions/start", {"prompt": "go on", "model": model})
        check(answer.status == 202, f"session refused: {answer.status} {answer.body}")
        self.id = answer.json["session_id"]

    def ended(self):
        return bool(self.events) and self.events[-1][1] in ENDS

    def listen(self, url):
        """False: it broke off."""
        since = {"Last-Event-ID": self.events[-1][0]} if self.events else {}
        try:
            stream = Stream(url, f"/v1/sessions/{self.id}/stream", since)
            check(stream.status in (200, 503), f"stream: {stream.status}")
            if stream.status == 200:
                self.events.extend(stream)
        except harness.BROKEN:
            pass
        return self.ended()

    def judge(self, url, what):
        tokens = [json.loads(d) for _, n, d in self.events if n == "token"]
        attempts = {}
        for t in tokens:
            attempts.setdefault((t["turn"], t["attempt"]), []).append(t)
        for (turn, attempt), got in attempts.items():
            check([t["index"] for t in got] == list(range(len(got))), f"{what}: attempt {attempt}: tokens lost or doubled")
            text = "".join(t["text"] for t in got)
            check(WHOLE.startswith(text), f"{what}: attempt {attempt}: not the model's tokens: {text!r}")
        facts = [(i, n, d) for i, n, d in self.events if n not in ("token", "restarted")]
        later = [(i, n, d) for i, n, d in Stream(url, f"/v1/sessions/{self.id}/stream") if n not in ("token", "restarted")]
        check(facts == later, f"{what}: the events are not those that are seen later")
        state = Client(url).call("GET", f"/v1/sessions/{self.id}").json
        if state["status"] == "completed":
            check(state["turns"][0]["answer"] == WHOLE, f"{what}: completed with {state['turns'][0]['answer']!r}")
            last = attempts[max(attempts)] if attempts else []
            check("".join(t["text"] for t in last) == WHOLE, f"{what}: the last attempt's tokens are not the answer")
        else:
            check(state["status"] == "failed" and state["error"]["code"], f"{what}: {state['status']}")
        return state["status"] == "completed"


def sessions(url, upstream, count):
    """Those that completed, of sessions whose model fails up to twice before it answers."""
    ways = {f"session-{n}": [any_way(tuple(w for w in WAYS if w not in GOOD)) for _ in range(random.randint(0, 2))] for n in range(count)}
    upstream.script({"next": [{"model": m, "tokens": TOKENS, **WAYS[w]()} for m, found in ways.items() for w in found],
                     "otherwise": {"tokens": TOKENS, "token_delay_ms": 1}})

    def one(model):
        session = Session(url, model)
        harness.wait_until(f"{model} {ways[model]} ended", 120, lambda: session.listen(url))
        done = session.judge(url, f"{ways[model]} ({model})")
        check(done or ways[model], f"{model} failed without a fault: {session.events[-1][2]}")
        return done

    return sum(harness.each(ways, one, AT_ONCE))


def killed(folder, flags, upstream, node):
    """Kills the node under streams; (the next node, streams, those of chats that ended well)."""
    upstream.script({"tokens": TOKENS, "token_delay_ms": 12})
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        started = [Session(node.url, f"killed-{n}") for n in range(AT_ONCE // 2)]
        listening = [pool.submit(s.listen, node.url) for s in started]
        asking = [pool.submit(Chat, node.url, f"asked-{n}") for n in range(AT_ONCE // 2)]
        time.sleep(random.uniform(0.05, 0.4))
        node.kill()
        for chat in (a.result(30) for a in asking):
            chat.judge("a killed node's")
        well = sum(a.result().well() for a in asking)
        for l in listening:
            l.result(30)
    node = folder.node(*flags).wait_ready()
    for session in started:
        harness.wait_until("a killed node's session ended", 60, lambda s=session: s.listen(node.url))
        check(session.judge(node.url, "a killed node's session"), "a killed node's session failed")
    return node, 2 * (AT_ONCE // 2), well


def run():
    parser = argparse.ArgumentParser()
    parser.add_argument("--streams", type=int, default=40)
    parser.add_argument("--kills", type=int, default=2)
    options = parser.parse_args()
    with harness.Upstream() as upstream, harness.Folder() as folder:
        flags = (*upstream.flags, "--postgres", harness.NO_POSTGRES)
        node = folder.node(*flags).wait_ready()
        settings = Client(node.url).call("PUT", "/v1/tenants/demo", {"display_name": "Demo", "budgets_tokens": 10**9}, "budget")
        check(settings.status == 200, f"budget: {settings.status} {settings.body}")
        well = chats(node.url, upstream, options.streams)
        done = sessions(node.url, upstream, options.streams // 2)
        streams = options.streams + options.streams // 2
        cut = 0
        for _ in range(options.kills):
            node, more, ended = killed(folder, flags, upstream, node)
            streams, cut = streams + more, cut + more // 2 - ended
        check(0 < well < options.streams, f"{well} of {options.streams} chats ended well: the faults were not met")
        gate("G2", f"{streams} streams, 0 truncated in silence, 0 tokens lost or doubled; {well} of {options.streams} chats ended well, "
             f"{done} of {options.streams // 2} sessions completed; {options.kills} kills broke {cut} chats off", f"{options.streams} streams", True)


if __name__ == "__main__":
    harness.main(run)
