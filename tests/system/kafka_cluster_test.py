#!/usr/bin/env python3
"""Nodes on one Kafka broker: the next takes over when the one that serves is killed or frozen; a thawed one gives way.

usage: kafka_cluster_test.py
"""

import os
import random
import signal
import time

import harness
from harness import check, gate
from workload import Workload

TAKEOVER_S = 30  # of which 6 are the session's


def settle(load, node):
    deadline = time.monotonic() + 40
    load.retry_open(node.url, lambda: time.monotonic() > deadline)
    check(not load.open, f"{len(load.open)} requests had no end within 40 s")
    while True:  # other partitions than theirs may still recover
        try:
            return load.check_replays(node.url, random.sample(load.acked, min(40, len(load.acked))))
        except harness.Failure as failure:
            if ", then 503 " not in str(failure) or time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def work(load, node):
    load.start(node.url)
    time.sleep(2)


def run():
    with harness.Brokers() as brokers, harness.Upstream() as upstream, harness.Folder() as folder:
        flags = (*upstream.flags, "--kafka", brokers.bootstrap, "--postgres", harness.NO_POSTGRES)

        def node(name):
            return folder.node(*flags, command="node", data=os.path.join(folder.path, name))

        load = Workload(folder.path + "/acknowledged.log")
        first = node("a").wait_ready(40)
        second = node("b")
        work(load, first)
        check(not second.ready_line, "a second node serves beside the first")
        first.kill()
        load.stop()
        began = time.monotonic()
        second.wait_ready(TAKEOVER_S + 10)
        killed_s = time.monotonic() - began
        settle(load, second)

        third = node("a")  # the killed one again, now standing by
        work(load, second)
        os.kill(second.pid, signal.SIGSTOP)  # a zombie: its frames may still come
        began = time.monotonic()
        third.wait_ready(TAKEOVER_S + 10)
        frozen_s = time.monotonic() - began
        os.kill(second.pid, signal.SIGCONT)
        harness.wait_until("the thawed node ends", 20, lambda: second.process.poll() is not None)
        check(second.process.poll() == 8, f"the thawed node ended with {second.process.poll()}")
        load.stop()
        settle(load, third)
        work(load, third)
        load.stop()
        settle(load, third)
        code, _ = third.terminate()
        check(code == 0, f"SIGTERM gave exit {code}")
        report = brokers.verify_deep()
        load.check_journal(brokers.journal())
        print(f"taken over {killed_s:.1f} s after a kill, {frozen_s:.1f} s after a freeze; {report['frames']} frames, "
              f"{report['voided']} void")
        gate("R16.standby", f"{len(load.acked)} acknowledged, 0 lost, 0 doubled", "0 lost, 0 doubled", True)


if __name__ == "__main__":
    harness.main(run)
