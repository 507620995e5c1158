#!/usr/bin/env python3
"""A session goes from one folder to another by a signed file: what arrives is what was, lives on, and verifies; whatever
was changed in the file, added, left out or signed by others is refused, and leaves nothing behind."""

import copy
import json
import os
import shutil

import audit_test
import harness
from harness import check, soma


def export(folder, session, name, *where):
    path = os.path.join(folder.path, name)
    code, _, err = soma(*where, "session", "export", session, "--out", path, "-o", "json", data=folder.data)
    check(code == 0, f"export: {err}")
    with open(path, encoding="utf-8") as f:
        return path, f.read()


def take(client, text, key=None):
    return client.call("POST", "/v1/sessions/import", {"export": text}, key)


def same(client, origin, arrived):
    """The copy's turns are the origin's, and it says where they come from."""
    copied = client.call("GET", f"/v1/sessions/{arrived}").json
    check(copied["turns"] == origin["turns"], f"{copied['turns']}, not {origin['turns']}")
    check(copied["forked_from"]["session_id"] == origin["session_id"] and copied["status"] == origin["status"], f"{copied}")


def changed(lines):
    """(what, the lines of another file); each must be refused."""
    def edited(n, edit):
        out = copy.copy(lines)
        value = json.loads(lines[n])
        edit(value)
        return [*out[:n], json.dumps(value, separators=(",", ":")), *out[n + 1:]]
    answered = next(n for n, line in enumerate(lines) if '"type":"model.answered"' in line)
    decided = next(n for n, line in enumerate(lines) if '"type":"policy.decided"' in line)
    yield "an answer", edited(answered, lambda v: v["event"]["data"]["answer"].update(output="Something else."))
    yield "a decision", edited(decided, lambda v: v["event"]["data"]["decision"].update(allow=False))
    yield "the session", edited(0, lambda v: v["session"].update(user="mallory"))
    yield "a time that no fold sees", edited(answered, lambda v: v["event"].update(time="2020-01-01T00:00:00.000Z"))
    yield "an event left out", lines[:answered] + lines[answered + 1:]
    yield "an event twice", lines[:answered + 1] + lines[answered:]
    yield "two events in another order", [*lines[:2], lines[3], lines[2], *lines[4:]]
    yield "no signature", lines[:-1]
    yield "nothing but a signature", lines[-1:]
    yield "a cut signature", [*lines[:-1], lines[-1][:-6] + '"}']
    yield "a line behind the signature", [*lines, lines[-2]]


def refused(client, folder, data, text, others):
    lines = text.splitlines()
    count = len(client.call("GET", "/v1/actors?type=session&limit=200").json["items"])
    for what, other in [*changed(lines), *others]:
        answer = take(client, "\n".join(other) + "\n")
        check(answer.status == 422 and "does not verify" in answer.json["detail"], f"{what}: {answer.status} {answer.body}")
    for body in ("", "{}", text[:-1], "\n\n\n"):
        check(take(client, body).status == 422, f"{body[:20]!r} was taken")
    path = os.path.join(folder.path, "changed.ndjson")
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join(next(changed(lines))[1]) + "\n")
    code, out, err = soma("session", "import", path, "-o", "json", data=data)
    check(code == 9 and out == "" and json.loads(err)["error"]["code"] == "corrupt", f"exit {code}: {out}{err}")
    now = len(client.call("GET", "/v1/actors?type=session&limit=200").json["items"])
    check(now == count, "what was refused left a session behind")


def token(data, tenant, capabilities):
    out = soma("auth", "token", "--tenant", tenant, "--sub", "ann", "--cap", capabilities, data=data)[1].strip()
    return json.loads(out)["token"] if out.startswith("{") else out


def test():
    with harness.Folder() as folder, harness.Folder() as foreign, harness.Upstream() as upstream:
        flags = (*upstream.flags, "--postgres", harness.NO_POSTGRES)
        node = folder.node(*flags).wait_ready()
        client = harness.Client(node.url)
        session = audit_test.talk(client, 1)
        client.call("POST", f"/v1/sessions/{session}/messages", {"content": "and then?"})
        client.call("GET", f"/v1/sessions/{session}/stream")
        origin = client.call("GET", f"/v1/sessions/{session}").json
        path, text = export(folder, session, "by-node.ndjson")
        direct = client.call("GET", f"/v1/sessions/{session}/export")
        check(direct.status == 200 and direct.body.splitlines()[:-1] == text.splitlines()[:-1], "route and command differ")
        stranger = harness.Client(node.url, token(folder.data, "acme", "*"))
        hidden, missing = (stranger.call("GET", f"/v1/sessions/{s}/export") for s in (session, "ses_none"))
        check(hidden.status == missing.status == 404, f"{hidden.status}, {missing.status}")
        check(stranger.call("POST", "/v1/sessions/import", {"export": text}).status == 422, "another tenant's session was taken")
        reader = harness.Client(node.url, token(folder.data, "demo", "session:read,session:start"))
        check(take(reader, text).status == 403, "taken without session:import")
        node.terminate()
        _, stopped = export(folder, session, "by-folder.ndjson")
        check(stopped.splitlines()[:-1] == text.splitlines()[:-1], "node and folder export other lines")
        # A node with other keys, and one of ours on a new folder with the same keys.
        strange = foreign.node(*flags).wait_ready()
        other_client = harness.Client(strange.url)
        check("no key of this node" in take(other_client, text).json["detail"], "a stranger's export was taken")
        theirs = other_client.call("GET", f"/v1/sessions/{audit_test.talk(other_client, 1)}/export").body.splitlines()
        strange.terminate()
        data = os.path.join(folder.path, "second")
        os.makedirs(data)
        shutil.copytree(os.path.join(folder.data, "keys"), os.path.join(data, "keys"))
        node = folder.node(*flags, data=data).wait_ready()
        client = harness.Client(node.url)
        taken = take(client, text, "once")
        check(taken.status == 201 and taken.json["session_id"] != session, taken.body)
        arrived = taken.json["session_id"]
        same(client, origin, arrived)
        again = take(client, text, "once")
        check(again.json == taken.json and again.headers.get("Idempotent-Replayed") == "true", f"{again.body}")
        code, out, err = soma("session", "import", path, "-o", "json", data=data)
        check(code == 0, err)
        same(client, origin, json.loads(out)["session_id"])
        check(take(client, stopped).status == 201, "the stopped folder's export")
        said = client.call("POST", f"/v1/sessions/{arrived}/messages", {"content": "go on"})
        check(said.status == 202, said.body)
        client.call("GET", f"/v1/sessions/{arrived}/stream")
        turns = client.call("GET", f"/v1/sessions/{arrived}").json["turns"]
        check(len(turns) == 3 and turns[2]["status"] == "completed", f"it does not live on: {turns}")
        lines = text.splitlines()
        refused(client, folder, data, text, [("another's file", theirs), ("another's signature", [*lines[:-1], theirs[-1]]),
                                             ("the signature of another export", [*lines[:-1], *client.call(
                                                 "GET", f"/v1/sessions/{arrived}/export").body.splitlines()[-1:]])])
        node.terminate()
        harness.verify_deep(data)


if __name__ == "__main__":
    harness.main(test)
