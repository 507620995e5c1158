#!/usr/bin/env python3
"""A data folder moves onto a real broker and back: equal chain heads, every acknowledged command, retries and all.

usage: kafka_migration_test.py [--requests N]
"""

import argparse
import json
import os
import shutil

import harness
from harness import check, gate
from workload import Workload


def heads(*where):
    code, out, err = harness.soma("log", "partitions", *where)
    check(code == 0, f"soma log partitions {where}: exit {code}\n{err}")
    return {p["partition"]: (p["records"], p["head"]) for p in map(json.loads, out.splitlines())}


def move(*args):
    code, out, err = harness.soma("log", *args, timeout=300)
    check(code == 0, f"soma log {' '.join(args)}: exit {code}\n{err}")
    check("every chain head is equal" in err, err)
    return [json.loads(line) for line in out.splitlines()]


def serve(folder, load, requests, *flags, **options):
    """A node that answers what was acknowledged before as it was answered, and takes more."""
    node = folder.node(*flags, **options).wait_ready(60)
    harness.wait_until("served", 40, lambda: harness.Client(node.url).call("GET", "/health/ready").status == 200)
    load.check_replays(node.url, load.acked[-50:])
    newcomer = harness.Client(node.url).call("POST", "/v1/sessions/start", {"prompt": "I am new here", "user": "new-" + os.urandom(4).hex()})
    check(newcomer.status in (200, 201, 202), f"a new person: {newcomer.status} {newcomer.body}")
    load.start(node.url)
    load.advance(requests)
    load.stop()
    load.retry_open(node.url)
    code, _ = node.terminate()
    check(code == 0, f"SIGTERM gave exit {code}")


def living(folder, kafka):
    """On the brokers, sealed data is read with its folder's keys, and without them a note says that it is not."""
    keyless = os.path.join(folder.path, "keyless")
    os.makedirs(keyless)
    where, with_keys, without = (folder.data, "--offline"), (folder.data, *kafka), (keyless, *kafka)

    def of(source, *words):
        code, out, err = harness.soma(*words, *source[1:], "-o", "json", data=source[0], timeout=300)
        check(code == 0, f"soma {words} of {source}: exit {code}\n{out}{err}")
        return out, err
    show = ("session", "show", json.loads(of(where, "session", "list", "--limit", "1")[0])["session_id"])
    there, (here, note) = of(where, *show)[0], of(with_keys, *show)
    check(here == there and "[erased]" not in here and json.loads(here)["turns"][0]["prompt"], f"{here}\nnot\n{there}")
    check("keys" not in note, f"a note for nothing: {note}")
    erased, note = of(without, *show)
    check("[erased]" in erased and note.count("has no keys") == 1, f"{erased}{note}")
    own, (moved, note) = json.loads(of(where, "replay")[0]), of(with_keys, "replay")
    counts = ("commands", "erased", "parked", "frames")
    check(json.loads(moved)["commands"] > 0 and [own[c] for c in counts] == [json.loads(moved)[c] for c in counts], moved)
    check(own["erased"] == 0 and "keys" not in note, f"{own} {note}")
    blind, note = of(without, "replay")
    check(json.loads(blind)["erased"] > 0 and "has no keys" in note, f"{blind}{note}")
    deep = json.loads(of(with_keys, "verify", "--deep")[0])
    check(deep["erased"] == 0 and deep["decided"] == own["commands"], f"{deep}")


def run():
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=150)
    requests = parser.parse_args().requests
    with harness.Brokers() as brokers, harness.Upstream() as upstream, harness.Folder() as folder:
        flags = (*upstream.flags, "--postgres", harness.NO_POSTGRES)
        kafka = ("--kafka", brokers.bootstrap)
        load = Workload(folder.path + "/acknowledged.log")
        node = folder.node(*flags).wait_ready(60)
        load.start(node.url)
        load.advance(requests)

        code, _, err = harness.soma("log", "import", "--from", folder.data, *kafka)
        check(code == 8 and str(node.pid) in err, f"a served folder was taken: exit {code} {err}")
        backup = os.path.join(folder.path, "backup")
        move("export", "--data-dir", folder.data, "--to", backup)  # of a running node: as it stood
        harness.verify_deep(backup)
        load.stop()
        load.retry_open(node.url)
        node.terminate()

        first = move("import", "--from", folder.data, *kafka)
        check(heads(*kafka) == heads("--data-dir", folder.data), "the heads differ")
        again = move("import", "--from", folder.data, *kafka)
        check(all(p["copied"] == 0 for p in again), f"copied twice: {again}")
        brokers.verify_deep()
        living(folder, kafka)

        code, _, err = harness.soma("dev", *flags, *kafka, data=folder.data)
        check(code != 0 and "belongs to the journal" in err, f"caches of another journal were taken: {err}")
        cluster = os.path.join(folder.path, "cluster")
        shutil.copytree(os.path.join(folder.data, "keys"), os.path.join(cluster, "keys"))
        serve(folder, load, requests, *flags, *kafka, data=cluster)
        load.check_journal(brokers.journal())

        code, _, err = harness.soma("log", "import", "--from", folder.data, *kafka)
        check(code == 8, f"an older journal was put over a newer one: exit {code} {err}")
        check(not os.path.exists(os.path.join(cluster, "keys", "vault", "subject.keys")), "keys stand in a node's folder still")
        home = os.path.join(folder.path, "home")
        code, _, err = harness.soma("log", "export", *kafka, "--to", home, data=os.path.join(folder.path, "keyless"), timeout=300)
        check(code != 0 and "master key" in err, f"exported without the keys of its data: exit {code} {err}")
        move("export", *kafka, "--to", home, "--data-dir", cluster)
        check(heads(*kafka) == heads("--data-dir", home), "the heads differ on the way back")
        shutil.copytree(os.path.join(folder.data, "keys"), os.path.join(home, "keys"), ignore=shutil.ignore_patterns("vault"),
                        dirs_exist_ok=True)
        serve(folder, load, requests, *flags, data=home)
        load.check_journal(harness.journal(home))
        check(harness.verify_deep(home)["erased"] == 0, "what was sealed on the cluster cannot be read at home")
        moved = sum(p["records"] for p in first)
        gate("R27.migration", f"{moved} records there and back, {len(load.acked)} acknowledged, 0 lost, 0 doubled",
             "equal heads", True)


if __name__ == "__main__":
    harness.main(run)
