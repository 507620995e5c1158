#!/usr/bin/env python3
"""Three nodes share the partitions of one real broker: killed, frozen and thawed, restarted one by one under load.

usage: kafka_cluster_test.py [--requests N]. N are acknowledged before each fault and after it.
"""

import argparse
import json
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor

import harness
from certificates import Authority
from cluster import NAMES, Cluster, replay, settle
from contract import Stream
from harness import Client, check, gate, wait_until
from workload import Workload

PATIENCE_S = 30  # a client's; a takeover takes the session's 6 s and a recovery


def live_tokens(url, session):
    """Tokens of a session's stream until its end, each with how long before the end it came."""
    found, ended = [], None
    for _, name, data in Stream(url, f"/v1/sessions/{session}/stream"):
        if name == "token":
            found.append((json.loads(data)["text"], time.monotonic()))
        elif name == "session.completed":
            ended = time.monotonic()
    check(ended, f"{url}: the stream of {session} ended without its session")
    return [text for text, _ in found], [ended - at for _, at in found]


def tokens_at_every_node(cluster, upstream):
    """Whichever node a client asks: it hears each token once, in order, while the model speaks."""
    words = [f"w{n} " for n in range(12)]
    upstream.script({"tokens": words, "token_delay_ms": 250})
    started = Client(cluster.urls()[0]).call("POST", "/v1/sessions/start", {"prompt": "speak slowly"}, "slow")
    check(started.status == 202, f"{started.status} {started.body}")
    with ThreadPoolExecutor(len(cluster.urls())) as pool:
        streams = list(pool.map(lambda url: live_tokens(url, started.json["session_id"]), cluster.urls()))
    for url, (texts, before_end) in zip(cluster.urls(), streams):
        check(texts == words, f"{url}: tokens {texts}")
        check(before_end[0] > 1, f"{url}: the first token came {before_end[0]:.1f} s before the end: not live")
    upstream.script({"otherwise": {"echo": True}})


def effects_at_every_node(cluster, upstream):
    """Whichever node an operator asks: the call that one of them runs is in the list."""
    upstream.script({"tokens": ["and so on "] * 500, "token_delay_ms": 250})
    started = Client(cluster.urls()[0]).call("POST", "/v1/sessions/start", {"prompt": "speak for long"}, "long")
    check(started.status == 202, f"{started.status} {started.body}")
    session = started.json["session_id"]

    def listed(url):
        answer = Client(url).call("GET", "/v1/admin/effects")
        return answer.status == 200 and any(
            e["kind"] == "slm.chat" for e in answer.json["items"])
    for url in cluster.urls():
        wait_until(f"the call in {url}'s list of effects", 30, lambda at=url: listed(at))
    Client(cluster.urls()[-1]).call("POST", f"/v1/sessions/{session}/cancel", {}, "enough")
    for url in cluster.urls():
        wait_until(f"the call gone from {url}'s list of effects", 30, lambda at=url: not listed(at))
    upstream.script({"otherwise": {"echo": True}})


def only_nodes_are_heard(port, authority, other):
    """At the port between nodes: nothing in the clear, nobody without a certificate of the cluster's authority."""
    def heard(pair):
        tls = ssl.create_default_context(cafile=authority.cert)
        if pair:
            tls.load_cert_chain(pair.cert, pair.key)
        try:
            return Client(f"https://127.0.0.1:{port}", tls=tls).call("POST", "/internal/v1/call", {}).status
        except (ssl.SSLError, ConnectionError):
            return None
    check(heard(authority.issue("visitor")) == 401, "a certificate is not the cluster's secret")
    check(heard(None) is None, "a caller without a certificate was heard")
    check(heard(other.issue("stranger")) is None, "a certificate of another authority was taken")
    answer = Client(f"http://127.0.0.1:{port}").call("POST", "/internal/v1/call", {})
    check(answer.status == 400 and "https://" in answer.json["detail"], f"in the clear: {answer.status} {answer.body}")


def run():
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=150)
    requests = parser.parse_args().requests
    with harness.Brokers() as brokers, harness.Upstream() as upstream, harness.Folder() as folder:
        authority, other = Authority(folder.path + "/authority"), Authority(folder.path + "/other")
        cluster = Cluster(folder, (*upstream.flags, "--postgres", harness.NO_POSTGRES), brokers.bootstrap, authority)
        with socket.create_server(("127.0.0.1", 0)) as s:
            port = s.getsockname()[1]
        cluster.start("a", flags=("--cluster-listen", f"127.0.0.1:{port}")).wait_ready(60)
        only_nodes_are_heard(port, authority, other)
        for name in ("b", "c"):
            cluster.start(name).wait_ready(60)
        cluster.wait_spread()
        tokens_at_every_node(cluster, upstream)
        effects_at_every_node(cluster, upstream)
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
        with cluster.frozen("b"):
            cluster.wait_spread(but="b")
            load.advance(requests)
        replay(load, cluster.nodes["b"].url, load.acked[-20:])  # shows nothing old
        load.advance(requests)
        settle(load, cluster)
        frozen_s = load.longest_s
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
        load.check_ended("in spite of retries")
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
