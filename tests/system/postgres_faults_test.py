#!/usr/bin/env python3
"""PostgreSQL under a node that is written to: immediate restarts, terminated connections, connections that are reset when a
commit has happened and nobody was told. Commands go on, the rows are at last what the journal makes, and soon after each fault.

usage: postgres_faults_test.py [--restarts N] [--terminations N] [--resets N]
"""

import argparse
import random
import time

import harness
from harness import Client, check, gate, wait_until
from postgres_server import Server
from sick_gate import SickGate
from workload import Workload

COMMITTED = b"C\0\0\0\x0bCOMMIT\0"  # CommandComplete of the protocol: type, length, tag
SOON_S = 5


class CommitGate(SickGate):
    """A way to PostgreSQL. Once armed, the connection whose commit is answered next is reset without the answer."""

    def __init__(self, path):
        self.resets, self._armed = 0, False
        super().__init__(path)

    def arm(self):
        self._armed = True

    async def _reply(self, far_reader, writer):
        while data := await far_reader.read(65536):
            if self._armed and COMMITTED in data:
                self._armed = False
                self.resets += 1
                writer.transport.abort()
                return
            await self._write(writer, data)


def caught_up(client, position):
    """Whether lists hold what is at the position."""
    answer = client.call("GET", "/v1/sessions?limit=1", headers={"Soma-Position": position})
    check(answer.status in (200, 503, 504), f"list: {answer.status} {answer.body}")
    return answer.status == 200


def faults(options, server, way):
    """What befalls it, in any order: (name, work)."""
    def reset():
        before = way.resets
        way.arm()
        wait_until("a commit", 30, lambda: way.resets > before)

    found = [("restart", server.restart)] * options.restarts + [("termination", server.terminate)] * options.terminations + \
            [("reset after a commit", reset)] * options.resets
    random.shuffle(found)
    return found


def rows_are_right(client):
    """They are what a verification and a rebuild make of the journal."""
    wait_until("no lag", 60, lambda: client.call("GET", "/v1/admin/projections/lag").json.get("lag_frames") == 0, 0.1)
    proof = client.call("GET", "/v1/admin/projections/verify")
    check(proof.status == 200 and proof.json["ok"], f"verify: {proof.status} {proof.body[:500]}")
    state = client.call("GET", "/v1/admin/projections").json
    digest = client.call("GET", "/v1/admin/projections/digest").json["digest"]
    check(client.call("POST", "/v1/admin/projections/rebuild", {}).status == 202, "no rebuild")
    wait_until("the rebuild", 60, lambda: client.call("GET", "/v1/admin/projections").json["rebuild"]["done"] > state["rebuild"]["done"], 0.1)
    check(client.call("GET", "/v1/admin/projections/digest").json["digest"] == digest, "rows differ from a rebuild")


def run():
    parser = argparse.ArgumentParser()
    parser.add_argument("--restarts", type=int, default=3)
    parser.add_argument("--terminations", type=int, default=6)
    parser.add_argument("--resets", type=int, default=6)
    options = parser.parse_args()
    with harness.Upstream() as upstream, harness.Folder() as folder:
        server = Server(folder, upstream)
        with CommitGate(server.socket()) as way:
            node = folder.node(*upstream.flags, "--postgres", server.url(way.port)).wait_ready()
            client, load, slowest = Client(node.url), Workload(folder.path + "/acknowledged.log", clients=2), {}
            load.start(node.url)
            load.advance(20)
            for name, strike in faults(options, server, way):
                strike()
                began, position = time.monotonic(), load.acked[-1].answer[2]
                wait_until(f"the lists after a {name}", 60, lambda at=position: caught_up(client, at))
                slowest[name] = max(slowest.get(name, 0.0), time.monotonic() - began)
                load.advance(3)
            load.stop()
            check(not load.open, f"a command noticed: {load.open[:1] and load.open[0].last}")
            rows_are_right(client)
            check(node.terminate()[0] == 0, "exit code")
        harness.verify_deep(folder.data)
        longest = max(slowest.values(), default=0.0)
        gate("R14", f"{options.restarts} restarts, {options.terminations} terminations, {way.resets} resets after COMMIT: {len(load.acked)} "
             f"commands went on, rows as a rebuild makes them, lists back within {longest:.1f} s "
             f"({', '.join(f'{n} {s:.1f}' for n, s in sorted(slowest.items()))})", f"{SOON_S} s", longest <= SOON_S)


if __name__ == "__main__":
    harness.main(run)
