#!/usr/bin/env python3
"""Audit of a cluster on a real broker: whichever node is asked, and also from the topics alone, the heads, proofs and bundles are
of one journal, through takeovers; and what any node signed is in every bundle.
"""

import json
import os

import audit_test
import harness
from audit_test import judge, judge_kept
from cluster import Cluster
from harness import Client, check, soma, wait_until


def talks(url, times):
    """Sessions through one node; every one ended. Their ids."""
    client, started = Client(url), []
    for n in range(times):
        answer = client.call("POST", "/v1/sessions/start", {"prompt": f"question {n}"}, f"{url}-{n}-{os.urandom(4).hex()}")
        check(answer.status == 202, answer.body)
        started.append(answer.json["session_id"])
    for session in started:
        wait_until("the turn's end", 40, lambda s=session: (lambda a: a.status == 200 and a.json["status"] == "completed")(
            client.call("GET", f"/v1/sessions/{s}")), 0.1)
    return started


def signed(url):
    answer = Client(url).call("POST", "/v1/audit/head")
    check(answer.status == 200, f"a head of {url}: {answer.status} {answer.body}")
    return answer.json


def of_one_journal(urls):
    """Nothing is being written: every node signs over the same records."""
    def same():
        heads = [signed(url) for url in urls]
        return all(h["partitions"] == heads[0]["partitions"] for h in heads) and heads
    heads = wait_until("every node has read the same journal", 30, same, 0.2)
    check(len({h["key"] for h in heads}) == 1, f"nodes sign with several keys: {heads}")
    return heads


def bundle(url):
    answer = Client(url, timeout=60).call("POST", "/v1/audit/export")
    check(answer.status == 200, f"an export of {url}: {answer.status} {answer.body[:300]}")
    return answer.body.encode()


def proofs(urls, sessions, key):
    """Each node proves events of every partition, whoever wrote them."""
    places = set()
    for session in sessions:
        events = Client(urls[0]).call("GET", f"/v1/sessions/{session}/events").json["items"]
        for url in urls:
            answer = Client(url).call("GET", f"/v1/audit/proof/{events[-1]['event_id']}")
            check(answer.status == 200, f"{url}: {answer.status} {answer.body}")
            report = judge(answer.body.encode(), key)
            check(report["ok"] and answer.json["position"] == events[-1]["position"], f"{report}")
        places.add(events[-1]["position"].split("/")[0])
    check(len(places) > 2, f"events of partitions {places} alone")


def listed(url):
    answer = Client(url).call("GET", "/v1/audit/head?limit=200")
    check(answer.status == 200, answer.body)
    return [h["head"] for h in answer.json["items"]]


def from_the_topics(folder, kafka, key, heads):
    """Without a node: the same journal, signed with a node's key, and with the heads that its folder keeps."""
    data, path = os.path.join(folder.path, "a"), os.path.join(folder.path, "topics.audit")
    code, _, err = soma("--data-dir", data, "audit", "export", "--tenant", "demo", "--out", path, "--kafka", kafka)
    check(code == 0, f"audit export --kafka: {code} {err}")
    files = []
    for n, head in enumerate(heads):
        files.append(os.path.join(folder.path, f"head-{n}.jws"))
        with open(files[-1], "w", encoding="utf-8") as f:
            f.write(head + "\n")
    report = judge_kept(path, key, *files)
    check(report["ok"], f"{report}")
    check(report["older_heads"] > len(heads), f"the folder's heads are not in the bundle of the topics: {report}")
    code, out, err = soma("--data-dir", data, "audit", "head", "--sign", "--tenant", "demo", "--kafka", kafka, "-o", "json")
    check(code == 0 and json.loads(out)["key"] == key, f"{code} {out}{err}")
    with open(path, "rb") as f:
        lines = f.readlines()
    records = audit_test.record_lines(lines)
    for at in (records[0], records[len(records) // 2], records[-1]):
        entry = json.loads(lines[at])
        raw = bytearray(audit_test.second.unbase64(entry["entry"]))
        raw[len(raw) // 2] ^= 1
        entry["entry"] = audit_test.second.base64.urlsafe_b64encode(bytes(raw)).rstrip(b"=").decode()
        other = json.dumps(entry, separators=(",", ":")).encode() + b"\n"
        audit_test.found_at(judge(b"".join(lines[:at] + [other] + lines[at + 1:]), key), lines[at], "record_changed")
    return report["records"]


def test():
    with harness.Brokers() as brokers, harness.Upstream() as upstream, harness.Folder() as folder:
        cluster = Cluster(folder, (*upstream.flags, "--postgres", harness.NO_POSTGRES), brokers.bootstrap)
        for name in ("a", "b", "c"):
            cluster.start(name).wait_ready(60)
        cluster.wait_spread()
        sessions = [s for url in cluster.urls() for s in talks(url, 4)]
        heads = of_one_journal(cluster.urls())
        key = heads[0]["key"]
        proofs(cluster.urls(), sessions, key)
        kept = {url: set(listed(url)) for url in cluster.urls()}
        given_away = sorted(set().union(*kept.values()))
        check(len(given_away) >= 3, f"three nodes signed, and {len(given_away)} heads are kept")
        for url, heads_there in kept.items():
            check(len(heads_there) == len(given_away), f"{url} lists {len(heads_there)} of {len(given_away)} heads of the cluster")
        # Another takes what c had; what c signed stays true of what comes.
        cluster.nodes["c"].kill()
        cluster.wait_spread(but="c")
        left = cluster.urls(but="c")
        sessions += [s for url in left for s in talks(url, 3)]
        of_one_journal(left)
        proofs(left, sessions[-3:] + sessions[:6], key)
        for url in left:
            report = judge(bundle(url), key)
            check(report["ok"] and report["older_heads"] >= 4, f"{url}: {report}")
        cluster.start("c").wait_ready(60)
        cluster.wait_spread()
        for url in cluster.urls():
            check(set(given_away) <= set(listed(url)), f"{url} has forgotten heads")
            report = judge(bundle(url), key)
            check(report["ok"] and report["older_heads"] >= 5, f"{url}, all nodes there: {report}")
        for node in cluster.nodes.values():
            check(node.terminate()[0] == 0, "exit code")
        records = from_the_topics(folder, brokers.bootstrap, key, given_away)
        brokers.verify_deep()
    print(f"{records} records of three nodes: one head, whoever signs; proofs and bundles of every node and of the topics")


if __name__ == "__main__":
    harness.main(test)
