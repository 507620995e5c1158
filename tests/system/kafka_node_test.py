#!/usr/bin/env python3
"""One node on a real Kafka broker: node and broker are killed under load; nothing is lost, nothing doubled.

usage: kafka_node_test.py [--rounds N]. Each round kills one of the two, by turns.
"""

import argparse
import random
import time

import harness
from harness import check, gate
from workload import Workload


def settle(load, node):
    load.retry_open(node.url, 40)
    load.check_ended("within 40 s")
    deadline = time.monotonic() + 30
    while True:  # other partitions than theirs may still recover
        try:
            return load.check_replays(node.url, random.sample(load.acked, min(40, len(load.acked))))
        except harness.Failure as failure:
            if ", then 503 " not in str(failure) or time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def run():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=4)
    rounds = parser.parse_args().rounds
    with harness.Brokers() as brokers, harness.Upstream() as upstream, harness.Folder() as folder:
        flags = (*upstream.flags, "--kafka", brokers.bootstrap, "--postgres", harness.NO_POSTGRES)
        load = Workload(folder.path + "/acknowledged.log")
        node = folder.node(*flags).wait_ready(40)
        for number in range(rounds):
            load.start(node.url)
            time.sleep(random.uniform(1, 2))
            if number % 2 == 0:
                node.kill()
                load.stop()
                node = folder.node(*flags).wait_ready(40)
            else:
                brokers.run("kill")
                load.stop()  # refused requests come back at once: more of them prove nothing
                brokers.run("resume")
            settle(load, node)
        code, _ = node.terminate()
        check(code == 0, f"SIGTERM gave exit {code}")
        report = brokers.verify_deep()
        load.check_journal(brokers.journal())
        check(len(load.acked) > 20 * rounds, f"too little load to prove anything: {len(load.acked)}")
        print(f"journal {report['frames']} frames, {report['events']} events, {report['voided']} void")
        gate("R12.node", f"{rounds} kills, {len(load.acked)} acknowledged, 0 lost, 0 doubled", "0 lost, 0 doubled", True)
        code, _, err = harness.soma("dev", "--listen", "127.0.0.1:0", "--memory-listen", "off", data=folder.data)
        check(code != 0 and "belongs to the journal" in err, "the folder of one journal was taken for another")


if __name__ == "__main__":
    harness.main(run)
