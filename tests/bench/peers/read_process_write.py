#!/usr/bin/env python3
"""B4: read, process, write exactly once, beside Kafka Streams exactly_once_v2 on the same broker, in one run.

usage: read_process_write.py [--seconds 30] [--rates 2000,5000] [--drain 300000] [--sides streams,soma] [--kills both|yes|no]
                             [--commit-ms 100,10] [--check]

Each case is a worker with empty state and topics of its own, 8 partitions, 1,000 keys: the peer at commit.interval.ms 100
and 10, then ours; at each rate; with the worker killed with -9 every 5 s (once it is up again) and without; then the same
number of records preloaded and drained. One line of JSON a case, GATE lines at the end. Exit 0 when everything was measured,
whatever the figures (with --check 1 where anything was lost or doubled); 77 when something it needs is missing.
"""

import argparse
import itertools
import json
import os
import signal
import sys
import threading
import time

import sides
from harness import Brokers, Failure, Folder, check, wait_until

KILL_EVERY_S = 5
WARM_S = 5  # the first seconds of a case: compilers and caches


class Bench:
    def __init__(self, args, folder, brokers):
        self.args, self.folder, self.brokers = args, folder.path, brokers
        self.class_path = sides.compiled(folder.path)
        self.numbers, self.results = itertools.count(1), []

    def workers(self):
        """A fresh one of each side, each made when its turn comes."""
        if "streams" in self.args.sides:
            for commit_ms in self.args.commit_ms:
                yield sides.Streams(self.folder, f"c{next(self.numbers)}", self.brokers.bootstrap, self.class_path, commit_ms)
        if "soma" in self.args.sides:
            yield sides.Soma(self.folder, f"c{next(self.numbers)}", self.brokers.bootstrap)

    def load(self, mode, worker, **options):
        return sides.Load(self.class_path, mode, worker, self.brokers.bootstrap, os.path.join(worker.folder, "load.log"), **options)

    def tell(self, worker, **figures):
        result = {"bench": "read_process_write", "side": worker.side, **worker.about, **figures}
        self.results.append(result)
        print(json.dumps(result), flush=True)

    def topics_made(self, worker):
        worker.start().wait_ready()
        wait_until("the node's topics are made", 40, lambda: worker.outbound in self.brokers.run("topics", "--list").split(), 0.5)

    def at_rate(self, worker, rate, kills):
        load = None
        try:
            if worker.makes_topics:
                self.topics_made(worker)
            load = self.load("rate", worker, rate=rate, seconds=self.args.seconds + WARM_S, warm_s=WARM_S, settle_s=self.args.settle)
            load.line()
            if not worker.makes_topics:
                worker.start().wait_ready()
            load.go()
            killed = self.kill_while(worker, load) if kills else self.cpu_while(worker, load)
            self.tell(worker, rate=rate, **killed, **load.report)
        finally:
            worker.kill()
            if load:
                load.kill()

    def background_report(self, load):
        def wait():
            try:
                load.report = load.line()
            except Failure as failure:
                load.failure = failure
        thread = threading.Thread(target=wait, daemon=True)
        load.report = load.failure = None
        thread.start()
        return thread

    def end_of(self, load, thread):
        thread.join()
        if load.failure:
            raise load.failure

    def cpu_while(self, worker, load):
        """CPU of the worker over the whole case, and memory at its end."""
        before, thread = worker.cpu_s(), self.background_report(load)
        self.end_of(load, thread)
        per_event = (worker.cpu_s() - before) * 1e6 / max(1, load.report["sent"] - load.report["lost"])
        return {"kills": 0, "cpu_us_per_event": round(per_event, 1), "resident_mb": worker.resident_mb()}

    def kill_while(self, worker, load):
        """Kills only while records are sent; what is left then is to be worked off."""
        thread, kills, began = self.background_report(load), 0, time.monotonic()
        until, due = began + self.args.seconds + WARM_S, began + KILL_EVERY_S
        while (now := time.monotonic()) < until and thread.is_alive():
            if now < due or not worker.ready:
                thread.join(0.02)
                continue
            worker.kill()
            worker.start()
            kills, due = kills + 1, now + KILL_EVERY_S
        worker.wait_ready()
        self.end_of(load, thread)
        return {"kills": kills, "start_s": round(sorted(worker.starts_s)[len(worker.starts_s) // 2], 2)}

    def drain(self, worker):
        load = None
        try:
            if worker.makes_topics:
                self.topics_made(worker)
                worker.stop()
            load = self.load("drain", worker, records=self.args.drain, settle_s=self.args.settle)
            load.line()
            load.go()
            worker.start().wait_ready()
            report = load.line()
            per_event = worker.cpu_s() * 1e6 / max(1, self.args.drain)  # the start is in it
            self.tell(worker, drained=self.args.drain, cpu_us_per_event=round(per_event, 1), **report)
        finally:
            worker.kill()
            if load:
                load.kill()

    def run(self):
        for kills in {"both": (False, True), "yes": (True,), "no": (False,)}[self.args.kills]:
            for rate in self.args.rates:
                for worker in self.workers():
                    self.at_rate(worker, rate, kills)
        if self.args.drain:
            for worker in self.workers():
                self.drain(worker)


def gates(results):
    """Prints GATE lines of ours against the peer; what was not measured has none."""
    def line(name, figure, bar, passed):
        print(f"GATE {name} {round(figure, 4)} {bar} {'PASS' if passed else 'FAIL'}", flush=True)

    ours = [r for r in results if r["side"] == "soma"]
    peers = [r for r in results if r["side"] != "soma"]
    for commit_ms, name, bar in ((100, "B4.p99", 0.1), (10, "B4.p99_at_10", 0.25)):
        ratios = [mine["p99_ms"] / peer["p99_ms"] for mine in ours for peer in peers
                  if mine.get("rate") and mine["rate"] == peer.get("rate") and mine["kills"] == peer["kills"] == 0
                  and peer["commit_interval_ms"] == commit_ms]
        if ratios:
            line(name, max(ratios), f"<={bar}", max(ratios) <= bar)
    drained = [mine["read_per_s"] / max(p["read_per_s"] for p in peers if "drained" in p)
               for mine in ours if "drained" in mine and any("drained" in p for p in peers)]
    if drained:
        line("B4.drain", drained[0], ">=1", drained[0] >= 1)
    if ours:
        for name in ("lost", "doubled"):
            count = sum(r[name] for r in ours)
            line(f"B4.{name}", count, "=0", count == 0)


def numbers(text):
    return [int(n) for n in text.split(",") if n]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=30, help="of each case, after five that do not count")
    parser.add_argument("--rates", type=numbers, default=[2000, 5000])
    parser.add_argument("--drain", type=int, default=300_000, help="records preloaded; 0: no drain")
    parser.add_argument("--sides", type=lambda t: t.split(","), default=["streams", "soma"])
    parser.add_argument("--settle", type=int, default=60, help="seconds without a new record after which the rest is lost")
    parser.add_argument("--kills", choices=["both", "yes", "no"], default="both")
    parser.add_argument("--commit-ms", type=numbers, default=[100, 10], help="of the peer")
    parser.add_argument("--check", action="store_true", help="fail where anything is lost or doubled")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing is left running
    try:
        with Folder() as folder, Brokers() as brokers:
            bench = Bench(args, folder, brokers)
            bench.run()
            gates(bench.results)
            wrong = [r for r in bench.results if r["lost"] or r["doubled"]]
            check(not (args.check and wrong), f"lost or doubled: {wrong}")
    except sides.Missing as missing:
        print(f"skipped: {missing}", file=sys.stderr)
        sys.exit(77)
    except Failure as failure:
        print(f"FAILED: {failure}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
