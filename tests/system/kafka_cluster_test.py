#!/usr/bin/env python3
"""Three nodes share the partitions of one real broker: killed, frozen and thawed, restarted one by one under load.

usage: kafka_cluster_test.py [--requests N]. N are acknowledged before each fault and after it.
"""

import argparse
import os
import random
import shutil
import signal
import socket
import time

import harness
from harness import Client, check, gate
from workload import Workload

NAMES = ("a", "b", "c")
PARTITIONS = 8
PATIENCE_S = 30  # a client's; a takeover takes the session's 6 s and a recovery


class Cluster:
    """Nodes by name, each at an address that it keeps."""

    def __init__(self, folder, flags):
        self.folder, self.flags, self.nodes = folder, flags, {}
        self.env = {"SOMA_CLUSTER_SECRET": os.urandom(32).hex()}
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in NAMES]
        self.listen = {name: f"127.0.0.1:{s.getsockname()[1]}" for name, s in zip(NAMES, sockets)}
        for s in sockets:
            s.close()

    def start(self, name):
        data = os.path.join(self.folder.path, name)
        if name != "a" and not os.path.exists(data):  # one cluster: the same keys everywhere
            shutil.copytree(os.path.join(self.folder.path, "a", "keys"), os.path.join(data, "keys"))
        self.nodes[name] = self.folder.node("--listen", self.listen[name], *self.flags, command="node", data=data,
                                            env=self.env)
        return self.nodes[name]

    def urls(self, but=None):
        return [node.url for name, node in self.nodes.items() if name != but]

    def owners(self, but=None):
        """Partitions by the node that serves them, as each says of itself."""
        found = {}
        for name, node in self.nodes.items():
            if name == but:
                continue
            answer = Client(node.url).call("GET", "/v1/admin/status")
            found[name] = {p["partition"] for p in answer.json["partitions"] if p["serving"]} if answer.status == 200 else set()
        return found

    def wait_spread(self, seconds=40, but=None):
        def spread():
            try:
                sets = list(self.owners(but).values())
            except harness.BROKEN:
                return False
            return sum(map(len, sets)) == PARTITIONS and set().union(*sets) == set(range(PARTITIONS)) and all(sets)
        harness.wait_until("every partition has one owner, and every node has some", seconds, spread, 0.1)


def settle(load, cluster, but=None):
    load.stop()
    deadline = time.monotonic() + 40
    load.retry_open(cluster.urls(but)[0], lambda: time.monotonic() > deadline)
    check(not load.open, f"{len(load.open)} requests had no end within 40 s")
    odd = [(r.kind, r.refused) for r in load.refused if (r.kind, r.refused) != ("message", 409)]  # a turn was running
    check(not odd, f"refused: {odd[:3]}")
    for url in cluster.urls(but):  # whichever node is asked again
        replay(load, url, random.sample(load.acked, min(20, len(load.acked))))


def replay(load, url, requests):
    deadline = time.monotonic() + 30
    while True:
        try:
            return load.check_replays(url, requests)
        except harness.Failure as failure:
            if ", then 503 " not in str(failure) or time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def run():
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=150)
    requests = parser.parse_args().requests
    with harness.Brokers() as brokers, harness.Upstream() as upstream, harness.Folder() as folder:
        cluster = Cluster(folder, (*upstream.flags, "--kafka", brokers.bootstrap, "--postgres", harness.NO_POSTGRES))
        cluster.start("a").wait_ready(60)
        for name in ("b", "c"):
            cluster.start(name).wait_ready(60)
        cluster.wait_spread()
        load = Workload(folder.path + "/acknowledged.log", clients=6, patience_s=PATIENCE_S, timeout_s=5)

        load.start(*cluster.urls())
        load.advance(requests)
        cluster.nodes["c"].kill()
        cluster.wait_spread(but="c")
        load.advance(requests)
        settle(load, cluster, but="c")
        killed_s = load.longest_s
        cluster.start("c").wait_ready(60)
        cluster.wait_spread()

        load.start(*cluster.urls())
        load.advance(requests)
        os.kill(cluster.nodes["b"].pid, signal.SIGSTOP)  # a zombie: its frames may still come
        cluster.wait_spread(but="b")
        load.advance(requests)
        os.kill(cluster.nodes["b"].pid, signal.SIGCONT)
        replay(load, cluster.nodes["b"].url, load.acked[-20:])  # shows nothing old
        load.advance(requests)
        settle(load, cluster)
        frozen_s = load.longest_s
        check(cluster.nodes["b"].process.poll() is None, "the thawed node ended")
        cluster.wait_spread()

        load.start(*cluster.urls())
        load.advance(requests)
        restarts = []
        for name in NAMES:
            code, took_s = cluster.nodes[name].terminate()
            check(code == 0, f"SIGTERM gave exit {code}")
            restarts.append(took_s)
            cluster.start(name).wait_ready(60)
        load.advance(requests)
        check(not load.open, f"{len(load.open)} requests failed in spite of retries")
        settle(load, cluster)
        rolling_s = load.longest_s
        for node in cluster.nodes.values():
            code, _ = node.terminate()
            check(code == 0, f"SIGTERM gave exit {code}")
        report = brokers.verify_deep()
        load.check_journal(brokers.journal())
        print(f"longest request {killed_s:.1f} s after a kill, {frozen_s:.1f} s after a freeze, {rolling_s:.1f} s while "
              f"restarting (stops took {', '.join(f'{s:.1f}' for s in restarts)} s); {report['frames']} frames, "
              f"{report['voided']} void")
        slowest = max(killed_s, frozen_s, rolling_s)
        check(slowest < PATIENCE_S, f"a request took {slowest:.1f} s, over a client's patience of {PATIENCE_S} s")
        check(len(load.acked) > 100, f"too little load to prove anything: {len(load.acked)}")
        gate("R16.cluster", f"{len(load.acked)} acknowledged, 0 lost, 0 doubled", "0 lost, 0 doubled", True)


if __name__ == "__main__":
    harness.main(run)
