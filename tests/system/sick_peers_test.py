#!/usr/bin/env python3
"""Peers that are neither up nor down: PostgreSQL, the model server and the broker behind a way that hangs, lies or dribbles.

What needs the sick peer ends typed, or well, within its time; what does not is served as ever; all is well soon after.

usage: sick_peers_test.py [--conditions NAME,…] [--peers postgres,model,kafka] [--seconds N] [--slack-ms N]
"""

import argparse
import contextlib
import itertools
import json
import threading
import time

import harness
from harness import BROKEN, Client, check, gate, wait_until
from postgres_server import Server
from sick_gate import CONDITIONS, SickGate

MODEL_WAIT_MS = 6000
LONGEST_S = {"postgres": 8, "model": 10, "kafka": 20}  # a statement has 5 s, an append 5
WELL_AGAIN_S = 10
TYPED, WELL = {429, 502, 503, 504}, {200, 201, 202}
NUMBERS = itertools.count(1)
SHORT = "hangs,garbled,half_open"


def remember(n):
    return "POST", "/v1/remember", {"text": f"fact number {n}", "tags": ["t"]}


def evaluate(n):
    return "POST", "/v1/evaluate", {"action_id": f"a{n}", "capability": "c", "risk_score": 0.1, "confidence": 0.9, "budget_required": 0}


def listed(_):
    return "GET", "/v1/sessions?limit=20", None


def infer(n):
    return "POST", "/v1/infer_sync", {"prompt": f"say {n}"}


def embed(n):
    return "POST", "/v1/embedding", {"input": [f"words {n}"]}


def whoami(_):
    return "GET", "/v1/whoami", None


def health(_):
    return "GET", "/health", None


def described(_):
    return "GET", "/openapi.json", None


# Whether a token was revoked is in the log: who asks for more than is public needs it.
NEEDS = {"postgres": (listed,), "model": (infer, embed), "kafka": (remember, evaluate, whoami)}
OTHERS = {"postgres": (remember, evaluate, infer), "model": (evaluate, listed, whoami), "kafka": (health, described)}


class Outcomes:
    """What requests came to."""

    def __init__(self):
        self.seconds, self.odd, self.acked, self.answers = [], [], [], {}

    def ask(self, client, kind):
        number = next(NUMBERS)
        method, path, body = kind(number)
        began, key = time.monotonic(), f"sick-{number}" if body is not None else None
        try:
            answer = client.call(method, path, body, key)
        except BROKEN as broken:
            self.odd.append(f"{path}: {broken!r} after {time.monotonic() - began:.1f} s")
            return
        self.seconds.append(time.monotonic() - began)
        self.answers[answer.status] = self.answers.get(answer.status, 0) + 1
        if answer.status in TYPED:
            typed = answer.headers.get("Content-Type", "").startswith("application/problem+json") and answer.json.get("code")
            if not typed or (answer.status in (429, 503) and "Retry-After" not in answer.headers):
                self.odd.append(f"{path}: not typed: {answer.status} {answer.headers} {answer.body[:300]}")
        elif not 200 <= answer.status < 300:
            self.odd.append(f"{path}: {answer.status} {answer.body[:300]}")
        elif kind is remember:
            self.acked.append((key, method, path, body, answer.status, answer.body))


class Asking(threading.Thread):
    """One client that asks for the kinds by turns, until it is told to stop."""

    def __init__(self, url, kinds, timeout, pause_s):
        super().__init__(daemon=True)
        self.client, self.kinds, self.pause_s = Client(url, timeout=timeout), kinds, pause_s
        self.outcomes, self.stop = Outcomes(), threading.Event()
        self.start()

    def run(self):
        while not self.stop.is_set():
            for kind in self.kinds:
                self.outcomes.ask(self.client, kind)
            self.stop.wait(self.pause_s)

    def end(self, within_s):
        self.stop.set()
        self.join(within_s)
        check(not self.is_alive(), f"a request did not end within {within_s} s")
        return self.outcomes


def p99(seconds):
    return sorted(seconds)[int(len(seconds) * 0.99)] if seconds else 0.0


def well(url, kinds):
    """Whether each kind is answered well now."""
    client, outcomes = Client(url, timeout=10), Outcomes()
    for kind in kinds:
        outcomes.ask(client, kind)
    return not outcomes.odd and set(outcomes.answers) <= WELL


class Bed:
    """A node, and one of its peers."""

    def __init__(self, peer, url, way, options):
        self.peer, self.url, self.way, self.seconds, self.slack_s = peer, url, way, options.seconds, options.slack_ms / 1000
        self.acked = []
        self.baseline = p99(self.others(max(3.0, self.seconds)).seconds)

    def others(self, seconds):
        asking = Asking(self.url, OTHERS[self.peer], 30, 0.01)
        time.sleep(seconds)
        return asking.end(30)

    def cell(self, condition):
        """One condition; what is to be said of it."""
        self.way.set(condition)
        longest_s = LONGEST_S[self.peer]
        asking = [Asking(self.url, NEEDS[self.peer], longest_s + 20, 0.05) for _ in range(3)]
        others = self.others(self.seconds)
        needing = [a.end(2 * longest_s + 40) for a in asking]
        self.way.set("well")
        began = time.monotonic()
        wait_until(f"{self.peer} is well again after {condition}", WELL_AGAIN_S + 20, lambda: well(self.url, NEEDS[self.peer]), 0.1)
        again_s = time.monotonic() - began
        longest, slow = max((s for n in needing for s in n.seconds), default=0.0), p99(others.seconds)
        problems = [text for n in (*needing, others) for text in n.odd]
        if set(others.answers) - WELL:
            problems.append(f"others were refused: {others.answers}")
        if slow > max(2 * self.baseline, self.baseline + self.slack_s):
            problems.append(f"p99 of others {slow * 1000:.0f} ms, was {self.baseline * 1000:.0f} ms")
        if longest > longest_s:
            problems.append(f"an answer after {longest:.1f} s")
        if again_s > WELL_AGAIN_S:
            problems.append(f"well again after {again_s:.1f} s")
        self.acked += [acked for n in (*needing, others) for acked in n.acked]
        answers = {status: sum(n.answers.get(status, 0) for n in needing) for status in sorted({s for n in needing for s in n.answers})}
        print(f"{self.peer:9} {condition:18} {json.dumps(answers)} longest {longest:.1f} s, others p99 {slow * 1000:.0f} ms, "
              f"well again {again_s:.1f} s {'' if not problems else 'PROBLEM ' + problems[0]}", flush=True)
        return problems

    def first_answers(self):
        """What was acknowledged is answered so again."""
        client = Client(self.url)
        for key, method, path, body, status, text in self.acked[-200:]:
            again = client.call(method, path, body, key)
            check((again.status, again.body) == (status, text), f"{key}: {status} {text}, then {again.status} {again.body}")


@contextlib.contextmanager
def postgres_by_tcp(folder, upstream):
    """A way to an empty database of a PostgreSQL that another node owns: (gate, URL)."""
    server = Server(folder, upstream)
    with SickGate(server.socket()) as way:
        yield way, server.url(way.port)


def own_log(peers, conditions, options):
    """PostgreSQL and the model, of a node with a log of its own."""
    problems = []
    with harness.Upstream({"tokens": ["a ", "scripted ", "answer"]}) as upstream, harness.Folder() as folder:
        with postgres_by_tcp(folder, upstream) as (postgres, url), SickGate(int(upstream.base_url.split(":")[2].split("/")[0])) as model:
            node = folder.node("--slm-openai-base-url", f"http://127.0.0.1:{model.port}/v1", "--slm-local", "off", "--slm-embedding", "off",
                               "--postgres", url, "--slm-wait-ms", str(MODEL_WAIT_MS)).wait_ready()
            Client(node.url).call("PUT", "/v1/tenants/demo", {"budgets_tokens": 1_000_000_000}, "budget")
            for peer, way in (("postgres", postgres), ("model", model)):
                if peer not in peers:
                    continue
                wait_until("all is well", 60, lambda: well(node.url, (*NEEDS[peer], *OTHERS[peer])), 0.2)
                bed = Bed(peer, node.url, way, options)
                for condition in conditions:
                    problems += [f"{peer} {condition}: {text}" for text in bed.cell(condition)]
                bed.first_answers()
            code, took = node.terminate()
            check(code == 0, f"exit {code} after {took:.1f} s")
        harness.verify_deep(folder.data)
    return problems


def broker(conditions, options):
    problems = []
    with harness.Brokers(1, gates=1) as brokers, harness.Upstream() as upstream, harness.Folder() as folder:
        (port,) = brokers.gates[0]["ports"]
        with SickGate(port["to"], port["listen"]) as way:
            node = folder.node(*upstream.flags, "--kafka", brokers.gates[0]["bootstrap"], "--postgres", harness.NO_POSTGRES,
                               "--kafka-append-timeout-ms", "5000", command="node", env={"SOMA_CLUSTER_SECRET": "s" * 32}).wait_ready()
            wait_until("all is well", 60, lambda: well(node.url, (*NEEDS["kafka"], *OTHERS["kafka"])), 0.2)
            bed = Bed("kafka", node.url, way, options)
            for condition in conditions:
                problems += [f"kafka {condition}: {text}" for text in bed.cell(condition)]
            bed.first_answers()
            code, took = node.terminate()
            check(code == 0, f"exit {code} after {took:.1f} s")
        brokers.verify_deep()
    return problems


def run():
    parser = argparse.ArgumentParser()
    parser.add_argument("--conditions", default=SHORT, help="all: " + ",".join(CONDITIONS))
    parser.add_argument("--peers", default="postgres,model")
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--slack-ms", type=int, default=1000, help="by which others may be slower; less on an idle machine")
    options = parser.parse_args()
    conditions = CONDITIONS if options.conditions == "all" else tuple(options.conditions.split(","))
    peers = options.peers.split(",")
    check(set(conditions) <= set(CONDITIONS), f"conditions are {CONDITIONS}")
    problems = own_log(peers, conditions, options) if set(peers) & {"postgres", "model"} else []
    problems += broker(conditions, options) if "kafka" in peers else []
    for text in problems:
        print("PROBLEM", text)
    cells = len(conditions) * len(peers)
    bad = len({text.split(":")[0] for text in problems})
    gate("R17", f"{cells - bad} of {cells} cells: a sick peer, others served, typed ends, well again", "all", bad == 0)


if __name__ == "__main__":
    harness.main(run)
