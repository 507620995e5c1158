"""Clients that write through HTTP, log every acknowledgement durably before they count it, and retry what has none.

The log is the test's own truth: what it holds was told to a client, so it must be in the journal for ever.
"""

import json
import os
import random
import threading
import time

from harness import BROKEN, Client, check, journal, verify_deep, wait_until

KINDS = ("session", "message", "remember", "remember", "settings", "infer", "session")


class Request:
    def __init__(self, key, method, path, body, kind):
        self.key, self.method, self.path, self.body, self.kind = key, method, path, body, kind
        self.answer = None   # the first acknowledged one: (status, body, position)
        self.refused = None  # a final refusal
        self.acked_at = None
        self.began = None    # monotonic, of the first attempt
        self.last = None     # what the last attempt came to, while there is no end
        self.attempts = 0

    def send(self, client):
        return client.call(self.method, self.path, self.body, self.key)


class Workload:
    """`clients` threads; `on_ack` is called with each request just after it was acknowledged.

    What has no end is tried again with its key, at the next node, for `patience_s`; then it stays open. `fails`: a node
    may answer 500. `keys` begins each key: of several workloads on one journal, each its own."""

    def __init__(self, log_path, clients=8, kinds=KINDS, tenant="demo", on_ack=None, patience_s=0, timeout_s=20, fails=False, keys=""):
        self.tenant, self.kinds, self.clients, self.on_ack = tenant, kinds, clients, on_ack
        self.patience_s, self.timeout_s, self.longest_s = patience_s, timeout_s, 0.0
        self.acked, self.open, self.refused = [], [], []
        self._log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._lock = threading.Lock()
        self._fails, self._keys = fails, keys
        self._sessions, self._number = [], 0
        self._threads, self._stop = [], threading.Event()
        self.problems = []

    def _make(self, rng):
        with self._lock:
            self._number += 1
            n = self._number
            session = rng.choice(self._sessions[-50:]) if self._sessions else None
        kind, key = rng.choice(self.kinds), f"{self._keys}k{n}"
        if kind == "message" and session:
            return Request(key, "POST", f"/v1/sessions/{session}/messages", {"content": f"again {n}"}, kind)
        if kind == "remember":
            return Request(key, "POST", "/v1/remember", {"text": f"fact number {n}", "tags": ["t"]}, kind)
        if kind == "settings":
            return Request(key, "PUT", f"/v1/tenants/{self.tenant}",
                           {"display_name": f"name {n}", "budgets_tokens": 1_000_000_000 + n}, kind)
        if kind == "infer":
            return Request(key, "POST", "/v1/infer_sync", {"prompt": f"say {n}"}, kind)
        return Request(key, "POST", "/v1/sessions/start", {"prompt": f"hello {n}"}, "session")

    def attempt(self, request, client):
        """True when the request came to an end: acknowledged, or refused for good."""
        request.attempts += 1
        try:
            answer = request.send(client)
        except BROKEN as broken:
            request.last = repr(broken)
            return False
        request.last = f"{answer.status} {answer.body[:200]}"
        check(self._fails or answer.status != 500, f"{request.kind}: {answer.status} {answer.body}")
        if answer.status >= 500 or answer.status == 429:
            return False
        if answer.status >= 400:
            request.refused = answer.status
            with self._lock:
                self.refused.append(request)
            return True
        request.answer = (answer.status, answer.body, answer.headers.get("Soma-Position"))
        line = json.dumps({"key": request.key, "kind": request.kind, "answer": request.answer}) + "\n"
        os.write(self._log, line.encode())
        os.fsync(self._log)
        if self.on_ack:
            self.on_ack(request)
        with self._lock:
            self.acked.append(request)
            if request.kind == "session":
                self._sessions.append(answer.json["session_id"])
        return True

    def _run(self, urls, seed):
        rng, clients = random.Random(seed), [Client(url, timeout=self.timeout_s) for url in urls]
        at = rng.randrange(len(urls))
        try:
            while not self._stop.is_set():
                request = self._make(rng)
                began = request.began = time.monotonic()
                while not self.attempt(request, clients[at]):
                    at = (at + 1) % len(urls)
                    if time.monotonic() - began >= self.patience_s:
                        with self._lock:
                            self.open.append(request)
                        break
                    time.sleep(0.05)
                with self._lock:
                    self.longest_s = max(self.longest_s, time.monotonic() - began)
                if request.answer is None and self._stop.wait(0.05):
                    return
        except Exception as problem:  # pylint: disable=broad-except
            self.problems.append(repr(problem))

    def start(self, *urls):
        self._stop.clear()
        self.longest_s = 0.0
        self._threads = [threading.Thread(target=self._run, args=(urls, random.random()), daemon=True)
                         for _ in range(self.clients)]
        for thread in self._threads:
            thread.start()

    def advance(self, requests, seconds=120):
        """Waits until so many more requests have been acknowledged."""
        until = len(self.acked) + requests
        wait_until(f"{requests} more acknowledged", seconds, lambda: self.problems or len(self.acked) >= until)

    def stop(self):
        self._stop.set()
        for thread in self._threads:
            thread.join(40)
            check(not thread.is_alive(), "a client hangs")
        check(not self.problems, f"a client failed: {self.problems[:1]}")

    def retry_open(self, url, seconds=50):
        """Every unacknowledged request again, with its key, until each has an end or the time is over."""
        requests, self.open, until = self.open, [], time.monotonic() + seconds
        position, lock, doing = iter(requests), threading.Lock(), {}

        def run():
            client = Client(url, timeout=20)
            while True:
                with lock:
                    request = doing[threading.get_ident()] = next(position, None)
                if request is None:
                    return
                while time.monotonic() > until or not self.attempt(request, client):
                    if time.monotonic() > until:
                        with self._lock:
                            self.open.append(request)
                        break

        threads = [threading.Thread(target=run, daemon=True) for _ in range(self.clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
            last = doing.get(thread.ident)
            check(not thread.is_alive(), f"a retrying client hangs: {len(requests)} were open; "
                  f"{last and f'{last.method} {last.path} {last.key}: {last.attempts} attempts, the last: {last.last}'}")

    def check_ended(self, what):
        """Nothing is open: each request was acknowledged or refused for good."""
        told = [f"{r.method} {r.path} {r.key}: {r.attempts} attempts, the last: {r.last}" for r in self.open[:4]]
        check(not self.open, f"{what}: {len(self.open)} requests without an end; {'; '.join(told)}")

    def check_restarted(self, folder, flags, what, seconds=30):
        """A node on the folder again: what is open comes to an end, retries get first answers; killed, the log holds each command once.
        How long it took to be ready, s."""
        node = folder.node(*flags).wait_ready()
        self.retry_open(node.url, seconds)
        self.check_ended(what)
        self.check_replays(node.url, self.acked[-15:])
        node.kill()
        verify_deep(folder.data)
        self.check_journal(journal(folder.data))
        return node.ready_s

    def check_replays(self, url, requests):
        """A retry of what was acknowledged gives the first answer again."""
        client = Client(url)
        for request in requests:
            again = request.send(client)
            status, body, position = request.answer
            check((again.status, again.body) == (status, body),
                  f"{request.kind} {request.key}: first {status} {body}, then {again.status} {again.body}")
            check(again.headers.get("Idempotent-Replayed") == "true", f"{request.key}: not marked as replayed")
            check(again.headers.get("Soma-Position") == position, f"{request.key}: another position")

    def check_journal(self, commands, requests=None):
        """Each acknowledged command stands once, where it was said to; each refused one nowhere; no other twice."""
        for request in self.acked if requests is None else requests:
            found = commands.get(f"{self.tenant}:{request.key}", [])
            check(len(found) == 1, f"{request.kind} {request.key} stands {len(found)} times; acknowledged {request.answer}")
            check(found[0][0] == request.answer[2], f"{request.key}: stands at {found[0]}, told {request.answer[2]}")
        for request in self.refused:
            check(f"{self.tenant}:{request.key}" not in commands, f"{request.key} was refused and is recorded")
        twice = [c for c, found in commands.items() if len(found) > 1]
        check(not twice, f"recorded twice: {twice[:3]}")
