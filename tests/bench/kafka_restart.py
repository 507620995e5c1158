#!/usr/bin/env python3
"""B5 on a real broker: kill -9 of a node with many actors; from the kill to the first durable answer of one of them.

usage: kafka_restart.py [--actors 1000000] [--rounds 5]

The actors are written to a folder and moved onto the broker (`soma log import`). A node with an empty disk reads them and is
stopped; then it is started, killed and started again at once, some times over: each time a counter that nobody has asked for answers, with what it was left at and one more.
One line of JSON a round, a GATE line of the slowest.
"""

import argparse
import json
import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "system"))
import harness  # noqa: E402
from harness import BROKEN, Client, check, gate, wait_until  # noqa: E402

PARTITIONS = "8"
READ_S = 600  # the first node reads and folds all that was moved


def add(client, counter):
    """The value it answers with; None while nobody serves it."""
    try:
        answer = client.call("POST", f"/v1/bench/counter/c{counter}/add", {"amount": 1}, f"restarted-{counter}")
    except BROKEN:
        return None
    check(answer.status in (200, 503), f"counter {counter}: {answer.status} {answer.body}")
    return answer.json["value"] if answer.status == 200 else None


def kill_and_ask(folder, node, flags, counter):
    """(the node started again, seconds from the kill to the answer)."""
    began = time.monotonic()
    node.kill()
    again = folder.node(*flags)
    client = Client("http://" + flags[flags.index("--listen") + 1], timeout=5)
    value = wait_until("the first answer", 120, lambda: add(client, counter), 0.005)
    seconds = time.monotonic() - began
    check(value == 2, f"counter {counter} answers {value}, not 2")
    return again.wait_ready(), seconds


def run():
    parser = argparse.ArgumentParser()
    parser.add_argument("--actors", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    with harness.Brokers() as brokers, harness.Folder() as folder:
        filled = os.path.join(folder.path, "filled")
        harness.write_history(filled, args.actors, 1)
        code, _, err = harness.soma("log", "import", "--from", filled, "--kafka", brokers.bootstrap, timeout=READ_S)
        check(code == 0, f"soma log import: exit {code}\n{err}")
        flags = ["--kafka", brokers.bootstrap, "--partition-count", PARTITIONS, "--postgres", harness.NO_POSTGRES, "--slm-local", "off",
                 "--slm-embedding", "off", "--log-level", "warn"]
        began = time.monotonic()
        node = folder.node(*flags).wait_ready(READ_S)
        print(json.dumps({"bench": "kafka_restart", "actors": args.actors, "empty_disk_ready_s": round(time.monotonic() - began, 1)}), flush=True)
        code, _ = node.terminate()  # what it read is on its disk now
        check(code == 0, f"SIGTERM gave exit {code}")
        node = folder.node(*flags).wait_ready()
        flags += ["--listen", node.url.removeprefix("http://")]
        slowest = 0.0
        for counter in random.sample(range(1, args.actors), args.rounds):
            node, seconds = kill_and_ask(folder, node, flags, counter)
            slowest = max(slowest, seconds)
            print(json.dumps({"bench": "kafka_restart", "actors": args.actors, "first_answer_s": round(seconds, 3),
                              "ready_s": round(node.ready_s, 3)}), flush=True)
        gate("B5.kafka", f"{slowest:.2f} s", "<= 10 s", slowest <= 10)


if __name__ == "__main__":
    harness.main(run)
