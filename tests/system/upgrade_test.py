#!/usr/bin/env python3
"""Another build takes over and gives back: nodes of two builds by turns on one folder, stopped and killed; a cluster on a real broker
whose nodes are restarted one by one into the other build and back, all under load. Nothing is lost or doubled, each build
replays the other's answers, and each verifies the other's journal, every command decided again.

usage: upgrade_test.py [--before REV | --other PROGRAM] [--cycles N] [--kafka]
REV (default HEAD~30) is built first, in a worktree of its own under build/other/.
"""

import argparse
import os
import random
import subprocess
import sys

import harness
from cluster import NAMES, Cluster, settle
from harness import check, gate
from workload import Workload

REQUESTS = 100  # acknowledged by each life, or between two restarts
LONGEST_S = 10  # a request meanwhile: a node leaves, another takes over


def built(rev):
    """The program of another revision."""
    commit = subprocess.run(["git", "rev-parse", "--short=12", rev], cwd=harness.ROOT, capture_output=True, text=True, check=False).stdout.strip()
    if not commit:
        print(f"left out: there is no revision {rev} here to build", file=sys.stderr)
        sys.exit(77)
    tree = os.path.join(harness.ROOT, "build", "other", commit)
    if not os.path.exists(tree):
        subprocess.run(["git", "worktree", "add", "--detach", tree, commit], cwd=harness.ROOT, check=True, capture_output=True)
    print(f"building {commit}", flush=True)
    done = subprocess.run([os.path.join(tree, "tools", "build"), "soma"], cwd=tree, capture_output=True, text=True, check=False)
    check(done.returncode == 0, f"{commit} does not build:\n{done.stderr[-2000:]}")
    return os.path.join(tree, "build", "release", "tools", "soma")


def on_a_folder(upstream, other, cycles):
    """A life of the other build, one of ours, and so on; how many requests were acknowledged."""
    with harness.Folder() as folder:
        load = Workload(folder.path + "/acknowledged.log")
        for n in range(2 * cycles):
            program, next_one = (other, harness.SOMA) if n % 2 == 0 else (harness.SOMA, other)
            node = folder.node(*upstream.flags, program=program).wait_ready()
            load.retry_open(node.url, 20)
            load.check_ended("after a change of builds")
            load.check_replays(node.url, load.acked[-20:])
            load.start(node.url)
            load.advance(REQUESTS)
            if random.random() < 0.5:
                node.kill()
            else:
                code, _ = node.terminate()
                check(code == 0, f"SIGTERM gave exit {code}")
            load.stop()
            harness.verify_deep(folder.data, program=next_one)
        node = folder.node(*upstream.flags).wait_ready()
        load.retry_open(node.url, 20)
        check(node.terminate()[0] == 0, "exit code")
        load.check_journal(harness.journal(folder.data))
        return len(load.acked)


def on_a_cluster(upstream, other, cycles):
    """Three nodes of the other build become ours one by one, and the other's again; (acknowledged, longest request)."""
    with harness.Brokers() as brokers, harness.Folder() as folder:
        cluster = Cluster(folder, (*upstream.flags, "--postgres", harness.NO_POSTGRES), brokers.bootstrap)
        for name in NAMES:
            cluster.start(name, program=other).wait_ready(60)
        cluster.wait_spread()
        load = Workload(folder.path + "/acknowledged.log", clients=6, patience_s=30, timeout_s=5)
        load.start(*cluster.urls())
        for n in range(2 * cycles):
            for name in NAMES:
                code, _ = cluster.nodes[name].terminate()
                check(code == 0, f"SIGTERM gave exit {code}")
                cluster.start(name, program=harness.SOMA if n % 2 == 0 else other).wait_ready(60)
                load.advance(REQUESTS // 4)
            load.check_ended("in spite of retries")
        settle(load, cluster)
        longest = load.longest_s
        for node in cluster.nodes.values():
            check(node.terminate()[0] == 0, "exit code")
        brokers.verify_deep()
        load.check_journal(brokers.journal())
        return len(load.acked), longest


def run():
    parser = argparse.ArgumentParser()
    parser.add_argument("--before", default="HEAD~30")
    parser.add_argument("--other")
    parser.add_argument("--cycles", type=int, default=4)
    parser.add_argument("--kafka", action="store_true")
    options = parser.parse_args()
    other = options.other or built(options.before)
    with harness.Upstream() as upstream:
        if options.kafka:
            acked, longest = on_a_cluster(upstream, other, options.cycles)
            gate("R20.cluster", f"{options.cycles} cycles, {acked} acknowledged, 0 lost, longest request {longest:.1f} s", f"{LONGEST_S} s",
                 longest <= LONGEST_S)
        else:
            acked = on_a_folder(upstream, other, options.cycles)
            gate("R20", f"{options.cycles} cycles, {acked} acknowledged, 0 lost, 0 doubled", "0 lost, 0 doubled", True)


if __name__ == "__main__":
    harness.main(run)
