#!/usr/bin/env python3
"""Audit as auditors meet it: heads, proofs and bundles of a real node, judged by two verifiers that must agree.

Every change of a bundle that is tried must be found by both, at the same line and record (S13).
"""

import copy
import http.client
import importlib.util
import io
import json
import os
import random
import resource
import subprocess
import sys
import time

import harness
from harness import check, gate, soma

VERIFY = os.path.join(harness.BUILD, "tools", "soma-verify")
PYTHON = os.path.join(harness.ROOT, "tools", "verify_bundle.py")
VECTORS = os.path.join(harness.ROOT, "tests", "vectors", "audit")
FLIPS = int(os.environ.get("FLIPS", "150"))

spec = importlib.util.spec_from_file_location("verify_bundle", PYTHON)
second = importlib.util.module_from_spec(spec)
spec.loader.exec_module(second)


def judge(data, key):
    """The one answer of both verifiers."""
    done = subprocess.run([VERIFY, "-", "--key", key, "--json"], input=data, capture_output=True, check=False)
    first = json.loads(done.stdout)
    check(done.returncode == (0 if first["ok"] else 9), f"soma-verify: exit {done.returncode}, says {first}")
    other = second.check(io.BytesIO(data), [key])
    check(first == other, f"the verifiers differ:\n{first}\n{other}")
    return first


def timed(took, name, run):
    """Runs a program; what it took goes into `took`: {name: (seconds, CPU seconds)}."""
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(run, capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    took[name] = (time.monotonic() - began, cpu)
    return done


def judge_kept(path, key, *heads, took=None):
    """As judge(), of files, with heads that an auditor kept."""
    words = [path, "--key", key, *(word for head in heads for word in ("--head", head))]
    took = {} if took is None else took
    first = timed(took, "soma-verify", [VERIFY, "--json", *words])
    other = timed(took, "verify_bundle.py", [sys.executable, "-B", PYTHON, *words])
    check(first.returncode == other.returncode and json.loads(first.stdout) == json.loads(other.stdout),
          f"the verifiers differ:\n{first.stdout}\n{other.stdout}")
    return json.loads(first.stdout)


def kept_heads(folder, key, head, foreign_head):
    """A head that was given away long ago is the root of a prefix, or the bundle is refused."""
    def file(name, text):
        path = os.path.join(folder.path, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return path
    bundle = os.path.join(folder.path, "demo.audit")
    good = judge_kept(bundle, key, file("kept.json", json.dumps({"head": head})), file("kept.jws", head + "\n"))
    check(good["ok"] and good["older_heads"] == 3, f"kept heads: {good}")
    bad = judge_kept(bundle, key, file("foreign.jws", foreign_head))
    check(bad["bad"]["reason"] == "older_head" and bad["bad"]["line"] == 0, f"another tenant's head: {bad}")
    vector = os.path.join(VECTORS, "demo.audit")
    with open(os.path.join(VECTORS, "cases.json"), encoding="utf-8") as f:
        other_key = json.load(f)["key"]
    check(judge_kept(vector, "-" + "A" * 42)["bad"]["reason"] == "key", "a key id that begins with -")
    check(judge_kept(vector, other_key, file("kept.jws", head))["bad"]["reason"] == "older_head", "another key's head")


def record_lines(lines):
    return [n for n, line in enumerate(lines) if line.startswith(b'{"at":')]


def place(line):
    partition, index = json.loads(line)["at"].split(" ")[:2]
    return int(partition), int(index)


def found_at(report, line, reason=None):
    check(not report["ok"], "a change was not found")
    bad = report["bad"]
    check((bad["partition"], bad["index"]) == place(line), f"first bad record {bad}, not {place(line)}")
    check(reason is None or bad["reason"] == reason, f"{bad['reason']}, not {reason}")


def changes(lines, key, foreign):
    """Every kind of change; returns how many were made, all of which were found."""
    records, tried = record_lines(lines), 0
    for n in random.sample(records, min(8, len(records))):
        line = lines[n]
        found_at(judge(b"".join(lines[:n] + lines[n + 1:]), key), line, "record_missing")
        doubled = judge(b"".join(lines[:n] + [line] + lines[n:]), key)
        check(not doubled["ok"], "a record stands twice")
        if n + 1 in records:
            found_at(doubled, lines[n + 1], "record_missing")
            found_at(judge(b"".join(lines[:n] + [lines[n + 1], line] + lines[n + 2:]), key), line, "record_missing")
        entry = json.loads(line)
        raw = bytearray(second.unbase64(entry["entry"]))
        raw[random.randrange(len(raw))] ^= 1 << random.randrange(8)
        replaced = copy.copy(entry)
        replaced["entry"] = second.base64.urlsafe_b64encode(bytes(raw)).rstrip(b"=").decode()
        changed = json.dumps(replaced, separators=(",", ":")).encode() + b"\n"
        found_at(judge(b"".join(lines[:n] + [changed] + lines[n + 1:]), key), line, "record_changed")
        found_at(judge(b"".join(lines[:n]), key), line, "record_missing")
        tried += 5
    for n in random.choices(records, k=FLIPS):
        at = random.randrange(len(lines[n]) - 1)
        changed = bytearray(lines[n])
        changed[at] ^= 1 << random.randrange(8)
        found_at(judge(b"".join(lines[:n] + [bytes(changed)] + lines[n + 1:]), key), lines[n])
        tried += 1
    whole = b"".join(lines)
    for _ in range(FLIPS):
        at = random.randrange(len(whole))
        changed = bytearray(whole)
        changed[at] ^= 1 << random.randrange(8)
        check(not judge(bytes(changed), key)["ok"], f"a flipped bit at byte {at} was not found")
        tried += 1
    head = next(n for n, line in enumerate(lines) if line.startswith(b'{"head":'))
    foreign_head = next(line for line in foreign if line.startswith(b'{"head":'))
    check(judge(b"".join(lines[:head] + [foreign_head] + lines[head + 1:]), key)["bad"]["reason"] == "head",
          "another tenant's head was taken")
    for changed, reason in ((lines[:-1], "truncated"), (lines + lines[-1:], "trailing"),
                            (lines[:-1] + foreign[-1:], "end")):
        check(judge(b"".join(changed), key)["bad"]["reason"] == reason, f"not {reason}")
        tried += 1
    return tried + 1


def export(data, tenant, path):
    code, _, err = soma("audit", "export", "--offline", "--tenant", tenant, "--out", path, data=data)
    check(code == 0, f"export: {err}")
    with open(path, "rb") as f:
        return f.readlines()


def talk(client, times):
    for n in range(times):
        started = client.call("POST", "/v1/sessions/start", {"prompt": f"question {n}"})
        check(started.status == 202, started.body)
        session = started.json["session_id"]
        client.call("GET", f"/v1/sessions/{session}/stream")
    return session


def proofs(client, other, key, session):
    events = client.call("GET", f"/v1/sessions/{session}/events").json["items"]
    for event in events:
        answer = client.call("GET", f"/v1/audit/proof/{event['event_id']}")
        check(answer.status == 200, answer.body)
        report = judge(answer.body.encode(), key)
        check(report["ok"] and report["event_id"] == event["event_id"], f"{report}")
        proof = answer.json
        check(proof["position"] == event["position"], f"{proof['position']} is not {event['position']}")
        hidden = other.call("GET", f"/v1/audit/proof/{event['event_id']}")
        missing = other.call("GET", "/v1/audit/proof/evt_000000000000000000000000")
        check(hidden.status == 404 and missing.status == 404, "another tenant's event was proved")
        for field in ("at", "entry", "head", "event_id", "position"):
            changed = dict(proof)
            changed[field] = proof[field].replace(proof[field][len(proof[field]) // 2], "7A"[random.randrange(2)]) + "1"
            check(not judge(json.dumps(changed).encode(), key)["ok"], f"a changed {field} was not found")


def vectors():
    """Files of an earlier build, and changes of them with the answers that were right then."""
    with open(os.path.join(VECTORS, "cases.json"), encoding="utf-8") as f:
        cases = json.load(f)
    with open(os.path.join(VECTORS, "demo.audit"), "rb") as f:
        lines = f.readlines()
    for case in cases["cases"]:
        changed = [lines[n] if isinstance(n, int) else n.encode() + b"\n" for n in case["lines"]]
        for line, byte, bits in case.get("flips", []):
            one = bytearray(changed[line])
            one[byte] ^= bits
            changed[line] = bytes(one)
        got = judge(b"".join(changed), cases["key"])
        bad = got["bad"] and {k: got["bad"][k] for k in ("line", "partition", "index", "reason")}
        check(bad == case["bad"], f"{case['name']}: {bad}, not {case['bad']}")
    return len(cases["cases"])


def rotated(folder, flags):
    """After a rotation heads, proofs and bundles are the new key's; what the old one signed is left out."""
    node = folder.node(*flags).wait_ready()
    client = harness.Client(node.url)
    new = client.call("POST", "/v1/tokens/rotate", {"at_once": True})
    check(new.status == 200, new.body)
    new = new.json["key_id"]
    check(client.call("POST", "/v1/audit/head").json["key"] == new, "a head signed with the key that was replaced")
    for _ in range(2):
        talk(client, 1)
        report = judge(client.call("POST", "/v1/audit/export").body.encode(), new)
        check(report["ok"], f"a bundle after a rotation: {report}")
    check(report["older_heads"] == 1, f"the new key's head is not in its bundle: {report}")
    node.terminate()
    check(judge(b"".join(export(folder.data, "demo", os.path.join(folder.path, "rotated.audit"))), new)["ok"], "the folder's bundle")


def fill(client):
    """Records whose bundle is larger than one answer once could be (64 MiB)."""
    text = "x" * 60_000
    for n in range(1000):
        done = client.call("POST", "/v1/remember", {"text": f"{n} {text}"})
        check(done.status in (200, 202), done.body)


def streams(client, node, key):
    """The bundle of a filled folder: the node, new and otherwise idle, holds none of it, however slowly it is read."""
    def resident():
        with open(f"/proc/{node.pid}/status", encoding="ascii") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("VmRSS")) // 1024
    used = [-1.0]

    def idle():  # it has read behind its start what it reads then
        used.append(harness.cpu_seconds(node.pid))
        return used[-1] - used[-2] < 0.03

    harness.wait_until("the node does nothing else", 60, idle, 0.5)
    connection = http.client.HTTPConnection(*node.url.removeprefix("http://").split(":"), timeout=120)
    before = resident()
    connection.request("POST", "/v1/audit/export")
    answer = connection.getresponse()
    check(answer.status == 200 and answer.headers["Content-Type"].startswith("application/x-ndjson"), f"{answer.status} {answer.headers}")
    check(answer.headers["Transfer-Encoding"] == "chunked", "it is not a stream")
    whole, most = [], before
    while block := answer.read(4 << 20):
        whole.append(block)
        most = max(most, resident())
    whole = b"".join(whole)
    check(len(whole) > 80_000_000, f"{len(whole)} bytes are too few to tell")
    check(most - before < 40, f"the node grew by {most - before} MiB while {len(whole) >> 20} MiB were read")
    check(judge(whole, key)["ok"], "the streamed bundle")
    # Who leaves in the middle holds up nobody.
    for _ in range(6):
        connection = http.client.HTTPConnection(*node.url.removeprefix("http://").split(":"), timeout=120)
        connection.request("POST", "/v1/audit/export")
        connection.getresponse().read(1000)
        connection.close()
    check(client.call("POST", "/v1/audit/head").status == 200, "a head beside exports")
    def again():
        answer = client.call("POST", "/v1/audit/export")
        check(answer.status in (200, 503), f"{answer.status}")
        return answer.status == 200 and answer
    check(judge(harness.wait_until("an export after those", 60, again, 0.2).body.encode(), key)["ok"], "after those who left")
    return most - before, len(whole)


def of_many(count):
    """A chain of `count` events: whole by both verifiers; then changed at a few places, found by both, in the same record.

    Ours must take at most 10 s for a million (G6).
    """
    with harness.Folder() as folder:
        bench = os.path.join(harness.BUILD, "tests", "bench", "audit_bench")
        done = subprocess.run([bench, str(count), "--keep", folder.path], capture_output=True, text=True, check=True)
        key = json.loads(done.stdout.splitlines()[0])["key"]
        bundle = os.path.join(folder.path, "bundle")
        took = {}
        whole = judge_kept(bundle, key, took=took)
        check(whole["ok"] and whole["records"] == count, f"{whole}")
        for name, (seconds, cpu) in took.items():
            print(f"{name}: {count} records in {seconds:.1f} s, {cpu:.1f} s of CPU", flush=True)
        with open(bundle, "rb") as f:
            lines = f.readlines()
        records = record_lines(lines)
        changed = os.path.join(folder.path, "changed")
        for at in (records[0], records[len(records) // 2], records[-1], random.choice(records)):
            line = lines[at]
            middle = line.index(b'"entry":') + 20 if b'"entry":' in line else len(line) // 2
            other = line[:middle] + (b"A" if line[middle:middle + 1] != b"A" else b"B") + line[middle + 1:]
            with open(changed, "wb") as f:
                f.writelines([*lines[:at], other, *lines[at + 1:]])
            found_at(judge_kept(changed, key), line)
        gate("S13", f"4/4 changes of a chain of {count} records by both verifiers", "all, first bad record exact", True)
        seconds, _ = took["soma-verify"]
        gate("G6", f"{seconds:.1f} s for {count} records", "10 s", seconds <= 10 * max(1, count / 1e6))


def test():
    if "--records" in sys.argv:
        return of_many(int(sys.argv[sys.argv.index("--records") + 1]))
    with harness.Folder() as folder, harness.Upstream() as upstream:
        flags = (*upstream.flags, "--postgres", harness.NO_POSTGRES)
        node = folder.node(*flags).wait_ready()
        client = harness.Client(node.url)
        token = soma("auth", "token", "--tenant", "acme", "--sub", "ann", "--cap", "*", data=folder.data)[1]
        token = json.loads(token)["token"] if token.startswith("{") else token.strip()
        other = harness.Client(node.url, token)
        talk(client, 4)
        check(other.call("POST", "/v1/remember", {"text": "the moon is acme's"}).status in (200, 202), "remember")
        first = client.call("POST", "/v1/audit/head")
        check(first.status == 200, first.body)
        key = first.json["key"]
        session = talk(client, 3)
        proofs(client, other, key, session)
        heads = client.call("GET", "/v1/audit/head").json["items"]
        check(len(heads) == 1 and heads[0]["head"] == first.json["head"], f"heads: {heads}")
        over_http = client.call("POST", "/v1/audit/export")
        check(over_http.status == 200, over_http.body)
        report = judge(over_http.body.encode(), key)
        check(report["ok"] and report["older_heads"] == 1 and report["records"] > 20, f"{report}")
        check("the moon is acme" not in over_http.body, "another tenant's words")
        lacking = soma("auth", "token", "--tenant", "void", "--sub", "ann", "--cap", "*", data=folder.data)[1].strip()
        nothing = harness.Client(node.url, lacking).call("POST", "/v1/audit/export")
        check(nothing.status == 404, f"nothing recorded: {nothing.status} {nothing.body}")
        code, out, err = soma("audit", "export", "--server", node.url)
        check(code == 0 and judge(out.encode(), key)["ok"], f"the command, of a node: {code} {err}")
        node.terminate()
        lines = export(folder.data, "demo", os.path.join(folder.path, "demo.audit"))
        foreign = export(folder.data, "acme", os.path.join(folder.path, "acme.audit"))
        check(judge(b"".join(lines), key)["records"] >= report["records"], "the folder's bundle holds less")
        check(judge(b"".join(foreign), key)["ok"], "the other tenant's bundle")
        kept_heads(folder, key, first.json["head"],
                   next(json.loads(line)["head"] for line in foreign if line.startswith(b'{"head":')))
        tried = changes(lines, key, foreign)
        stranger = second.thumbprint(bytes(range(32)))
        check(judge(b"".join(lines), stranger)["bad"]["reason"] == "key", "a stranger's key was taken")
        code, out, _ = soma("audit", "verify", os.path.join(folder.path, "demo.audit"), data=folder.data)
        check(code == 0 and json.loads(out)["ok"], out)
        known = vectors()
        rotated(folder, flags)
        with harness.Folder() as large:
            node = large.node(*flags).wait_ready()
            client = harness.Client(node.url)
            talk(client, 1)
            fill(client)
            # The memory of its snapshots is not what is measured.
            check(node.terminate()[0] == 0, "exit code")
            node = large.node(*flags).wait_ready()
            client = harness.Client(node.url)
            grew, size = streams(client, node, client.call("POST", "/v1/audit/head").json["key"])
            check(node.terminate()[0] == 0, "exit code")
        print(f"a bundle of {size >> 20} MiB was streamed, and the node grew by {grew} MiB")
        gate("S13", f"{tried}/{tried} changes and {known} vectors by both verifiers", "all, first bad record exact", True)


if __name__ == "__main__":
    harness.main(test)
