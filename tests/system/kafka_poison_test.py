#!/usr/bin/env python3
"""Poison among the records of integrators on a real broker: each goes to the dead letters with its reason, what is good beside
it is applied, other clients are answered as ever, and what was mended is taken when it is sent again.

usage: kafka_poison_test.py [--poison N]
"""

import argparse
import json
import random
import threading
import time

import harness
from harness import Client, check, gate
from kafka_integrators_test import consume, lag, orders, produce, remember_records

KINDS = {  # name: (headers, value, the dead letter's error_type); {n} is the record's number
    "undecodable": ("ce_id:bad-{n},ce_type:memory.remember", "{{not json {n}", "malformed"),
    "oversize": ("ce_id:bad-{n},ce_type:memory.remember", '{{"text":"' + "x" * 300_000 + '"}}', None),
    "future version": ("ce_id:bad-{n},ce_type:memory.remember,ce_specversion:2.0", '{{"text":"{n}"}}', "invalid_argument"),
    "wrong tenant": ("ce_id:bad-{n},ce_type:memory.remember,ce_somatenant:rival", '{{"text":"{n}"}}', "forbidden"),
    "unknown type": ("ce_id:bad-{n},ce_type:memory.dream", '{{"text":"{n}"}}', "invalid_argument"),
    "wrong field": ("ce_id:bad-{n},ce_type:memory.remember", '{{"texts":["{n}"]}}', "invalid_argument"),
}


def poison(count):
    """(number, kind, record): every kind, in turn; few of the large ones."""
    names = list(KINDS)
    out = []
    for n in range(count):
        name = names[n % len(names)]
        if name == "oversize" and n >= 60:
            name = "wrong field"
        headers, value, _ = KINDS[name]
        out.append((n, name, (headers.format(n=n), f"key-{n % 11}", value.format(n=n))))
    return out


class Probe:
    """Somebody else's writes, one after the other: the longest that one took."""

    def __init__(self, url):
        self.slowest, self.count, self._stop = 0.0, 0, threading.Event()
        self._thread = threading.Thread(target=self._run, args=(Client(url),), daemon=True)
        self._thread.start()

    def _run(self, client):
        while not self._stop.wait(0.02):
            began = time.monotonic()
            answer = client.call("POST", "/v1/remember", {"text": f"probe {self.count}"}, f"probe-{self.count}")
            check(answer.status == 200, f"beside poison: {answer.status} {answer.body}")
            self.slowest, self.count = max(self.slowest, time.monotonic() - began), self.count + 1

    def stop(self):
        self._stop.set()
        self._thread.join(30)
        check(self.count > 0 and not self._thread.is_alive(), "the probe did not run")


def dead_letters_counted(client):
    total = 0.0
    for line in client.call("GET", "/metrics").body.splitlines():
        if line.startswith("soma_inbox_records_total{") and 'outcome="dead_letter"' in line:
            total += float(line.rsplit(" ", 1)[1])
    return total


def check_letters(brokers, sent):
    """Each poison record has one letter, with the reason of its kind and its place."""
    letters = {}
    for _, _, _, value in consume(brokers, "soma.commands.dlq", 8000):
        letter = json.loads(value)
        letter["headers"] = dict(letter["original_event"]["headers"])
        letters[(letter["source_partition"], letter["source_offset"])] = letter
    check(len(letters) == len(sent), f"{len(letters)} dead letters for {len(sent)} records")
    kinds = {f"bad-{n}": name for n, name, _ in sent}
    for letter in letters.values():
        name = kinds.pop(letter["headers"]["ce_id"])
        reason = KINDS[name][2]
        check(letter["error_message"] and (reason is None or letter["error_type"] == reason), f"{name}: {letter['error_type']}")
    check(not kinds, f"no letter tells of {list(kinds)[:3]}")
    return list(letters.values())


def redrive(brokers, client, letters):
    """A letter holds what is needed to mend and send it again, under its own id."""
    mended = []
    for letter in letters:
        event = letter["original_event"]
        if texts := isinstance(event.get("data"), dict) and event["data"].get("texts"):
            headers = f"ce_id:{letter['headers']['ce_id']},ce_type:{letter['headers']['ce_type']}"
            mended.append((headers, event["key"], json.dumps({"text": "order mended " + texts[0]})))
    check(mended, "no letter can be mended")
    before = len(orders(client))
    produce(brokers, "soma.commands", mended * 2)
    harness.wait_until("what was mended is applied", 60, lambda: len(orders(client)) >= before + len(mended), 0.2)
    harness.wait_until("nothing is left", 60, lambda: lag(brokers) == 0, 0.5)
    check(len(orders(client)) == before + len(mended), "mended records were applied twice")
    return len(mended)


def run():
    parser = argparse.ArgumentParser()
    parser.add_argument("--poison", type=int, default=500)
    count = parser.parse_args().poison
    with harness.Brokers() as brokers, harness.Upstream() as upstream, harness.Folder() as folder:
        node = folder.node(*upstream.flags, "--kafka", brokers.bootstrap, "--postgres", harness.NO_POSTGRES,
                           "--kafka-trusted-producers", "true").wait_ready(40)
        harness.wait_until("topics are made", 40, lambda: "soma.commands.dlq" in brokers.run("topics", "--list"), 1)
        client, probe, bad = Client(node.url), Probe(node.url), poison(count)
        records = [record for _, _, record in bad] + remember_records(0, count)
        random.shuffle(records)
        produce(brokers, "soma.commands", records)
        began = time.monotonic()
        harness.wait_until("all that is good is applied", 60, lambda: len(orders(client)) >= count, 0.05)
        behind = time.monotonic() - began
        harness.wait_until("all poison is counted", 60, lambda: dead_letters_counted(client) >= count, 0.1)
        probe.stop()
        harness.wait_until("nothing is left", 60, lambda: lag(brokers) == 0, 0.5)
        check(len(orders(client)) == count, "something was applied twice")
        check(dead_letters_counted(client) == count, f"the metric counts {dead_letters_counted(client)}")
        mended = redrive(brokers, client, check_letters(brokers, bad))
        code, _ = node.terminate()
        check(code == 0, f"SIGTERM gave exit {code}")
        brokers.verify_deep()
        print(f"{count} good records applied {behind:.2f} s after the last was sent; {mended} mended and taken")
        gate("R26", f"{probe.slowest:.2f} s the slowest of {probe.count} other requests beside {count} poison records, each a dead letter",
             "1 s", probe.slowest <= 1)


if __name__ == "__main__":
    harness.main(run)
