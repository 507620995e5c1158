#!/usr/bin/env python3
"""A sync or a write that fails with EIO, also one that stored half: the node stops with 86, acknowledges nothing after,
and starts again clean.

Everything acknowledged must be in what was synced in truth: the recorder keeps no data of a failed sync.
usage: disk_fails_test.py [--injections N]
"""

import argparse
import os
import random
import shutil
import subprocess
import time

import harness
import power_loss
from harness import check, gate
from power_loss_test import Judge, Recorded


FAULTS = {"e": "sync", "w": "write", "t": "torn write"}


def one(upstream, fault):
    with harness.Folder() as folder:
        recorded = Recorded(folder, upstream)
        node = recorded.node()
        recorded.load.start(node.url)
        time.sleep(random.uniform(0.02, 0.3))
        recorded.say(fault)
        began = time.monotonic()
        try:
            code = node.process.wait(10)
        except subprocess.TimeoutExpired as late:
            raise harness.Failure(f"the node did not stop after a failed {FAULTS[fault]}") from late
        stopped_s = time.monotonic() - began
        recorded.load.stop()
        check(code == 86, f"exit code {code}, expected 86")
        disk, failed = power_loss.Disk(), False
        for _, kind, file, at, data in power_loss.entries(recorded.out):
            failed |= kind == power_loss.FAILED
            disk.take(kind, file, at, data)
        check(failed, f"no {FAULTS[fault]} was failed")
        image = folder.path + "/image"
        disk.image(image + "/log", 0.0)
        with Judge(recorded) as judge:
            lost = judge.lost_in(image, 1 << 62)
        check(lost == 0, f"{lost} acknowledged after a failed {FAULTS[fault]}")
        shutil.rmtree(image)
        harness.verify_deep(folder.data)
        os.remove(recorded.control)
        again = folder.node(*recorded.flags).wait_ready()
        recorded.load.retry_open(again.url, 20)
        recorded.load.check_ended(f"after a failed {FAULTS[fault]}")
        code, _ = again.terminate()
        check(code == 0, f"exit {code} after a clean restart")
        harness.verify_deep(folder.data)
        recorded.load.check_journal(harness.journal(folder.data))
        return stopped_s, len(recorded.load.acked)


def run():
    parser = argparse.ArgumentParser()
    parser.add_argument("--injections", type=int, default=12)
    count = parser.parse_args().injections
    with harness.Upstream() as upstream:
        results = [one(upstream, "ewt"[n % 3]) for n in range(count)]
    slowest, acked = max(r[0] for r in results), sum(r[1] for r in results)
    gate("R10", f"{count} failed syncs and writes: exit 86 each within {slowest:.1f} s, {acked} acknowledged, 0 lost", "5 s",
         slowest <= 5)


if __name__ == "__main__":
    harness.main(run)
