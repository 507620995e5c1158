#!/usr/bin/env python3
"""Replays: requests that were answered are sent again, in other orders, by many at once, after a kill, changed in one
field. Each took effect once; each replay gets the first answer; a changed one is refused.

usage: replays_test.py [--replays N]      (10000 in full)
"""

import argparse
import json
import random
import threading

import harness
from harness import Client, check, gate, verify_deep
from workload import Workload

CLIENTS = 4


class Replays:
    """Counts what replays got; a wrong answer is kept."""

    def __init__(self, url, requests):
        self.url, self.requests = url, requests
        self.same = self.refused = 0
        self.wrong, self._lock = [], threading.Lock()

    def run(self, count, changed=False):
        """`count` replays by several clients at once, of any request in any order."""
        left = [count]

        def work(seed):
            rng, client = random.Random(seed), Client(self.url)
            while True:
                with self._lock:
                    if left[0] == 0 or self.wrong:
                        return
                    left[0] -= 1
                (self._changed if changed else self._same)(client, rng.choice(self.requests), rng)

        threads = [threading.Thread(target=work, args=(random.random(),)) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        check(not self.wrong, f"a replay: {self.wrong[:1]}")

    def _same(self, client, request, _):
        again = request.send(client)
        told = (again.status, again.body, again.headers.get("Soma-Position"))
        with self._lock:
            if told == request.answer and again.headers.get("Idempotent-Replayed") == "true":
                self.same += 1
            else:
                self.wrong.append((request.kind, request.key, request.answer, told))

    def _changed(self, client, request, rng):
        body = dict(request.body)
        field = rng.choice(sorted(body))
        body[field] = body[field] + 1 if isinstance(body[field], int) else ["other"] if isinstance(body[field], list) else \
            f"{body[field]} and more"
        answer = client.call(request.method, request.path, body, request.key)
        with self._lock:
            if answer.status == 409:
                self.refused += 1
            else:
                self.wrong.append((request.kind, request.key, "with another body", answer.status, answer.body))


def chats(upstream):
    return Client(upstream.base_url.removesuffix("/v1")).call("GET", "/control/stats").json["chats"]


def settled(url, upstream):
    """The model's calls, once none comes any more: a turn between two of its effects has none for a moment."""
    client, looks = Client(url), []

    def calm():
        effects = client.call("GET", "/v1/admin/effects").json["items"]
        looks.append((any(e.get("status", "pending") == "pending" for e in effects), chats(upstream)))
        return len(looks) > 5 and set(looks[-6:]) == {(False, looks[-1][1])}

    harness.wait_until("all turns end", 30, calm, 0.1)
    return looks[-1][1]


def run():
    parser = argparse.ArgumentParser()
    parser.add_argument("--replays", type=int, default=400)
    count = parser.parse_args().replays
    with harness.Upstream() as upstream, harness.Folder() as folder:
        flags = (*upstream.flags, "--postgres", harness.NO_POSTGRES)
        node = folder.node(*flags).wait_ready()
        load = Workload(folder.path + "/acknowledged.log", clients=CLIENTS)
        load.start(node.url)
        load.advance(max(60, count // 20))
        load.stop()
        load.check_ended("after the kill")
        effects = settled(node.url, upstream)
        check(effects >= sum(r.kind in ("session", "message", "infer") for r in load.acked) // 2, "too few calls")
        replays = Replays(node.url, load.acked)
        replays.run(count // 2)
        replays.run(max(20, count // 50), changed=True)
        node.kill()
        node = folder.node(*flags).wait_ready()
        replays.url = node.url
        replays.run(count - count // 2)
        again = settled(node.url, upstream)
        check(again == effects, f"{again} calls of the model after the replays, {effects} before")
        check(node.terminate()[0] == 0, "exit code")
        verify_deep(folder.data)
        commands = harness.journal(folder.data)
        load.check_journal(commands)
        once = sum(len(commands[f"demo:{r.key}"]) == 1 for r in load.acked)
        print(json.dumps({"requests": len(load.acked), "replays": replays.same, "changed": replays.refused, "calls": effects}))
        gate("S9", f"{replays.same} replays of {once} requests: first answer each, one effect each; {replays.refused} changed "
             "ones refused", f"{count} replays", replays.same >= count and once == len(load.acked))


if __name__ == "__main__":
    harness.main(run)
