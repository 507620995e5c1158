#!/usr/bin/env python3
"""Two nodes under one node_id on a real broker: the one that came first ends with a clear error, the cluster goes on without it.

usage: kafka_same_name_test.py
"""

import os
import shutil

import harness
from cluster import Cluster
from harness import Client, check, gate, wait_until

SESSION_S = 120  # long: nothing here waits for one to end
NAMES = ("a", "b")


def remember(url, number):
    """Patient: partitions are on their way from the old node to the new one."""
    body = {"text": f"fact {number}"}
    wait_until("a fact is taken", 40, lambda: Client(url).call("POST", "/v1/remember", body, f"fact-{number}").status == 200, 0.2)


def run():
    with harness.Brokers() as brokers, harness.Upstream() as upstream, harness.Folder() as folder:
        flags = (*upstream.flags, "--postgres", harness.NO_POSTGRES, "--kafka-session-timeout-ms", str(SESSION_S * 1000))
        cluster = Cluster(folder, flags, brokers.bootstrap)
        for name in NAMES:
            cluster.start(name).wait_ready(60)
        cluster.wait_spread()
        for number in range(5):
            remember(cluster.urls()[number % 2], number)

        first = cluster.nodes["a"]
        data = os.path.join(folder.path, "a again")
        shutil.copytree(os.path.join(folder.path, "a", "keys"), os.path.join(data, "keys"))
        second = folder.node("--listen", "127.0.0.1:0", *flags, "--kafka", brokers.bootstrap, "--node-id", "a", command="node",
                             data=data, env=cluster.env)
        wait_until("the first of the name ends", 60, lambda: first.process.poll() is not None, 0.1)
        check(first.process.poll() == 8, f"it ended with {first.process.poll()}, not 8")
        told = [line for line in first.log().splitlines() if '"level":"error"' in line and "name is taken" in line]
        check(told and "node_id" in told[0] and '\\"a\\"' in told[0], f"its error: {told}")
        cluster.nodes["a"] = second.wait_ready(60)
        cluster.wait_spread()
        for number in range(5, 10):
            remember(cluster.urls()[number % 2], number)
        for number in range(10):  # each was taken once, whichever node is asked
            again = Client(cluster.urls()[(number + 1) % 2]).call("POST", "/v1/remember", {"text": f"fact {number}"}, f"fact-{number}")
            check(again.status == 200 and again.headers.get("Idempotent-Replayed") == "true", f"{number}: {again.status} {again.body}")
        for name in NAMES:
            code, _ = cluster.nodes[name].terminate()
            check(code == 0, f"SIGTERM gave exit {code}")
        brokers.verify_deep()
        gate("cluster.same_name", "the first ended with exit 8, 10 commands once", "exit 8, 0 lost, 0 doubled", True)


if __name__ == "__main__":
    harness.main(run)
