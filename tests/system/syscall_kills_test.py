#!/usr/bin/env python3
"""kill -9 at the boundary of a system call (strace injects it): nothing lost, torn or doubled, also in a first start.

usage: syscall_kills_test.py [--points N] [--jobs N]. Threads make the N-th call differ between runs; what is printed is
where each kill struck. Exit 77 (skipped) where nothing may be traced.
"""

import argparse
import random
import subprocess
import sys
import threading
import time

import harness
from harness import gate
from workload import Workload

# How far into the calls of a thread the kill may strike: about what a thread makes of them in one run at most.
CALLS = {"pwrite64": 200, "fdatasync": 110, "write": 25, "sendto": 150, "recvfrom": 120, "futex": 300, "openat": 70,
         "close": 60, "fallocate": 2, "fsync": 3, "rename": 3, "mkdir": 3, "ftruncate": 1, "unlink": 1, "clone3": 8,
         "epoll_ctl": 40}
COMMANDS = 100


class Life:
    """A folder that lives on from kill to kill, and what was acknowledged on it."""

    def __init__(self, upstream):
        self.folder = harness.Folder()
        self.flags = (*upstream.flags, "--segment-bytes", "1048576", "--postgres", harness.NO_POSTGRES)
        self.load = Workload(self.folder.path + "/acknowledged.log", clients=4)
        self.slowest_start = 0.0

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.folder.__exit__(*error)

    def one_kill(self, call, number):
        """Where it struck; none if the node made fewer such calls. What was acknowledged then is looked for after the next."""
        wrap = ("strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}",
                "-e", f"inject={call}:signal=KILL:when={number}")
        node = self.folder.node(*self.flags, wrap=wrap)
        harness.wait_until("ready, or killed", 30, lambda: node.ready_line or node.process.poll() is not None)
        if node.ready_line:
            before = len(self.load.acked)
            self.load.start(node.url)
            end = time.monotonic() + 2
            while node.process.poll() is None and len(self.load.acked) - before < COMMANDS and time.monotonic() < end:
                time.sleep(0.002)
        struck = node.process.poll() is not None
        when = "serving" if node.ready_line else "starting"
        node.kill()
        self.load.stop()
        if not struck:
            return None
        ready_s = self.load.check_restarted(self.folder, self.flags, "after a kill at a system call")
        self.slowest_start = max(self.slowest_start, ready_s)
        return f"{call}:{number} {when}"


class Calls:
    """Every call in turn, each round in an order of its own; how far into a call a kill may strike follows what struck."""

    def __init__(self):
        self._left, self._reach, self._lock = [], dict(CALLS), threading.Lock()

    def next(self):
        with self._lock:
            self._left = self._left or random.sample(sorted(CALLS), len(CALLS))
            call = self._left.pop()
            return call, random.randint(1, self._reach[call] if random.random() < 0.7 else min(6, self._reach[call]))

    def told(self, call, number, struck):
        with self._lock:
            reach = self._reach[call]
            self._reach[call] = min(CALLS[call], max(reach, 2 * number)) if struck else max(min(4, reach), reach * 3 // 4)


def leg(upstream, calls, points):
    """So many kills of one folder: (where each struck, how much was acknowledged, the slowest start)."""
    struck = []
    with Life(upstream) as life:
        never = set()  # a folder that has been served on sees no first start again
        while len(struck) < points:
            call, number = calls.next()
            if call in never:
                continue
            place = life.one_kill(call, number)
            calls.told(call, number, place)
            if place:
                struck.append(place)
            elif number == 1:
                never.add(call)
        return struck, len(life.load.acked), life.slowest_start


def run():
    parser = argparse.ArgumentParser()
    parser.add_argument("--points", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1, help="folders at a time")
    options = parser.parse_args()
    points = options.points
    traced = subprocess.run(["strace", "-qq", "-o", "/dev/null", "true"], capture_output=True, check=False)
    if traced.returncode != 0:
        print("skipped: strace is missing or may not trace")
        sys.exit(77)
    calls = Calls()
    with harness.Upstream() as upstream:  # a new folder every few kills: the first start has boundaries of its own
        legs = harness.each(harness.shares(points, 6), lambda share: leg(upstream, calls, share), options.jobs)
    struck = [place for places, _, _ in legs for place in places]
    acked, slowest = sum(acked for _, acked, _ in legs), max(slowest for _, _, slowest in legs)
    print("struck at:", ", ".join(struck))
    starting = sum("starting" in s for s in struck)
    gate("R7", f"{len(struck)} points ({starting} in starts), {acked} acknowledged: 0 lost, 0 torn, 0 doubled; slowest "
         f"start after {slowest:.2f} s", f"{points} points", len(struck) >= points)


if __name__ == "__main__":
    harness.main(run)
