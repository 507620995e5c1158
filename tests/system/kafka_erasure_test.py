#!/usr/bin/env python3
"""Crypto-shredding on a cluster: three nodes on a real broker and a PostgreSQL. After a person's erasure no byte of any node's folder,
of the views or of the broker's disk holds what was theirs, but for the public topics; the key itself is gone from the broker's disk; a
node that was away makes up for it before it serves, and until then the certificate says that it has not.
"""

import contextlib
import json
import os
import pwd
import shutil
import subprocess
import tempfile
import time

import harness
from cluster import NAMES, Cluster
from erasure_test import World, hits, words
from harness import Client, check, gate, soma, wait_until

SLOT = 128  # runtime/privacy/key_slot.cpp: head 4, id 16, who 32, sealed key 60
SEALED = slice(52, 112)


class Postgres:
    """A server of its own, as an operator's is."""

    def __init__(self):
        binaries = sorted(os.listdir("/usr/lib/postgresql"))[-1]
        self.bin = f"/usr/lib/postgresql/{binaries}/bin"
        self.account = pwd.getpwnam("postgres") if os.getuid() == 0 else None
        self.path = tempfile.mkdtemp(prefix="soma-pgsrv-")
        if self.account:
            os.chown(self.path, self.account.pw_uid, self.account.pw_gid)
        self.run("initdb", "-N", "-U", "soma", "-A", "trust", "-D", self.path + "/data")
        self.run("pg_ctl", "-D", self.path + "/data", "-l", self.path + "/log", "-w", "-o",
                 f"-c listen_addresses= -c unix_socket_directories={self.path} -c shared_buffers=32MB -c max_connections=60", "start")
        self.url = f"postgresql:///postgres?host={self.path}&user=soma"

    def run(self, program, *args):
        who = {"user": self.account.pw_uid, "group": self.account.pw_gid, "extra_groups": []} if self.account else {}
        done = subprocess.run([f"{self.bin}/{program}", *args], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", timeout=120,
                              check=False, **who)
        check(done.returncode == 0, f"{program} failed")

    def tables(self):
        """The folder of all tables, as it is on the disk."""
        self.run("psql", "-X", "-h", self.path, "-U", "soma", "-d", "postgres", "-c", "CHECKPOINT")
        return os.path.join(self.path, "data", "base")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(harness.Failure):
            self.run("pg_ctl", "-D", self.path + "/data", "-m", "immediate", "stop")
        shutil.rmtree(self.path, ignore_errors=True)


class Shared(World):
    """Three nodes; what a person does goes to any of them."""

    def __init__(self, folder, upstream, brokers, postgres):  # pylint: disable=super-init-not-called
        self.folder, self.upstream, self.brokers, self.postgres, self.lives = folder, upstream, brokers, postgres, 0
        self.cluster = Cluster(folder, (*upstream.flags, "--postgres", postgres.url, "--kafka-compression", "none", "--erasure-two-keys", "true"), brokers.bootstrap)
        for name in NAMES:
            self.cluster.start(name).wait_ready(60)
        self.cluster.wait_spread()
        self.at("a")

    def at(self, name):
        self.node = self.cluster.nodes[name]
        self.admin = self.client("admin")
        return self

    def data(self, name):
        return os.path.join(self.folder.path, name)

    def client(self, sub, cap="*", tenant="demo"):
        code, out, err = soma("auth", "token", "--tenant", tenant, "--sub", sub, "--cap", cap, "--ttl", "2h", "-o", "json",
                              data=self.data("a"))
        check(code == 0, err)
        return Patient(self.node.url, json.loads(out)["token"])

    def restart(self, *names):
        for name in names:
            code, _ = self.cluster.nodes[name].terminate()
            check(code == 0, f"exit {code} of {name}")
            self.cluster.start(name).wait_ready(60)
        self.cluster.wait_served(40)

    def snapshots(self):
        """All memory into snapshots: a node that stops writes what it has."""
        self.restart(*NAMES)
        self.cluster.wait_spread()
        self.at("a")
        self.views()

    def certificate(self, erasure, ready, seconds=120):
        return wait_until("the certificate", seconds, lambda: (lambda a: a.status == 200 and ready(a.json) and a.json)(
            self.admin.call("GET", f"/v1/tenants/demo/erasures/{erasure}")), 0.2)

    def found(self, canaries, but=()):
        """Where the words are: nodes' folders, tables, the broker's topics; but for the public ones, whose names have no prefix."""
        out = {"node " + name: hits(self.data(name), canaries) for name in NAMES if name not in but}
        out["tables"] = hits(self.postgres.tables(), canaries)
        broker = hits(self.brokers.path, canaries)
        out["broker"] = {path: w for path, w in broker.items() if path.split(os.sep)[-2].startswith(("soma.", "__", "data"))}
        return {where: w for where, w in out.items() if w}

    def keys_on_disk(self):
        """{key id: its bytes under the master key}, of all that stand in a file of the broker."""
        found = {}
        for path, _, names in os.walk(self.brokers.path):
            for name in names:
                if "soma.keys-0" not in path or not name.endswith((".log", ".deleted", ".cleaned", ".swap")):
                    continue
                with contextlib.suppress(OSError), open(os.path.join(path, name), "rb") as f:
                    data = f.read()
                    at = data.find(b"key/")
                    while at >= 0:
                        value = data[at + 38:at + 38 + SLOT]  # "key/", 32 digits, two bytes of length
                        if value[:1] == b"\x01":
                            found[data[at + 4:at + 36].decode()] = value[SEALED]
                        at = data.find(b"key/", at + 1)
        return found

    def notes_on_disk(self, erasure):
        """How many versions of an erasure's note stand in files of the broker."""
        count = 0
        for path, _, names in os.walk(self.brokers.path):
            for name in names:
                if "soma.keys-0" in path and name.endswith((".log", ".deleted", ".cleaned", ".swap")):
                    with contextlib.suppress(OSError), open(os.path.join(path, name), "rb") as f:
                        count += f.read().count(b"note/erasure/" + erasure.encode())
        return count


class Patient(Client):
    """While the log is read again, and partitions move, answers are 503 for a moment."""

    def call(self, method, path, body=None, key=None, headers=None):
        return wait_until("an answer", 60, lambda: (lambda a: a.status != 503 and a)(
            super(Patient, self).call(method, path, body, key, headers)), 0.1)


def erased_everywhere(world):
    world.at("b")
    bob, ana = world.live("bob"), world.live("ana")
    acme = world.at("c").live("ana", "acme")
    export = world.ok(world.admin, "GET", f"/v1/sessions/{ana}/export").body
    world.snapshots()
    mine, others = list(words("ana").values()), [list(words(name).values()) for name in ("bob", "acme")]
    before = world.found(mine)
    check("tables" in before and any(where.startswith("node") for where in before), f"the words are not where they should be: {before}")
    check("broker" not in before, f"the broker holds personal data in clear: {before}")
    keys = world.keys_on_disk()
    check(len(keys) >= 3 and len(set(keys.values())) == len(keys), f"keys in the topic: {len(keys)}")

    began = time.monotonic()
    asked = world.ok(world.at("c").admin, "POST", "/v1/tenants/demo/erase-subject", {"subject": "ana"}).json
    done = world.at("a").certificate(asked["erasure_id"], lambda c: c["status"] == "done" and c["complete"])
    seconds = time.monotonic() - began
    check(done["key_ids"] and set(done["key_ids"]) <= set(keys), f"{done['key_ids']} of {list(keys)}")
    raw = {keys[k]: k for k in done["key_ids"]}
    for path, _, names in os.walk(world.brokers.path):
        for name in names:
            with contextlib.suppress(OSError), open(os.path.join(path, name), "rb") as f:
                data = f.read()
                check(not any(sealed in data for sealed in raw), f"{path}/{name} holds a destroyed key")
    gate("S18.cluster.time", f"{seconds:.1f} s to the complete certificate", "60 s", seconds <= 60)
    after = world.found(mine)
    gate("S18.cluster", f"{len(after)} places with words of the erased, of {len(NAMES)} nodes, tables and a broker", "0 places", not after)
    check({n["node_id"]: n["state"] for n in done["nodes"]} == dict.fromkeys(NAMES, "dropped") and done["waits_for"] == [], f"{done}")
    check(done["clear_values"] == 0 and done["sealed_entries"] > 5 and done["certificate"].count(".") == 2, f"{done}")
    wait_until("what the request's note said is gone from the broker's disk", 90, lambda: world.notes_on_disk(asked["erasure_id"]) == 1)
    check(set(world.keys_on_disk()) >= set(keys) - set(done["key_ids"]), "keys of others are gone")
    for name in NAMES:
        here = world.at(name)
        check(done == here.ok(here.admin, "GET", f"/v1/tenants/demo/erasures/{asked['erasure_id']}").json, f"{name} tells another certificate")
        state = here.ok(here.admin, "GET", f"/v1/sessions/{ana}").json
        check(state["turns"][0]["prompt"] == "[erased]", f"{name}: {state}")
        for person, session, texts, tenant in (("bob", bob, others[0], "demo"), ("ana", acme, others[1], "acme")):
            shown = here.ok(here.client(person, tenant=tenant), "GET", f"/v1/sessions/{session}").body
            check(texts[0] in shown and texts[1] in shown, f"{name}: {person} of {tenant} lost data")
        found = here.ok(here.admin, "POST", "/v1/recall", {"query": words("ana")["memory"]}).body
        check(not any(w in found.replace('"query"', "") for w in mine if w != words("ana")["memory"]), f"{name} recalls: {found}")
        refused = here.admin.call("POST", "/v1/sessions/import", {"export": export})
        check(refused.status == 409 and asked["erasure_id"] in refused.json["detail"], f"{name} takes it back: {refused.status}")
    verified(world)
    return mine


def verified(world):
    code, out, err = soma("verify", "--deep", "--kafka", world.brokers.bootstrap, data=world.data("a"))
    report = json.loads(out)
    check(code == 0 and report["ok"] and report["erased"] > 5 and report["decided"] > 5, f"verify: {out}{err}")
    views = world.ok(world.admin, "GET", "/v1/admin/projections/verify").json
    check(views["ok"], f"the views are not the fold of the log: {views}")


def erased_while_one_is_away(world):
    world.at("a").live("eve")
    world.snapshots()
    mine = [*words("eve").values(), "zqeve"]
    check(hits(world.data("c"), mine) or hits(world.data("b"), mine), "nobody has a snapshot of hers")
    away = "c" if hits(world.data("c"), mine) else "b"
    world.cluster.nodes[away].kill()
    here = world.at("a")
    world.cluster.wait_served(40, but=away)
    asked = here.ok(here.admin, "POST", "/v1/tenants/demo/erase-subject", {"subject": "eve"}).json["erasure_id"]
    done = here.certificate(asked, lambda c: c["status"] == "done")
    check(not done["complete"] and done["waits_for"] == [away], f"a node that is away is not told of: {done}")
    check(hits(world.data(away), mine), "the folder of the node that is away was cleaned by somebody")
    check(not world.found(mine, but=(away,)), f"left: {world.found(mine, but=(away,))}")

    world.cluster.start(away).wait_ready(60)
    found = world.found(mine)
    check(not found, f"the node serves with what it slept through: {found}")
    renewed = here.certificate(asked, lambda c: c["complete"])
    check(renewed["waits_for"] == [] and renewed["erased_at"] == done["erased_at"] and renewed["certificate"] != done["certificate"], f"{renewed}")
    world.cluster.wait_served(40)
    verified(world)
    return mine


def carried_on(world):
    """The node that carries an erasure out is killed: another goes on."""
    world.at("a").live("kim")
    mine = list(words("kim").values())
    owners = world.cluster.owners()
    carrier = next(name for name in NAMES if 0 in owners[name])
    asker = next(name for name in NAMES if name != carrier)
    here = world.at(asker)
    asked = here.ok(here.admin, "POST", "/v1/tenants/demo/erase-subject", {"subject": "kim"}).json["erasure_id"]
    wait_until("it is under way", 20, lambda: "subject.erased" in here.admin.call(
        "GET", "/v1/actors/identity/identity/history?limit=100").body and asked in here.admin.call(
        "GET", "/v1/actors/identity/identity/history?limit=100").body, 0.05)
    world.cluster.nodes[carrier].kill()
    done = here.certificate(asked, lambda c: c["status"] == "done", 180)
    check(done["waits_for"] in ([], [carrier]), f"{done}")
    world.cluster.start(carrier).wait_ready(60)
    here.certificate(asked, lambda c: c["complete"])
    check(not world.found(mine), f"left: {world.found(mine)}")
    world.cluster.wait_served(40)
    verified(world)


def with_two_keys(world):
    """Asked at one node, told at another, approved at the third; what is rejected is forgotten by all."""
    world.at("a")
    world.ok(world.client("root", tenant="acme"), "PUT", "/v1/tenants/acme", {"deployment_mode": "production"})

    def ask(key):
        asked = world.ok(world.at("a").client("root", tenant="acme"), "POST", "/v1/tenants/acme/erase-subject", {"subject": "ana"}, key=key).json
        check(asked["status"] == "pending_approval", f"{asked}")
        return asked["erasure_id"], f"/v1/tenants/acme/erasures/{asked['erasure_id']}", f"/v1/approvals/{asked['approval_id']}"

    mine = list(words("acme").values())
    _, told, approval = ask("no")
    bob = world.at("b").client("bob", tenant="acme")
    shown = wait_until("another node tells of it", 20, lambda: (lambda a: a.status == 200 and a.json)(bob.call("GET", told)))
    check(shown["status"] == "pending_approval" and shown["subject"] == "ana", f"{shown}")
    world.ok(world.at("c").client("bob", tenant="acme"), "POST", approval + "/reject", {"reason": "no"})
    wait_until("it is forgotten", 90, lambda: bob.call("GET", told).status == 404, 0.2)
    check("tables" in world.found(mine), "erased though it was rejected")

    _, told, approval = ask("yes")
    world.ok(world.at("c").client("bob", tenant="acme"), "POST", approval + "/approve", {})
    done = wait_until("the certificate", 90, lambda: (lambda a: a.status == 200 and a.json.get("complete") and a.json)(bob.call("GET", told)), 0.2)
    check(done["approved_by"] == "bob", f"{done}")
    check(not world.found(mine), f"left: {world.found(mine)}")
    return mine


def test():
    with harness.Brokers() as brokers, harness.Upstream() as upstream, Postgres() as postgres, harness.Folder() as folder:
        world = Shared(folder, upstream, brokers, postgres)
        gone = erased_everywhere(world)
        gone += erased_while_one_is_away(world)
        gone += with_two_keys(world)
        carried_on(world)
        world.restart(*NAMES)
        check(not world.found(gone), f"found after a restart: {world.found(gone)}")
        logs = "".join(node.log() for node in folder.nodes)
        check(not any(word in logs for word in gone if word != "zqeve"), "a node's log holds personal data")


if __name__ == "__main__":
    harness.main(test)
