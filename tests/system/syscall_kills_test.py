#!/usr/bin/env python3
"""kill -9 at the boundary of a system call (strace injects it): nothing lost, torn or doubled, also in a first start.

usage: syscall_kills_test.py [--points N]. Threads make the N-th call differ between runs; what is printed is where
each kill struck. Exit 77 (skipped) where nothing may be traced.
"""

import argparse
import random
import subprocess
import sys
import time

import harness
from harness import gate
from workload import Workload

# How far into the calls of a thread the kill may strike: about what a thread makes of them in one run.
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
        self.kills, self.slowest_start = 0, 0.0

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.folder.__exit__(*error)

    def one_kill(self, call):
        number = random.randint(1, max(1, CALLS[call] // 3)) if random.random() < 0.5 else random.randint(1, 6)
        wrap = ("strace", "-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "-e", f"trace={call}",
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
        if struck:
            self.kills += 1
        self.check()
        return f"{call}:{number} {when}" if struck else None

    def check(self):
        node = self.folder.node(*self.flags).wait_ready()
        self.slowest_start = max(self.slowest_start, node.ready_s)
        deadline = time.monotonic() + 30
        self.load.retry_open(node.url, lambda: time.monotonic() > deadline)
        self.load.check_ended("after a kill at a system call")
        self.load.check_replays(node.url, self.load.acked[-15:])
        node.kill()
        harness.verify_deep(self.folder.data)
        self.load.check_journal(harness.journal(self.folder.data))


def run():
    parser = argparse.ArgumentParser()
    parser.add_argument("--points", type=int, default=3)
    points = parser.parse_args().points
    traced = subprocess.run(["strace", "-qq", "-o", "/dev/null", "true"], capture_output=True, check=False)
    if traced.returncode != 0:
        print("skipped: strace is missing or may not trace")
        sys.exit(77)
    struck, acked, slowest, calls = [], 0, 0.0, []
    with harness.Upstream() as upstream:
        while len(struck) < points:
            with Life(upstream) as life:  # a new folder every few kills: the first start has boundaries of its own
                for _ in range(min(6, points - len(struck))):
                    if not calls:
                        calls = random.sample(sorted(CALLS), len(CALLS))
                    place = life.one_kill(calls.pop())
                    struck += [place] if place else []
                acked += len(life.load.acked)
                slowest = max(slowest, life.slowest_start)
    print("struck at:", ", ".join(struck))
    starting = sum("starting" in s for s in struck)
    gate("R7", f"{len(struck)} points ({starting} in starts), {acked} acknowledged: 0 lost, 0 torn, 0 doubled; slowest "
         f"start after {slowest:.2f} s", f"{points} points", len(struck) >= points)


if __name__ == "__main__":
    harness.main(run)
