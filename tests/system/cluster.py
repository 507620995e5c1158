"""Nodes of one cluster by name, and what tests wait for."""

import contextlib
import os
import random
import shutil
import signal
import socket
import time

import harness
from harness import Client, check

NAMES = ("a", "b", "c")
PARTITIONS = 8


class Cluster:
    """Nodes by name, each at an address that it keeps. `kafka`: the brokers, or each node's way to them. `authority`: of
    the certificates with which nodes speak TLS to each other."""

    def __init__(self, folder, flags, kafka, authority=None):
        self.folder, self.flags, self.nodes = folder, tuple(flags), {}
        if authority:
            shown = authority.issue("node")
            self.flags += ("--cluster-tls-ca-file", authority.cert, "--cluster-tls-cert-file", shown.cert,
                           "--cluster-tls-key-file", shown.key)
        self.kafka = kafka if isinstance(kafka, dict) else {name: kafka for name in NAMES}
        self.env = {"SOMA_CLUSTER_SECRET": os.urandom(32).hex()}
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in NAMES]
        self.listen = {name: f"127.0.0.1:{s.getsockname()[1]}" for name, s in zip(NAMES, sockets)}
        for s in sockets:
            s.close()

    def start(self, name, program=harness.SOMA, flags=()):
        data = os.path.join(self.folder.path, name)
        if self.nodes and not os.path.exists(data):  # one cluster: the same keys everywhere
            other = next(n for n in self.nodes if n != name)
            shutil.copytree(os.path.join(self.folder.path, other, "keys"), os.path.join(data, "keys"))
        self.nodes[name] = self.folder.node("--listen", self.listen[name], *self.flags, *flags, "--kafka", self.kafka[name],
                                            "--node-id", name, command="node", data=data, env=self.env,
                                            program=program)
        return self.nodes[name]

    def urls(self, but=None):
        return [node.url for name, node in self.nodes.items() if name != but]

    @contextlib.contextmanager
    def frozen(self, name):
        """A zombie: what it sent before may still come."""
        pid = self.nodes[name].pid
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)
        check(self.nodes[name].process.poll() is None, "the thawed node ended")

    def owners(self, but=None):
        """Partitions by the node that serves them, as each says of itself."""
        found = {}
        for name, node in self.nodes.items():
            if name == but:
                continue
            answer = Client(node.url).call("GET", "/v1/admin/status")
            found[name] = {p["partition"] for p in answer.json["partitions"] if p["serving"]} if answer.status == 200 else set()
        return found

    def served(self, but=None):
        try:
            sets = list(self.owners(but).values())
        except harness.BROKEN:
            return []
        return sets if sum(map(len, sets)) == PARTITIONS and set().union(*sets) == set(range(PARTITIONS)) else []

    def wait_served(self, seconds, but=None):
        try:
            harness.wait_until("every partition has one owner", seconds, lambda: self.served(but), 0.1)
        except harness.Failure as failure:
            raise harness.Failure(f"{failure}, but {self.owners(but)}") from failure

    def wait_spread(self, seconds=40, but=None):
        def spread():
            sets = self.served(but)
            return bool(sets) and all(sets)
        harness.wait_until("every partition has one owner, and every node has some", seconds, spread, 0.1)


def settle(load, cluster, but=None):
    load.stop()
    load.retry_open(cluster.urls(but)[0], 40)
    load.check_ended("within 40 s")
    odd = [(r.kind, r.refused) for r in load.refused if (r.kind, r.refused) != ("message", 409)]  # a turn was running
    check(not odd, f"refused: {odd[:3]}")
    for url in cluster.urls(but):  # whichever node is asked again
        replay(load, url, random.sample(load.acked, min(20, len(load.acked))))


def replay(load, url, requests):
    deadline = time.monotonic() + 30
    while True:
        try:
            return load.check_replays(url, requests)
        except harness.Failure as failure:
            if ", then 503 " not in str(failure) or time.monotonic() > deadline:
                raise
            time.sleep(0.2)
