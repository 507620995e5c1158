#!/usr/bin/env python3
"""A node under a steady load for long: memory and open files stay as they are, nothing is logged as an error, answers do not slow down.

usage: soak_test.py [--minutes N]      (30 in full)

The load asks for the same things again and again (facts that replace each other, counters, settings, lists, recalls, model calls), so what a
node holds has no reason to grow; the first third warms it up and does not count.
"""

import argparse
import json
import os
import random
import threading
import time

import harness
from harness import Client, check, gate

RATE, CLIENTS = 40, 4  # requests a second, of all
SAMPLE_S = 5
SHORTEST_S = 600


def request(rng, n):
    """The n-th request: (method, path, body)."""
    kind, thing = n % 8, rng.randrange(200)
    if kind in (0, 1):
        return "POST", "/v1/remember", {"text": f"thing {thing} is {rng.randrange(1000)}", "coord": f"thing-{thing}"}
    if kind in (2, 3):
        return "POST", f"/v1/bench/counter/c{thing}/add", {"amount": 1}
    if kind == 4:
        return "PUT", "/v1/tenants/demo", {"display_name": f"name {thing}", "budgets_tokens": 1_000_000_000}
    if kind == 5:
        return "POST", "/v1/recall", {"query": f"thing {thing}", "top_k": 5}
    if kind == 6:
        return "GET", "/v1/sessions?limit=20", None
    return "POST", "/v1/infer_sync", {"prompt": f"say {thing}"}


class Load:
    """Paced clients; of each answer, when it was due and how long it took from then."""

    def __init__(self, url):
        self.url, self.began, self.taken, self.problems = url, time.monotonic(), [], []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(i,), daemon=True) for i in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def _run(self, number):
        rng, client, n = random.Random(number), Client(self.url), number
        try:
            while not self._stop.wait(max(0.0, self.began + n / RATE - time.monotonic())):
                due = self.began + n / RATE
                method, path, body = request(rng, n)
                answer = client.call(method, path, body)
                check(answer.status < 300, f"{method} {path}: {answer.status} {answer.body}")
                self.taken.append((due, time.monotonic() - due))
                n += CLIENTS
        except Exception as problem:  # pylint: disable=broad-except
            self.problems.append(repr(problem))

    def stop(self):
        self._stop.set()
        for thread in self._threads:
            thread.join(40)

    def p99(self, first, last):
        times = sorted(seconds for due, seconds in list(self.taken) if first <= due < last)
        return times[int(0.99 * len(times))]


def resident_mib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) / 1024 for line in f if line.startswith("VmRSS:"))


def slope(samples):
    """Least squares, of (x, y)."""
    n, xs, ys = len(samples), sum(x for x, _ in samples), sum(y for _, y in samples)
    return (n * sum(x * y for x, y in samples) - xs * ys) / (n * sum(x * x for x, _ in samples) - xs * xs)


def run():
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=1)
    seconds = parser.parse_args().minutes * 60
    with harness.Upstream() as upstream, harness.Folder() as folder:
        node = folder.node(*upstream.flags).wait_ready()
        load, samples, files = Load(node.url), [], []
        begin, end = load.began + seconds / 3, load.began + seconds
        while (now := time.monotonic()) < end and not load.problems:
            if now >= begin:
                samples.append((now, resident_mib(node.pid)))
                files.append(len(os.listdir(f"/proc/{node.pid}/fd")))
            time.sleep(min(SAMPLE_S, seconds / 30))
        load.stop()
        check(not load.problems, f"a client failed: {load.problems[:1]}")
        code, _ = node.terminate()
        check(code == 0, f"SIGTERM gave exit {code}")
        errors = [line for line in node.log().splitlines() if line.startswith("{") and json.loads(line).get("level") == "error"]
        half = len(files) // 2
        third = (end - begin) / 3
        drift = 100 * (load.p99(end - third, end) / load.p99(begin, begin + third) - 1)
        grown = slope(samples) * 3600
        print(f"{seconds / 60:.0f} minutes, {len(load.taken)} requests; resident {samples[0][1]:.1f} to {samples[-1][1]:.1f} MiB, open files "
              f"{min(files)} to {max(files)}, p99 {load.p99(begin, begin + third) * 1e3:.1f} to {load.p99(end - third, end) * 1e3:.1f} ms")
        check(not errors, f"{len(errors)} errors logged, first {errors[:1]}")
        if seconds < SHORTEST_S:
            print("too short for a verdict: a fit over minutes says nothing")
            return
        more = max(files[half:]) - max(files[:half])
        print(f"GATE R22.files {more} <=0 {'PASS' if more <= 0 else 'FAIL'}", flush=True)
        print(f"GATE R22.p99 {drift:.1f} % <=10 {'PASS' if drift <= 10 else 'FAIL'}", flush=True)
        gate("R22", f"{grown:.2f} MiB/h", "<= 1 MiB/h", grown <= 1)


if __name__ == "__main__":
    harness.main(run)
