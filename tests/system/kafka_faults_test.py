#!/usr/bin/env python3
"""Three nodes on real brokers under load, and faults one after another: killed, frozen and restarted nodes, killed
brokers, a leader that moves, nodes cut off from their brokers, all brokers away. Nothing is lost, doubled or split.

usage: kafka_faults_test.py [--brokers 1|3] [--minutes M] [--away S] [--timeline FILE.svg]
Each kind of fault once; with --minutes, in random order until they are over. --away: how long all brokers are gone.
"""

import argparse
import random
import time
from concurrent.futures import ThreadPoolExecutor

import harness
from cluster import NAMES, Cluster, replay, settle
from harness import Client, check, gate, wait_until
from tcp_gate import Gate
from timeline import Timeline
from workload import Workload

CONVERGED_S = 10   # gate R16: after a fault
REFUSED_S = 13     # a request that no broker takes: the append's 10 s, and a moment
REQUESTS = 25      # acknowledged between faults
PROBES = 8         # at once at each node, after a fault: sessions lie on any of eight partitions


class Run:
    def __init__(self, brokers, cluster, gates, load, timeline, away_s):
        self.brokers, self.cluster, self.gates, self.load = brokers, cluster, gates, load
        self.timeline, self.away_s, self.took = timeline, away_s, {}

    def converged(self, kind, but=None):
        """Each partition served, and writes through each node end well, within the bar after a fault."""
        began = time.monotonic()
        self.cluster.wait_served(40, but)
        urls = self.cluster.urls(but)
        with ThreadPoolExecutor(len(urls) * PROBES) as pool:
            list(pool.map(self.probe, urls * PROBES))
        took = time.monotonic() - began
        self.took.setdefault(kind, []).append(took)
        print(f"{time.strftime('%H:%M:%S')} {kind}: served after {took:.1f} s, {len(self.load.acked)} acknowledged", flush=True)

    def probe(self, url):
        client, body, key, said = Client(url, timeout=20), {"prompt": "probe"}, f"probe-{random.getrandbits(48):x}", []
        try:
            wait_until(f"a session starts at {url}", 40, lambda: self.accepted(client, body, key, said), 0.05)
        except harness.Failure as failure:
            raise harness.Failure(f"{failure}: {said[-1:]}, {self.cluster.owners()}") from failure

    @staticmethod
    def accepted(client, body, key, said):
        try:
            answer = client.call("POST", "/v1/sessions/start", body, key)
            said.append(f"{answer.status} {answer.body}")
            return answer.status == 202
        except harness.BROKEN as broken:
            said.append(repr(broken))
            return False

    def kill_node(self):
        name = random.choice(NAMES)
        with self.timeline.span(f"kill -9 of {name}"):
            self.cluster.nodes[name].kill()
            self.converged("a node's kill", but=name)
            self.load.advance(REQUESTS)
            self.cluster.start(name).wait_ready(60)
        self.converged("a node's return")

    def freeze_node(self):
        name = random.choice(NAMES)
        with self.timeline.span(f"{name} frozen"), self.cluster.frozen(name):
            self.converged("a node's freeze", but=name)  # others take over what it cannot serve
            self.load.advance(REQUESTS)
        self.converged("a zombie's waking")
        replay(self.load, self.cluster.nodes[name].url, self.load.acked[-20:])  # shows nothing old

    def restart_nodes(self):
        for name in NAMES:
            with self.timeline.span(f"restart of {name}"):
                code, took = self.cluster.nodes[name].terminate()
                check(code == 0, f"SIGTERM gave exit {code}")
                check(took <= 10, f"a drain took {took:.1f} s")
                self.cluster.start(name).wait_ready(60)
        self.converged("a rolling restart")

    def cut(self, mode):
        number, name = random.choice(list(enumerate(NAMES)))
        with self.timeline.span(f"{name} {'without' if mode == 'cut' else 'silent to'} brokers"):
            self.gates[number].set(mode)
            self.converged("a node's loss of its brokers", but=name)
            self.load.advance(REQUESTS)
            self.gates[number].set("open")
        self.converged("a network's return")

    def cut_node(self):
        self.cut("cut")

    def silence_node(self):
        self.cut("hold")

    def kill_broker(self):
        """One of three: the leaders of its partitions move. The only one: nothing can be written until it is back."""
        number = random.randint(1, self.brokers.count)
        with self.timeline.span(f"kill -9 of broker {number}"):
            self.brokers.run("kill", "--node", str(number))
            if self.brokers.count > 1:
                self.converged("a broker's kill")
                self.load.advance(REQUESTS)
            self.brokers.run("resume", "--node", str(number))
        self.converged("a broker's return")

    def all_brokers_away(self):
        """Typed refusals, and it goes on by itself. That nothing was acknowledged falsely, the journal shows at the end:
        what a client is told now may only be the recorded answer to a request that was stored before."""
        client = Client(self.cluster.urls()[0], timeout=REFUSED_S + 5)
        with self.timeline.span("no broker"):
            self.brokers.run("kill")
            ends = time.monotonic() + self.away_s
            while time.monotonic() < ends:
                began = time.monotonic()
                answer = client.call("POST", "/v1/remember", {"text": "nobody stores this"}, f"away-{began}")
                took = time.monotonic() - began
                check(answer.status == 503, f"without brokers a write was answered {answer.status} {answer.body}")
                check("Retry-After" in answer.headers and answer.json.get("code"), f"not typed: {answer.headers} {answer.body}")
                check(took <= REFUSED_S, f"a refusal took {took:.1f} s")
                ready = client.call("GET", "/health/ready")
                check(ready.status == 503, f"ready without brokers: {ready.body}")
            self.brokers.run("resume")
        self.converged("all brokers' return")

    def faults(self):
        return [self.kill_node, self.freeze_node, self.restart_nodes, self.cut_node, self.silence_node, self.kill_broker,
                self.all_brokers_away]


def run():
    parser = argparse.ArgumentParser()
    parser.add_argument("--brokers", type=int, choices=(1, 3), default=1)
    parser.add_argument("--minutes", type=float, default=0)
    parser.add_argument("--away", type=float, default=15)
    parser.add_argument("--timeline")
    parser.add_argument("--only", help="these faults, by their names in this file, with commas")
    args = parser.parse_args()
    with harness.Brokers(args.brokers, gates=len(NAMES)) as brokers, harness.Upstream() as upstream, harness.Folder() as folder:
        gates = [Gate(way["ports"]) for way in brokers.gates]
        cluster = Cluster(folder, (*upstream.flags, "--postgres", harness.NO_POSTGRES),
                          kafka={name: way["bootstrap"] for name, way in zip(NAMES, brokers.gates)})
        cluster.start("a").wait_ready(60)
        for name in NAMES[1:]:
            cluster.start(name).wait_ready(60)
        cluster.wait_spread()
        timeline = Timeline()
        load = Workload(folder.path + "/acknowledged.log", clients=6, patience_s=60 + args.away, timeout_s=15,
                        on_ack=timeline.acknowledged)
        faults = Run(brokers, cluster, gates, load, timeline, args.away)
        left, until = [], time.monotonic() + args.minutes * 60
        load.start(*cluster.urls())
        load.advance(REQUESTS)
        done = 0
        while True:
            if not left:
                if done and time.monotonic() >= until:
                    break
                left = [f for f in faults.faults() if not args.only or f.__name__ in args.only.split(",")]
                random.shuffle(left)
            elif done and args.minutes and time.monotonic() >= until:
                break
            left.pop()()
            done += 1
            load.advance(REQUESTS)
            check(not load.problems, f"a client failed: {load.problems[:1]}")
        settle(load, cluster)
        for node in cluster.nodes.values():
            code, _ = node.terminate()
            check(code == 0, f"SIGTERM gave exit {code}")
        for way in gates:
            way.close()
        report = brokers.verify_deep()
        load.check_journal(brokers.journal())
        if args.timeline:
            timeline.draw(args.timeline, brokers.claims())
        for kind, times in sorted(faults.took.items()):
            print(f"after {kind}: {len(times)} times, longest {max(times):.1f} s")
        print(f"{report['frames']} frames, {report['voided']} void; longest request {load.longest_s:.1f} s")
        check(len(load.acked) > REQUESTS * done, f"too little load to prove anything: {len(load.acked)}")
        gate("R16", f"{done} faults, {len(load.acked)} acknowledged, 0 lost, 0 doubled, 0 split", "0 lost, 0 doubled, 0 split", True)
        slowest = max(max(times) for times in faults.took.values())
        gate("R16.convergence", f"{slowest:.1f} s", f"{CONVERGED_S} s", slowest <= CONVERGED_S)


if __name__ == "__main__":
    harness.main(run)
