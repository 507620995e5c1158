#!/usr/bin/env python3
"""kill -9 under load: what was acknowledged is there once, a retry gets the first answer, the log verifies.

usage: kill9_test.py [--kills N] [--each N] [--jobs N] [--without-views]. One kill in five strikes during the start itself.
"""

import argparse
import random
import time

import harness
from harness import check, gate
from workload import Workload


def one_round(folder, upstream, load, number):
    node = folder.node(*upstream.flags)
    if random.random() < 0.2:
        time.sleep(random.uniform(0, 0.12))
        node.kill()
        harness.verify_deep(folder.data) if number else None
        node = folder.node(*upstream.flags)
    node.wait_ready()
    before = len(load.acked)
    load.retry_open(node.url, 30)
    load.check_ended("within 30 s of a start")
    recent = load.acked[max(0, before - 40):]
    load.check_replays(node.url, random.sample(recent, min(60, len(recent))))
    load.start(node.url)
    time.sleep(random.uniform(0.05, 0.8))
    node.kill()
    load.stop()
    harness.verify_deep(folder.data)
    if number % 10 == 0:
        load.check_journal(harness.journal(folder.data))
    return node.ready_s


def leg(upstream, kills):
    """Kills of one folder, then all of its acknowledgements against its journal; how many there were."""
    began = time.monotonic()
    with harness.Folder() as folder:
        load = Workload(folder.path + "/acknowledged.log")
        ready = [one_round(folder, upstream, load, n) for n in range(kills)]
        node = folder.node(*upstream.flags).wait_ready()
        load.retry_open(node.url, 30)
        load.check_ended("within 30 s of the last start")
        load.check_replays(node.url, random.sample(load.acked, min(400, len(load.acked))))
        code, seconds = node.terminate()
        check(code == 0, f"SIGTERM gave exit {code} after {seconds:.1f} s")
        report = harness.verify_deep(folder.data)
        load.check_journal(harness.journal(folder.data))
        kinds = {k: sum(r.kind == k for r in load.acked) for k in sorted({r.kind for r in load.acked})}
        print(f"{kills} kills in {time.monotonic() - began:.0f} s; acknowledged {len(load.acked)} {kinds}; refused "
              f"{len(load.refused)}; journal {report['frames']} frames, {report['events']} events, "
              f"{report['voided']} void; slowest start after a kill {max(ready[1:] or ready):.2f} s", flush=True)
        check(len(load.acked) > 20 * kills, "too little load to prove anything")
        return len(load.acked)


def run():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=15)
    parser.add_argument("--each", type=int, default=50, help="kills of one folder: each of them verifies its whole journal")
    parser.add_argument("--jobs", type=int, default=1, help="folders at a time")
    parser.add_argument("--without-views", action="store_true", help="no PostgreSQL, whose own restarts take CPU")
    options = parser.parse_args()
    with harness.Upstream() as upstream:
        if options.without_views:
            upstream.flags += ("--postgres", harness.NO_POSTGRES)
        acked = sum(harness.each(harness.shares(options.kills, options.each), lambda kills: leg(upstream, kills), options.jobs))
    gate("kill9", f"{options.kills} kills, {acked} acknowledged, 0 lost, 0 doubled", "0 lost, 0 doubled", True)


if __name__ == "__main__":
    harness.main(run)
