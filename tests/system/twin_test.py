#!/usr/bin/env python3
"""A tenant's output is the same with and without a hostile neighbour: the same requests to two nodes, at one of which another
tenant floods, guesses the first one's ids, sends what is broken and reuses its keys. Answers and events are compared, but for ids,
times and places; no metric names a tenant.

usage: twin_test.py [--seeds N]   a seed is a tenant with a sequence of requests of its own
"""

import argparse
import itertools
import json
import random
import re
import threading

import harness
from harness import BROKEN, Client, check, gate, token

REQUESTS = 10
CLIENTS, NEIGHBOURS = 4, 4
RECALL = {"query": "where does the plover nest", "limit": 50}
IDS = re.compile(r"\b(?:[a-z]{2,5}_)?[0-9a-f]{16,64}\b|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\bses_\w+|\breq_\w+|\bmem_\w+")
TIMES = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")
# What tells of when and where, or of how long something took.
VOLATILE = re.compile(r"(.*_)?(ms|at|time|position|seconds|created|cursor|uptime|offset|partition)$")


class Plain:
    """Text without what differs between two runs: each id is its number in order of appearance."""

    def __init__(self):
        self._ids = {}

    def text(self, text):
        text = TIMES.sub("TIME", text)
        return IDS.sub(lambda found: f"ID{self._ids.setdefault(found[0], len(self._ids))}", text)

    def value(self, value):
        if isinstance(value, dict):
            return {k: "VOLATILE" if VOLATILE.match(k) and not isinstance(v, (dict, list)) else self.value(v) for k, v in value.items()}
        if isinstance(value, list):
            return [self.value(v) for v in value]
        return self.text(value) if isinstance(value, str) else value

    def answer(self, answer):
        try:
            body = self.value(json.loads(answer.body))
        except ValueError:
            body = self.text(answer.body)
        return answer.status, answer.headers.get("Content-Type"), answer.headers.get("Idempotent-Replayed"), body


class Tenant:
    """One sequence of requests, each sent when the one before has an answer and what it began has ended."""

    def __init__(self, url, name, who, seen):
        self.client, self.name, self.seen = Client(url, who), name, seen
        self.plain, self.out, self.sessions = Plain(), [], []
        self.memories = 0

    def ask(self, method, path, body=None, key=None):
        def settled():
            answer = self.client.call(method, path, body, key)
            return None if answer.status in (429, 503) else answer

        answer = harness.wait_until(f"{method} {path}", 60, settled)
        self.out.append((method, self.plain.text(path), self.plain.answer(answer)))
        return answer

    def ended(self, session):
        def state():
            answer = self.client.call("GET", f"/v1/sessions/{session}")
            return answer.status == 200 and answer.json["status"] not in ("accepted", "running")

        harness.wait_until(f"{session} ended", 60, state)
        turns = self.ask("GET", f"/v1/sessions/{session}").json["turns"]
        if turns[-1]["status"] == "completed":
            self.remembered()

    def remembered(self):
        """One memory more, which is found some time after it was made."""
        self.memories += 1
        harness.wait_until(f"{self.memories} memories of {self.name}", 30, lambda: len(
            self.client.call("POST", "/v1/recall", RECALL).json.get("results", [])) >= self.memories)

    def step(self, rng, n):
        kind = rng.choice(("start", "start", "message", "remember", "recall", "evaluate", "infer", "missing", "wrong", "again"))
        if kind == "message" and self.sessions:
            session = rng.choice(self.sessions)
            self.ask("POST", f"/v1/sessions/{session}/messages", {"content": f"more {n}"}, f"m{n}")
            self.ended(session)
        elif kind == "remember":
            self.ask("POST", "/v1/remember", {"text": f"the plover nests at {rng.randrange(9)} {n}", "tags": ["t"]}, f"r{n}")
            self.remembered()
        elif kind == "recall":
            self.ask("POST", "/v1/recall", RECALL)
        elif kind == "evaluate":
            self.ask("POST", "/v1/evaluate", {"action_id": f"a{n}", "capability": "x", "risk_score": rng.random(),
                                              "confidence": rng.random(), "budget_required": 1, "budget_remaining": 2}, f"e{n}")
        elif kind == "infer":
            self.ask("POST", "/v1/infer_sync", {"prompt": f"say {n}"}, f"i{n}")
        elif kind == "missing":
            self.ask("GET", f"/v1/sessions/ses_{rng.randrange(1 << 60):024x}")
        elif kind == "wrong":
            self.ask("POST", "/v1/sessions/start", rng.choice(({}, {"prompt": 7}, {"prompt": "x", "model": []})))
        elif kind == "again" and self.sessions:
            self.ask("POST", "/v1/sessions/start", {"prompt": "first"}, "first")  # as its first request, or another with its key
        else:
            answer = self.ask("POST", "/v1/sessions/start", {"prompt": "first" if not self.sessions else f"say {n}"},
                              "first" if not self.sessions else f"s{n}")
            if answer.status == 202:
                self.sessions.append(answer.json["session_id"])
                self.seen.append(self.sessions[-1])
                self.ended(self.sessions[-1])

    def audited(self):
        """All of its events; a page ends where so much of the log has been read, whoever wrote it."""
        told, cursor = [], ""
        while cursor is not None:
            page = self.client.call("GET", f"/v1/audit/events?limit=200{cursor and '&cursor=' + cursor}").json
            told, cursor = told + page["items"], page["next_cursor"]
        return told

    def run(self, seed):
        rng = random.Random(seed)
        for n in range(REQUESTS):
            self.step(rng, n)
        for session in self.sessions:
            self.ask("GET", f"/v1/sessions/{session}/events")
        told = self.audited()  # of several actors, in the order of the log
        self.out.append(("events", sorted((e["topic"], e["type"], e["tenant_id"], e["principal"]) for e in told)))


class Neighbour:
    """Sends whatever might tell of others or harm them, as fast as it is answered."""

    def __init__(self, url, who, seen):
        self.client, self.seen, self.sent, self.through = Client(url, who, timeout=60), seen, 0, []

    def once(self, rng, n):
        theirs = rng.choice(self.seen) if self.seen else "ses_none"
        method, path, body, key = rng.choice((
            ("GET", f"/v1/sessions/{theirs}", None, None),
            ("GET", f"/v1/sessions/{theirs}/events", None, None),
            ("POST", f"/v1/sessions/{theirs}/messages", {"content": "now do as I say"}, f"m{n % REQUESTS}"),
            ("POST", f"/v1/sessions/{theirs}/cancel", {}, None),
            ("POST", f"/v1/sessions/{theirs}/fork", {"at_sequence": 1}, None),
            ("POST", "/v1/sessions/start", {"prompt": "first"}, "first"),
            ("POST", "/v1/sessions/start", {"prompt": "z" * rng.randrange(100_000), "tenant": "t0"}, f"n{n}"),
            ("POST", "/v1/sessions/start", {"prompt": f"flood {n}"}, f"s{n % REQUESTS}"),
            ("POST", "/v1/remember", {"text": f"the plover nests in a trap {n}", "tags": ["t"]}, f"r{n % REQUESTS}"),
            ("POST", "/v1/recall", {"query": "where does the plover nest", "limit": 50}, None),
            ("POST", "/v1/infer_sync", {"prompt": "x" * 1000}, f"i{n % REQUESTS}"),
            ("PUT", "/v1/tenants/t0", {"display_name": "mine"}, None),
            ("POST", "/v1/sessions/start", {"prompt": {"a": [[[]]] * 100}}, None)))
        answer = self.client.call(method, path, body, key)
        self.sent += 1
        own_key = answer.status == 409 and "Idempotency-Key" in answer.body  # of what it sends beside itself
        if theirs in path and answer.status not in (404, 429, 503) and not own_key:
            self.through.append(f"{method} {path}: {answer.status} {answer.body[:200]}")

    def run(self, seed, stop):
        rng = random.Random(seed)
        for n in itertools.count():
            if stop.is_set():
                return
            try:
                self.once(rng, n)
            except BROKEN:
                pass


def first_difference(a, b, where=""):
    """Where two outputs differ first, and how."""
    if isinstance(a, dict) and isinstance(b, dict):
        keys = [k for k in {**a, **b} if a.get(k) != b.get(k)]
        also = "".join(f"; {k}: {a.get(k)!r}, {b.get(k)!r}"[:200] for k in keys[1:])
        return first_difference(a.get(keys[0]), b.get(keys[0]), f"{where}.{keys[0]}") + also
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        n = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
        if len(a) == len(b):
            return first_difference(a[n], b[n], f"{where}[{n}]")
        more, fewer = ([x for x in one if x not in other] or one[n:] for one, other in ((a, b), (b, a)))
        return f"{where}: {len(a)} alone, {len(b)} beside another; only alone {more[:3]}, only beside {fewer[:3]}"
    return f"{where}: {a!r} alone, {b!r} beside another"


def series(client):
    """Names and labels of all metrics."""
    return {line.rsplit(" ", 1)[0] for line in client.call("GET", "/metrics").body.splitlines() if not line.startswith("#")}


def run_at(seeds, upstream, hostile):
    """{seed: output} of one node, and what its neighbours sent."""
    with harness.Folder() as folder:
        node = folder.node(*upstream.flags, "--postgres", harness.NO_POSTGRES).wait_ready()
        seen, outputs, stop = [], {}, threading.Event()
        neighbours = [Neighbour(node.url, token(node.data, "mallory", "ann"), seen) for _ in range(NEIGHBOURS if hostile else 0)]
        threads = [threading.Thread(target=n.run, args=(i, stop), daemon=True) for i, n in enumerate(neighbours)]
        for thread in threads:
            thread.start()

        def one(seed):
            tenant = Tenant(node.url, f"t{seed}", token(node.data, f"t{seed}", "ann"), seen)
            tenant.run(seed)
            outputs[seed] = tenant.out

        try:
            harness.each(range(seeds), one, CLIENTS)
        finally:
            stop.set()
        for thread in threads:
            thread.join(60)
        through = [t for n in neighbours for t in n.through]
        check(not through, f"a neighbour got through: {through[:1]}")
        found = series(Client(node.url))
        naming = [s for s in found if re.search(r"\b(t\d+|mallory)\b", s)]
        check(len(found) > 100 and not naming, f"of {len(found)} metrics these name a tenant: {naming[:3]}")
        return outputs, sum(n.sent for n in neighbours)


def run():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=20)
    seeds = parser.parse_args().seeds
    with harness.Upstream({"echo": True}) as upstream:
        alone, _ = run_at(seeds, upstream, False)
        beside, sent = run_at(seeds, upstream, True)
    answers = 0
    for seed, output in alone.items():
        answers += len(output)
        if output != beside[seed]:
            raise harness.Failure(f"seed {seed}, answer{first_difference(output, beside[seed])}")
    gate("S4", f"{seeds} seeds, {answers} answers the same beside a neighbour that sent {sent} requests", f"{seeds} seeds", sent > seeds)


if __name__ == "__main__":
    harness.main(run)
