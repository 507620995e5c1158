#!/usr/bin/env python3
"""Warm standbys on a real broker: each partition has one, and it is who takes over when the owner is killed, with little
left to read. A node without a disk joins under load when it is warm, one leaves, and the shares stay even.

usage: kafka_standby_test.py [--actors N] [--standbys N]
With --actors: only the measurement, of a takeover of that many actors: how long the partitions were away, what was read.
"""

import argparse
import random
import shutil
import time
from concurrent.futures import ThreadPoolExecutor

import harness
from cluster import NAMES, PARTITIONS, Cluster, settle
from harness import Client, check, gate, wait_until
from workload import Workload

PATIENCE_S = 30
REQUESTS = 150
MOST_READ = 8  # frames, by all who take over


def metric(node, name):
    """The sum over its labels."""
    text = Client(node.ready_line["metrics"]).call("GET", "/metrics").body
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.split("{")[0].split(" ")[0] == name)


def owners(url):
    return {row["partition"]: row for row in Client(url).call("GET", "/v1/log/partitions").json["items"]}


def warm(cluster, but=None, standbys=1):
    """Whichever node is asked: every partition has that many standbys, none of them its owner, and they lack nothing.
    A node that followed all before it joined goes on for half a minute."""
    names = [name for name in cluster.nodes if name != but]

    def one(name):
        try:
            rows = owners(cluster.nodes[name].url)
        except harness.BROKEN:
            return None
        for row in rows.values():
            others = [s["node"] for s in row["standbys"] if s["node"] != row["owner"]]
            if len(others) != min(standbys, len(names) - 1) or any(s["lag"] for s in row["standbys"]):
                return None
        return rows

    def all_of_them():
        rows = [one(name) for name in names]
        return rows[0] if all(rows) else None
    return wait_until("each partition has a standby that lacks nothing", 120, all_of_them, 0.2)


def even(cluster, but=None):
    def shares():
        sets = cluster.served(but)
        return bool(sets) and max(map(len, sets)) - min(map(len, sets)) <= 1
    wait_until("the shares are even", 60, shares, 0.1)


def others_of(cluster, name):
    return [node for other, node in cluster.nodes.items() if other != name]


def takeover(cluster, load):
    """kill -9 of an owner: each of its partitions goes to a node that was warm for it, which reads next to nothing."""
    settle(load, cluster)
    rows = warm(cluster)
    victim = random.choice(NAMES)
    theirs = {p: [s["node"] for s in row["standbys"]] for p, row in rows.items() if row["owner"] == victim}
    check(theirs, f"{victim} owns nothing")
    code, shown, err = harness.soma("log", "owners", "--server", others_of(cluster, victim)[0].url, "-o", "table")
    check(code == 0, f"soma log owners: exit {code}\n{err}")
    for p, standbys in theirs.items():
        line = next((words for words in map(str.split, shown.splitlines()) if words[:1] == [str(p)]), [])
        check(victim in line and f"{standbys[0]} (0)" in " ".join(line), f"soma log owners shows\n{shown}")
    frames = sum(rows[p]["frames"] for p in theirs)
    others = others_of(cluster, victim)
    before = sum(metric(node, "soma_host_recovered_frames_total") for node in others)
    cluster.nodes[victim].kill()
    cluster.wait_served(60, victim)
    read = sum(metric(node, "soma_host_recovered_frames_total") for node in others) - before
    now = owners(others[0].url)
    for p, standbys in theirs.items():
        check(now[p]["owner"] in standbys, f"partition {p} went to {now[p]['owner']}, warm were {standbys}")
    check(frames >= 20, f"too little to read to prove anything: {frames}")
    return victim, read, frames


def run():
    parser = argparse.ArgumentParser()
    parser.add_argument("--actors", type=int, default=0)
    parser.add_argument("--standbys", type=int, default=1)
    args = parser.parse_args()
    with harness.Brokers() as brokers, harness.Upstream() as upstream, harness.Folder() as folder:
        flags = (*upstream.flags, "--postgres", harness.NO_POSTGRES, "--metrics-listen", "127.0.0.1:0",
                 "--cluster-standbys", str(args.standbys))
        cluster = Cluster(folder, flags, brokers.bootstrap)
        cluster.start("a").wait_ready(60)
        for name in ("b", "c"):
            cluster.start(name).wait_ready(60)
        cluster.wait_spread()
        if args.actors:
            return measure(cluster, args)
        load = Workload(folder.path + "/acknowledged.log", clients=6, patience_s=PATIENCE_S, timeout_s=5)
        load.start(*cluster.urls())
        load.advance(REQUESTS)
        even(cluster)

        victim, read_at_kill, frames = takeover(cluster, load)
        print(f"{victim} killed: {read_at_kill:.0f} of {frames} frames read by those who took over", flush=True)

        load.start(*cluster.urls(victim))
        shutil.rmtree(cluster.nodes[victim].data)
        before_join = len(load.acked)
        cluster.start(victim).wait_ready(60)
        wait_until("the node without a disk has partitions", 60,
                   lambda: cluster.owners().get(victim) and cluster.served(), 0.1)
        even(cluster)
        read = metric(cluster.nodes[victim], "soma_host_recovered_frames_total")
        total = sum(row["frames"] for row in owners(cluster.nodes[victim].url).values())
        check(read < total / 4, f"the node that joined read {read} of {total} frames when it took its share: not warm")
        print(f"{victim} joined with an empty disk: {read:.0f} of {total} frames read to take its share", flush=True)
        load.advance(REQUESTS)
        check(len(load.acked) > before_join, "nothing was acknowledged while a node joined")
        settle(load, cluster)

        # What a load balancer sees: requests go to the nodes that stay.
        load.start(*cluster.urls(victim))
        load.advance(20)
        first = len(load.acked)
        code, took_s = cluster.nodes[victim].terminate()
        check(code == 0, f"SIGTERM gave exit {code}")
        even(cluster, victim)
        again = [r for r in load.acked[first:] if r.attempts > 1]
        print(f"{victim} told to stop: {len(load.acked) - first} requests acknowledged at the others while it left in "
              f"{took_s:.1f} s, {len(again)} of them repeated, the longest {load.longest_s:.2f} s", flush=True)
        check(not again, f"a planned stop made {len(again)} requests fail: {again[0].last if again else ''}")
        load.advance(REQUESTS)
        settle(load, cluster, victim)
        warm(cluster, victim)
        brokers.verify_deep()
        load.check_journal(brokers.journal())
        gate("R16.standby", f"{read_at_kill:.0f} frames of {frames} read by standbys, {len(load.acked)} acknowledged",
             f"<= {MOST_READ} frames", read_at_kill <= MOST_READ)


def fill(urls, actors):
    def some(first, last):
        client = Client(random.choice(urls))
        for n in range(first, last):
            wait_until(f"counter {n}", 60, lambda at=n: client.call(
                "POST", f"/v1/bench/counter/c{at}/add", {"amount": 1}, f"c{at}").status == 200)
    step = actors // 32 + 1
    with ThreadPoolExecutor(32) as pool:
        list(pool.map(lambda first: some(first, min(first + step, actors)), range(0, actors, step)))


def measure(cluster, args):
    began = time.monotonic()
    fill(cluster.urls(), args.actors)
    print(f"{args.actors} actors in {time.monotonic() - began:.0f} s", flush=True)
    if args.standbys:
        warm(cluster, standbys=args.standbys)
    victim = "b"
    others = {name: node for name, node in cluster.nodes.items() if name != victim}
    theirs = cluster.owners()[victim]

    def sums(name):
        return sum(metric(node, name) for node in others.values())
    before = sums("soma_host_recovered_frames_total"), sums("soma_host_recovery_seconds_total")
    cluster.nodes[victim].kill()
    began = time.monotonic()
    cluster.wait_served(120, victim)
    took_s = time.monotonic() - began
    read = sums("soma_host_recovered_frames_total") - before[0]
    seconds = sums("soma_host_recovery_seconds_total") - before[1]
    print(f"kill -9 of the owner of {len(theirs)} of {PARTITIONS} partitions, {args.standbys} standbys: {read:.0f} frames "
          f"read in {seconds:.2f} s of recoveries; all served {took_s:.1f} s after the kill")


if __name__ == "__main__":
    harness.main(run)
