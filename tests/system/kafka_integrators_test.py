#!/usr/bin/env python3
"""Integrators on a real Kafka broker, with Kafka's own console tools as the other side.

Commands come from a foreign producer; the node is killed with -9 in the middle; each is applied once, poison goes to the
dead letters, and what the public topics carry is, deduplicated by ce_id, exactly what the audit log tells.

usage: kafka_integrators_test.py [--records N]
"""

import argparse
import base64
import json

import harness
from harness import check, gate

SESSION_S = 120  # long: whatever waits for a killed member's session fails

POISON = [  # (headers, value, error_type)
    ("ce_type:session.start", '{"prompt":"x"}', "invalid_argument"),  # no ce_id
    ("ce_id:p1,ce_type:session.stop", "{}", "invalid_argument"),
    ("ce_id:p2,ce_type:session.start", "{not json", "malformed"),
    ("ce_id:p3,ce_type:session.start", '{"persona":"x"}', "invalid_argument"),
    ("ce_id:p4,ce_type:memory.remember,ce_somatoken:a.b.c", '{"text":"x"}', "unauthenticated"),
    ("ce_id:p5,ce_type:memory.remember,ce_somatenant:other", '{"text":"x"}', "forbidden"),
    ("ce_id:p6,ce_type:memory.remember,content-type:text/plain", '{"text":"x"}', "unsupported_media_type"),
]


def produce(brokers, topic, records):
    """records: (headers "name:value,…", key, value)."""
    lines = "".join(f"{h}\t{k}\t{v}\n" for h, k, v in records)
    brokers.console("produce", "--topic", topic, "--command-property", "acks=all", "--reader-property", "parse.headers=true",
                    "--reader-property", "parse.key=true", given=lines)


def consume(brokers, topic, wait_ms=6000):
    """All records of a topic: (partition, headers, key, value)."""
    printed = brokers.console("consume", "--topic", topic, "--from-beginning", "--timeout-ms", str(wait_ms),
                              *(x for p in ("partition", "headers", "key") for x in ("--formatter-property", f"print.{p}=true")))
    out = []
    for line in printed.splitlines():
        parts = line.split("\t", 3)
        if len(parts) == 4 and parts[0].startswith("Partition:"):
            headers = dict(h.split(":", 1) for h in parts[1].split(",") if ":" in h)
            out.append((int(parts[0][10:]), headers, parts[2], parts[3]))
    return out


def remember_records(first, count):
    # Keys of our choice, not those of the actors: another partition than ours is as good.
    return [(f"ce_id:order-{i},ce_type:memory.remember,ce_source:/shop", f"shop-{i % 7}",
             json.dumps({"text": f"order {i}", "tags": ["shop"]})) for i in range(first, first + count)]


def audit(client, kind):
    """All events of a type, as GET /v1/audit/events pages them."""
    found, cursor = [], ""
    while cursor is not None:
        page = client.call("GET", f"/v1/audit/events?type={kind}&limit=200&cursor={cursor}")
        check(page.status == 200, f"audit: {page.status} {page.body}")
        found += page.json["items"]
        cursor = page.json["next_cursor"]
    return found


def orders(client):
    return [e for e in audit(client, "memory.remembered") if e["data"]["fact"]["text"].startswith("order ")]


def lag(brokers):
    code, out, err = harness.soma("kafka", "lag", "--kafka", brokers.bootstrap, "-o", "json")
    check(code == 0, f"soma kafka lag: {err}")
    return sum(json.loads(line)["lag"] for line in out.splitlines())


def check_public(brokers, client):
    """What the topic carries, each id once, is what the audit log tells; repeats are the same record."""
    wanted = {e["event_id"]: e for e in audit(client, "memory.remembered")}
    records = consume(brokers, "memory.events")
    by_id, last = {}, {}
    for partition, headers, key, value in records:
        if headers["ce_type"] != "memory.remembered":
            continue
        seen = by_id.setdefault(headers["ce_id"], (partition, key, value))
        check(seen == (partition, key, value), f"two records of {headers['ce_id']} differ")
        check(headers["ce_subject"] == key and headers["ce_somatenant"] == "demo", f"headers: {headers}")
        last[partition] = headers
    check(set(by_id) == set(wanted), f"topic and audit log differ: {set(by_id) ^ set(wanted)}")
    for event_id, (_, key, value) in by_id.items():
        check(json.loads(value) == wanted[event_id]["data"], f"data of {event_id} differ")
        check(wanted[event_id]["topic"] == "memory.events" and wanted[event_id]["actor"] == key, "topic and actor")
    return len(records)


def check_poison(brokers):
    letters = [json.loads(v) for _, _, _, v in consume(brokers, "soma.commands.dlq")]
    found = {(letter["source_partition"], letter["source_offset"]): letter for letter in letters}
    check(len(found) == len(POISON), f"{len(found)} dead letters for {len(POISON)} poison records: {letters}")
    check(sorted(l["error_type"] for l in found.values()) == sorted(p[2] for p in POISON), f"reasons: {letters}")
    for letter in found.values():
        check(letter["source_topic"] == "soma.commands" and letter["error_message"], f"letter: {letter}")
        check("a.b.c" not in json.dumps(letter), "a dead letter holds a token")
    code, out, err = harness.soma("kafka", "peek", "soma.commands.dlq", "--decode", "--kafka", brokers.bootstrap, "-o", "json")
    check(code == 0 and len(out.splitlines()) >= len(POISON), f"soma kafka peek: {out}{err}")


def structured(brokers, client):
    """Structured CloudEvents, with JSON and with the command's protobuf message in them."""
    fact = b"\x0a" + bytes([len(b"order in bytes")]) + b"order in bytes"  # MemoryRememberBody{text}
    envelope = {"specversion": "1.0", "type": "memory.remember", "source": "/shop"}
    events = [{**envelope, "id": "whole-1", "data": {"text": "order in JSON"}},
              {**envelope, "id": "whole-2", "datacontenttype": "application/protobuf",
               "data_base64": base64.b64encode(fact).decode()}]
    produce(brokers, "soma.commands", [("content-type:application/cloudevents+json", "any", json.dumps(e)) for e in events * 2])
    wanted = {"order in JSON", "order in bytes"}
    harness.wait_until("structured events are applied", 40,
                       lambda: wanted <= {e["data"]["fact"]["text"] for e in orders(client)}, 0.2)
    harness.wait_until("nothing is left", 60, lambda: lag(brokers) == 0, 0.5)
    texts = [e["data"]["fact"]["text"] for e in orders(client)]
    check(all(texts.count(text) == 1 for text in wanted), "a structured event was applied twice")


def run():
    parser = argparse.ArgumentParser()
    parser.add_argument("--records", type=int, default=300)
    count = parser.parse_args().records
    with harness.Brokers() as brokers, harness.Upstream() as upstream, harness.Folder() as folder:
        flags = (*upstream.flags, "--kafka", brokers.bootstrap, "--postgres", harness.NO_POSTGRES,
                 "--kafka-trusted-producers", "true", "--kafka-session-timeout-ms", str(SESSION_S * 1000))
        node = folder.node(*flags).wait_ready(40)
        harness.wait_until("topics are made", 40, lambda: "soma.commands.dlq" in brokers.run("topics", "--list"), 1)
        produce(brokers, "soma.commands", remember_records(0, count))
        client = harness.Client(node.url)
        harness.wait_until("some are applied", 40, lambda: len(orders(client)) > count // 10)
        node.kill()
        applied_before = "the node was killed"
        # While it is away: poison, the same ids again, new ones.
        produce(brokers, "soma.commands", [(h, "k", v) for h, v, _ in POISON])
        produce(brokers, "soma.commands", remember_records(0, count) + remember_records(count, 50))
        node = folder.node(*flags).wait_ready(40)
        client = harness.Client(node.url)
        harness.wait_until("a record is taken before the killed member's session ends", SESSION_S / 3,
                           lambda: any(e["data"]["fact"]["text"] == f"order {count}" for e in orders(client)), 0.1)
        harness.wait_until("all are applied", 90, lambda: len(orders(client)) >= count + 50, 0.2)
        harness.wait_until("nothing is left", 60, lambda: lag(brokers) == 0, 0.5)
        texts = [e["data"]["fact"]["text"] for e in orders(client)]
        check(sorted(texts) == sorted(f"order {i}" for i in range(count + 50)), f"{len(texts)} orders, {applied_before}")
        check_poison(brokers)

        structured(brokers, client)
        session = [("ce_id:talk-1,ce_type:session.start,ce_source:/shop", "any", '{"prompt":"hello"}')]
        produce(brokers, "soma.commands", session * 2)
        produce(brokers, "slm.requests", [("ce_id:ask-1,ce_type:slm.request,ce_source:/shop", "any",
                                           '{"mode":"infer_sync","payload":{"prompt":"hi"}}')] * 2)
        done = harness.wait_until("the session ends", 40, lambda: audit(client, "session.completed"))
        answered = harness.wait_until("the model answers", 40, lambda: audit(client, "inference.answered"))
        harness.wait_until("nothing is left", 60, lambda: lag(brokers) == 0, 0.5)
        check(len(done) == len(answered) == len(audit(client, "session.started")) == 1, "once each")
        asked = audit(client, "inference.started")[0]
        check(asked["correlation_id"] == "ask-1" and asked["actor"] == answered[0]["actor"], f"who asked: {asked}")
        published = check_public(brokers, client)
        code, _ = node.terminate()
        check(code == 0, f"SIGTERM gave exit {code}")
        brokers.verify_deep()
        gate("integrators.once", f"{count + 50} commands sent {2 * count + 50} times, {published} records, 0 lost, 0 doubled",
             "0 lost, 0 doubled", True)


if __name__ == "__main__":
    harness.main(run)
