#!/usr/bin/env python3
"""Crypto-shredding: after a person's erasure no byte of any store holds what was theirs, and all else stands.

Everything that can hold data is on: a private PostgreSQL, snapshots, the memory index, recorded answers, profiles.
Every byte of every file of the data folder is looked through, before (it must be found) and after (it must not).
"""

import json
import os
import time

import audit_test
import harness
from harness import Client, Folder, Upstream, check, gate, soma, wait_until


def words(person):
    """Texts of a person, each found nowhere else."""
    return {kind: f"canary{kind}zq{person}{n}" for n, kind in
            enumerate(("prompt", "answer", "memory", "meta", "mail", "name", "infer", "session", "persona"))}


def files(folder):
    for path, _, names in os.walk(folder):
        for name in names:
            yield os.path.join(path, name)


def hits(folder, canaries):
    """{file: words found}, over every byte of every file."""
    found = {}
    for path in files(folder):
        try:
            with open(path, "rb") as f:
                data = f.read()
        except OSError:  # gone meanwhile
            continue
        here = [word for word in canaries if word.encode() in data]
        if here:
            found[os.path.relpath(path, folder)] = here
    return found


def stores_of(found):
    return {path.split(os.sep)[0] for path in found}


class World:
    def __init__(self, folder, upstream):
        self.folder, self.upstream, self.lives = folder, upstream, 0
        self.start()

    def start(self):
        self.node = self.folder.node(*self.upstream.flags).wait_ready()
        self.admin = self.client("admin", "*")

    def client(self, sub, cap="*", tenant="demo"):
        token = soma("auth", "token", "--tenant", tenant, "--sub", sub, "--cap", cap, "--ttl", "2h", data=self.folder.data)[1]
        token = json.loads(token)["token"] if token.startswith("{") else token.strip()
        return Client(self.node.url, token)

    def ok(self, client, method, path, body=None, status=(200, 201, 202), **more):
        answer = client.call(method, path, body, **more)
        check(answer.status in status, f"{method} {path}: {answer.status} {answer.body[:300]}")
        return answer

    def live(self, person, tenant="demo"):
        """A person does everything that leaves traces; returns the session."""
        self.lives = n = self.lives + 1
        w = words(person if tenant == "demo" else tenant)
        me = self.client(person, tenant=tenant)
        self.upstream.script({"tokens": ["It ", "is ", w["answer"], "."]})
        session = self.ok(me, "POST", "/v1/sessions/start",
                          {"prompt": w["prompt"], "metadata": {"topic": w["meta"]}, "persona": w["persona"]},
                          key=f"start{n}").json["session_id"]
        wait_until("the turn's end", 30, lambda: self.ok(me, "GET", f"/v1/sessions/{session}").json["status"]
                   == "completed")
        self.ok(me, "POST", "/v1/remember", {"text": "I say " + w["memory"], "tags": [w["meta"]],
                                             "metadata": {"k": w["meta"]}}, key=f"remember{n}")
        self.ok(me, "POST", "/v1/infer_sync", {"prompt": w["infer"], "max_tokens": 8}, key=f"infer{n}")
        self.ok(me, "PUT", f"/v1/users/{person}", {"name": w["name"], "email": w["mail"] + "@example.com",
                                                   "capabilities": ["*"]}, key=f"user{n}")
        self.ok(me, "PUT", f"/v1/tenants/{tenant}/notification-preferences?user_id={person}",
                {"channels": [{"channel": "email", "enabled": True, "severity_threshold": "info",
                               "address": w["mail"] + "@example.com"}]})
        return session

    def restart(self):
        code, _ = self.node.terminate()
        check(code == 0, f"exit {code}")
        self.start()

    def views(self):
        """Until PostgreSQL has all: then its files can be looked through."""
        wait_until("the views", 60, lambda: self.admin.call("GET", "/v1/admin/projections/verify").status == 200)

    def erase(self, person):
        code, out, err = soma("tenant", "erase-subject", "demo", person, "--yes", "-o", "json", data=self.folder.data)
        check(code == 0, f"erase-subject: exit {code}\n{out}{err}")
        return json.loads(out)


def verified(world, canaries):
    """Journal, views and an export, all made after the erasure."""
    report = harness.verify_deep(world.folder.data)
    check(report["ok"] and report["erased"] > 5, f"verify: {report}")
    views = world.ok(world.admin, "GET", "/v1/admin/projections/verify").json
    check(views["ok"], f"the views are not the fold of the log: {views}")
    bundle = world.ok(world.admin, "POST", "/v1/audit/export").body
    key = world.ok(world.admin, "POST", "/v1/audit/head").json["key"]
    judged = audit_test.judge(bundle.encode(), key)
    check(judged["ok"] and judged["records"] > 20, f"the bundle: {judged}")
    path = os.path.join(world.folder.path, "after.audit")
    audit_test.export(world.folder.data, "demo", path)
    with open(path, "rb") as f:
        raw = f.read()
    for text in (bundle, raw.decode(), *(audit_test.second.unbase64(json.loads(line)["entry"]).decode("latin-1")
                                         for line in raw.splitlines() if line.startswith(b'{"at":'))):
        check(not any(word in text for word in canaries), "an export holds what was erased")


def exported(world, session):
    return world.ok(world.admin, "GET", f"/v1/sessions/{session}/export").body


def quoting(world, person):
    """A session of another person into which everybody's memories are recalled: it holds several people's words."""
    me = world.client(person)
    session = world.ok(me, "POST", "/v1/sessions/start", {"prompt": "What do I say?"}).json["session_id"]
    wait_until("its end", 30, lambda: world.ok(me, "GET", f"/v1/sessions/{session}").json["status"] == "completed")
    return session


def take(world, text, tenant="demo"):
    return world.client("admin", tenant=tenant).call("POST", "/v1/sessions/import", {"export": text})


def does_not_come_back(world, certificate, before, mine):
    """An export that was made before the erasure is refused by its name; what was made after, and others', is taken."""
    for whose in ("ana", "her words with bob"):
        refused = take(world, before[whose])
        check(refused.status == 409 and refused.json["code"] == "conflict", f"{whose}: {refused.status} {refused.body[:300]}")
        check(certificate["erasure_id"] in refused.json["detail"] and "ana" not in refused.json["detail"], refused.body)
        check(not any(word in refused.body for word in mine), "the refusal tells what was erased")
    path = os.path.join(world.folder.path, "before.ndjson")
    with open(path, "w", encoding="utf-8") as f:
        f.write(before["ana"])
    code, out, err = soma("session", "import", path, "-o", "json", data=world.folder.data)
    check(code == 8 and certificate["erasure_id"] in err, f"soma session import: exit {code} {out}{err}")
    os.remove(path)
    kept = take(world, before["bob"])
    check(kept.status == 201, f"another person's export: {kept.status} {kept.body[:300]}")
    check(take(world, before["acme"], "acme").status == 201, "the same name in another tenant")
    left = take(world, exported(world, before["ana's session"]))
    check(left.status == 201, f"what the erasure left: {left.status} {left.body[:300]}")
    check(not hits(world.folder.data, mine), "an import brought back what was erased")


def certified(world, certificate, person):
    check(certificate["status"] == "done" and certificate["complete"], f"{certificate}")
    check(certificate["clear_values"] == 0 and certificate["sealed_entries"] > 5, f"{certificate}")
    digest = audit_test.second.hashlib.sha256(
        f"{certificate['salt']}\ndemo\n{person}".encode()).hexdigest()
    check(digest == certificate["subject_hash"], "the certificate is another subject's")
    check(certificate["certificate"].count(".") == 2, "no signature")
    listed = world.ok(world.admin, "GET", "/v1/tenants/demo/erasures").json["items"]
    check(certificate in listed, "the certificate is not listed")
    events = world.ok(world.admin, "GET", "/v1/actors/identity/identity/history?limit=100").json["items"]
    check(any(e["event_id"] == certificate["event_id"] and e["type"] == "subject.erased" for e in events),
          "the event of the certificate is not in the log")
    missing = world.client("root", tenant="acme").call("GET", f"/v1/tenants/demo/erasures/{certificate['erasure_id']}")
    check(missing.status == 404, "another tenant reads the certificate")


def erased(world):
    bob = world.live("bob")  # before ana: no memory of hers is recalled
    ana = world.live("ana")
    acme = world.live("ana", "acme")
    quote = quoting(world, "bob")
    exports = {"ana": exported(world, ana), "bob": exported(world, bob), "her words with bob": exported(world, quote),
               "ana's session": ana, "acme": world.ok(world.client("ana", tenant="acme"), "GET", f"/v1/sessions/{acme}/export").body}
    quoted = {name: words("ana")["memory"] in exports[name] for name in ("bob", "her words with bob")}
    check(quoted == {"bob": False, "her words with bob": True}, f"ana's memory is recalled in {quoted}")
    world.restart()  # states are then in the snapshots, too
    world.views()
    mine, bobs, others = (list(words(name).values()) for name in ("ana", "bob", "acme"))
    before = hits(world.folder.data, mine)
    check({"snapshots", "postgres"} <= stores_of(before), f"the words are not where they should be: {before}")
    check(not any(path.startswith("log") for path in before), f"the log holds personal data in clear: {before}")
    refused = world.client("clerk", "tenant:*").call("POST", "/v1/tenants/demo/erase-subject", {"subject": "ana"})
    check(refused.status == 403, f"erased without the capability: {refused.status}")
    began = time.monotonic()
    certificate = world.erase("ana")
    seconds = time.monotonic() - began
    after = hits(world.folder.data, mine)
    gate("S18", f"{sum(map(len, after.values()))} hits of {len(mine)} words in {sum(1 for _ in files(world.folder.data))} files", "0 hits",
         not after)
    gate("S18.time", f"{seconds:.1f} s from the request to the certificate", "60 s", seconds <= 60)
    check(not any(word in world.node.log() for word in mine), "the node's log holds personal data")
    certified(world, certificate, "ana")
    state = world.ok(world.admin, "GET", f"/v1/sessions/{ana}").json
    check(state["status"] == "completed" and state["turns"][0]["prompt"] == "[erased]", f"{state}")
    for name, session, texts, tenant in (("bob", bob, bobs, "demo"), ("ana", acme, others, "acme")):
        shown = world.ok(world.client(name, tenant=tenant), "GET", f"/v1/sessions/{session}").body
        check(texts[0] in shown and texts[1] in shown, f"{name} of {tenant} lost data: {shown}")
        found = world.ok(world.client(name, tenant=tenant), "POST", "/v1/recall", {"query": texts[2]}).body
        check(texts[2] in found, f"{name} of {tenant} lost a memory: {found}")
    found = world.ok(world.admin, "POST", "/v1/recall", {"query": words("ana")["memory"]}).body
    check(words("ana")["memory"] not in found.replace('"query"', ""), f"a recall finds what was erased: {found}")
    again = world.client("ana").call("POST", "/v1/infer_sync", {"prompt": "x", "max_tokens": 8}, key="infer2")
    check(not any(word in again.body for word in mine), f"a recorded answer was kept: {again.body}")
    verified(world, mine)
    does_not_come_back(world, certificate, exports, mine)
    world.restart()
    check(not hits(world.folder.data, mine), "found after a restart")
    verified(world, mine)
    return mine


def comes_back(world):
    """New data of the same person is under another key, and can be erased again."""
    session = world.live("ana")
    world.restart()
    world.views()
    mine = list(words("ana").values())
    check(hits(world.folder.data, mine), "new data of the same person was not kept")
    check(take(world, exported(world, session)).status == 201, "an export of the new subject's")
    certified(world, world.erase("ana"), "ana")
    check(not hits(world.folder.data, mine), "the second erasure left something")


def killed(world):
    """kill -9 as soon as the erasure is on disk: the next start goes on by itself."""
    for n, person in enumerate(("zqevezq", "zqkimzq", "zqleezq")):
        world.live(person)
        world.restart()
        world.views()
        mine = [*words(person).values(), person]  # no other tenant knows the name
        before = hits(world.folder.data, mine)
        check({"snapshots", "postgres"} <= stores_of(before), f"the words are not where they should be: {before}")
        check(not any(path.startswith("log") for path in before), f"the log holds personal data in clear: {before}")
        erasure = world.ok(world.admin, "POST", "/v1/tenants/demo/erase-subject", {"subject": person}).json["erasure_id"]
        places = (lambda: True, lambda: not hits(os.path.join(world.folder.data, "snapshots"), mine),
                  lambda: not os.path.exists(os.path.join(world.folder.data, "postgres", "cluster", "PG_VERSION")))
        wait_until("the moment to kill", 30, places[n], 0.0005)
        world.node.kill()
        world.start()
        wait_until("the certificate", 120, lambda: world.admin.call(
            "GET", f"/v1/tenants/demo/erasures/{erasure}").json.get("status") == "done", 0.1)
        found = hits(world.folder.data, mine)
        check(not found, f"found after a crash in the erasure: {found}")
        harness.verify_deep(world.folder.data)


def test():
    with Folder() as folder, Upstream() as upstream:
        world = World(folder, upstream)
        erased(world)
        comes_back(world)
        killed(world)


if __name__ == "__main__":
    harness.main(test)
