#!/usr/bin/env python3
"""One allocation fails (gate R23): the node answers a typed error and goes on, or it ends at once; after a restart nothing acknowledged is missing.

usage: allocations_fail_test.py [--failures N] [--jobs N]. Each scenario in turn; where in it the allocation fails is drawn (repeat with SEED).
"""

import argparse
import collections
import itertools
import mmap
import os
import random
import signal
import struct

import harness
from harness import Client, check, gate
from workload import Workload

PRELOAD = os.path.join(harness.BUILD, "tests", "support", "libfailing_new.so")
# Name, and the kinds of commands under way; none: the node only starts, or stops.
SCENARIOS = (("start", ()), ("restart", ()), ("sessions", ("session",)), ("messages", ("session", "message")), ("memories", ("remember",)),
             ("settings", ("settings",)), ("model calls", ("infer",)), ("reads", ("session", "remember")), ("everything", None), ("drain", ()))
STARTS, SERVES = 60_000, 20_000  # allocations among which the one that fails is drawn
CLEAN_ENDS = (-signal.SIGABRT, 1, 70, 86)
HANGS_S = 10


class Countdown:
    """The allocation that fails, counted from when it is set."""

    def __init__(self, path):
        with open(path, "wb") as file:
            file.write(bytes(8))
        self.path, self._file = path, open(path, "r+b")  # pylint: disable=consider-using-with
        self._map = mmap.mmap(self._file.fileno(), 8)

    def set(self, number):
        self._map[:8] = struct.pack("<q", number)

    def struck(self):
        return struct.unpack("<q", self._map[:8])[0] <= 0

    def close(self):
        self._map.close()
        self._file.close()


class Life:
    """A folder that lives on from failure to failure, and what was acknowledged on it."""

    def __init__(self, upstream):
        self.folder = harness.Folder()
        self.flags = (*upstream.flags, "--postgres", harness.NO_POSTGRES)
        self.countdown = Countdown(self.folder.path + "/countdown")
        self.env = {"LD_PRELOAD": PRELOAD, "SOMA_FAIL_NEW_FILE": self.countdown.path}
        self.acked, self.ended, self.went_on, self.number = 0, 0, 0, 0

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.countdown.close()
        self.folder.__exit__(*error)

    def fail_once(self, name, kinds):
        """True when the allocation was reached."""
        self.number += 1
        load = Workload(f"{self.folder.path}/acknowledged-{self.number}.log", clients=4, fails=True,
                        **({"kinds": kinds} if kinds else {}), keys=f"life{self.number}-")
        starting = name in ("start", "restart")
        self.countdown.set(random.randint(1, STARTS) if starting else 0)
        node = self.folder.node(*self.flags, env=self.env)
        harness.wait_until("ready, or ended", 60, lambda: node.ready_line or node.process.poll() is not None)
        if node.ready_line and not starting:
            self.countdown.set(random.randint(1, SERVES))
            if name == "drain":
                os.kill(node.pid, signal.SIGTERM)
            else:
                load.start(node.url)
                self.watch(node, name)
                load.stop()
        if name == "drain":
            harness.wait_until("the drain ends", 30, lambda: node.process.poll() is not None)
        struck = self.countdown.struck()
        self.countdown.set(0)
        if struck:
            self.judge(node, name)
        node.kill()
        load.check_restarted(self.folder, self.flags, "after a failed allocation")
        self.acked += len(load.acked)
        return struck

    def watch(self, node, name):
        """Until the allocation has failed, and a moment longer."""
        reader = Client(node.url, timeout=HANGS_S)
        def step():
            if name == "reads" and node.process.poll() is None:
                try:
                    reader.call("GET", "/v1/sessions?limit=20")
                    reader.call("POST", "/v1/recall", {"query": "fact"})
                except harness.BROKEN:
                    pass
            return self.countdown.struck() or node.process.poll() is not None
        try:
            harness.wait_until("an allocation fails", 5, step, 0.005)
        except harness.Failure:
            pass  # so many are not made: the driver draws again

    def judge(self, node, name):
        if node.process.poll() is None and self.answers(node, name):
            self.went_on += 1
            return
        code = node.process.poll()
        check(code in CLEAN_ENDS or (name == "drain" and code == 0), f"{name}: the node ended with {code}")
        self.ended += 1

    @staticmethod
    def answers(node, name):
        """False where it is about to end."""
        try:
            answer = Client(node.url, timeout=HANGS_S).call("GET", "/health/ready")
        except harness.BROKEN as broken:
            harness.wait_until(f"{name}: a node that does not answer ends ({broken!r})", HANGS_S, lambda: node.process.poll() is not None)
            return False
        check(answer.status in (200, 503), f"{name}: /health/ready {answer.status} {answer.body}")
        return True


def leg(upstream, failures):
    """So many failures in one folder, a scenario after the other: (the life, times a scenario)."""
    struck = collections.Counter()
    with Life(upstream) as life:
        for name, kinds in itertools.cycle(SCENARIOS):
            if life.fail_once(name, kinds):
                struck[name] += 1
            if struck.total() == failures:
                return life, struck


def run():
    parser = argparse.ArgumentParser()
    parser.add_argument("--failures", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=1, help="folders at a time")
    options = parser.parse_args()
    with harness.Upstream() as upstream:
        legs = harness.each(harness.shares(options.failures, len(SCENARIOS)), lambda share: leg(upstream, share), options.jobs)
    struck = sum((times for _, times in legs), collections.Counter())
    acked, ended, went_on = (sum(getattr(life, name) for life, _ in legs) for name in ("acked", "ended", "went_on"))
    print("failed in:", ", ".join(f"{name} {times}" for name, times in struck.items()))
    gate("R23", f"{struck.total()} failures, {ended} ended the node, {went_on} it bore; {acked} acknowledged, 0 lost, 0 doubled",
         f"{options.failures} failures", struck.total() >= options.failures)


if __name__ == "__main__":
    harness.main(run)
