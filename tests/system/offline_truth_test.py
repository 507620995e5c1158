#!/usr/bin/env python3
"""Commands that read a journal themselves: of whose journal they speak, and what of it they really decided again.

What should be decided is counted here from the exported frames, by actor and tenant.
"""

import json
import os
import subprocess

import harness
import operator_test
from harness import Client, check, soma, soma_error as bad, soma_lines as good, wait_until


def entries(data):
    """(actor, position, parked) of each recorded command."""
    return [(e["actor"], frame["position"], bool(e.get("parked")))
            for frame in good(data, "--offline", "log", "export") for e in frame["entries"]]


def counted(data, *words):
    report = good(data, "--offline", "replay", *words)[0]
    check(report["ok"] and report["divergences"] == [], report)
    return report["commands"], report["erased"], report["parked"]


def counts_what_it_decided(data, session, erased_session):
    recorded = entries(data)
    tenants = {actor.split("/")[0] for actor, _, _ in recorded}
    check({"demo", "acme"} <= tenants, tenants)
    commands, erased, parked = counted(data)
    check(parked == sum(p for _, _, p in recorded) == 1, f"{parked} parked")
    check(erased > 0 and commands > 0 and commands + erased + parked == len(recorded), f"{commands}, {erased}, {parked}")
    of_tenants = [counted(data, "--tenant", tenant) for tenant in tenants]
    check([sum(n) for n in zip(*of_tenants)] == [commands, erased, parked], f"by tenant: {of_tenants}")
    own = [e for e in recorded if e[0] == f"demo/session/{session}"]
    for words in (("--actor", f"demo/session/{session}"), ("--actor", f"session/{session}", "--tenant", "demo")):
        check(counted(data, *words) == (len(own), 0, 0), f"{words}: {counted(data, *words)}, not {len(own)}")
    gone = [e for e in recorded if e[0] == f"demo/session/{erased_session}"]
    check(counted(data, "--actor", f"session/{erased_session}") == (0, len(gone), 0), "of the erased one")
    check(counted(data, "--actor", "demo/counter/slow") == (0, 0, 1), "of the parked one")
    first = own[0][1]
    until = [e for e in own if int(e[1].split("/")[1]) <= int(first.split("/")[1])]
    check(counted(data, "--actor", own[0][0], "--to", first) == (len(until), 0, 0), f"up to {first}")
    code, out, err = soma("--offline", "replay", "-o", "table", data=data)
    check(code == 0 and f"decisions  {commands} decided again" in out and f"erased     {erased} " in out
          and "parked     1 " in out, out + err)
    deep = good(data, "--offline", "verify", "--deep")[0]
    check((deep["decided"], deep["parked"]) == (commands, parked), f"verify --deep: {deep}")


def finds_nothing(data, session):
    for words in (("--actor", "demo/session/TYPO"), ("--tenant", "typo"), ("--actor", f"session/{session}", "--tenant", "acme"),
                  ("--actor", f"session/{session}", "--from", "2099-01-01T00:00:00Z")):
        for how in ((), ("--compare-build", harness.SOMA)):
            code, out, err = soma("--offline", "replay", *words, *how, "-o", "json", data=data)
            check(code == 3 and out == "" and words[1] in err, f"{words} {how}: exit {code} {out}{err}")


def compares_what_it_is_told(data, session):
    def compare(*words):
        return good(data, "--offline", "replay", "--compare-build", harness.SOMA, *words)[0]
    recorded = entries(data)
    check(compare()["steps"] == len(recorded), "everything")
    actor = f"demo/session/{session}"
    only = compare("--actor", actor)
    check((only["steps"], only["actors"]) == (sum(a == actor for a, _, _ in recorded), 1), only)
    check(compare("--tenant", "acme")["steps"] == sum(a.startswith("acme/") for a, _, _ in recorded), "of a tenant")
    late = compare("--from", "2099-01-01T00:00:00Z")
    check(late["steps"] == 0, late)
    for words in (("--jobs", "1"), ("--checkpoint", "x"), ("--resume", "x"), ("--steps",)):
        error = bad(data, 2, "replay", "--compare-build", harness.SOMA, *words)
        check(words[0] in error["message"], error)
    for words in (("--actor", "x/y"), ("--from", "0/1"), ("--jobs", "1")):
        check(words[0] in bad(data, 2, "replay", "--steps", *words)["message"], words)
    check(bad(data, 2, "--offline", "replay", "--to", "soon")["field"] == "--to", "which one is wrong")


class Elsewhere:
    """A folder `.soma` of its own under the command's feet, while another node is named."""

    def __init__(self, folder, url):
        self.folder, self.url = folder, url
        self.config = os.path.join(folder.path, "config")
        os.makedirs(os.path.join(self.config, "somastack"))
        with open(os.path.join(self.config, "somastack", "contexts.json"), "w", encoding="utf-8") as f:
            json.dump({"current": "prod", "contexts": {"prod": {"server": url}}}, f)

    def run(self, words, **env):
        clean = {k: v for k, v in os.environ.items() if not k.startswith("SOMA_") and k != "XDG_CONFIG_HOME"}
        done = subprocess.run([harness.SOMA, "-o", "json", *words], cwd=os.path.dirname(self.folder.data),
                              env={**clean, "HOME": self.folder.path, "SOMA_DATA_DIR": self.folder.data, **env},
                              capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout, done.stderr

    def ways(self):
        """The ways to name the node: (words, environment)."""
        return ((("--server", self.url), {}), ((), {"SOMA_SERVER": self.url}), ((), {"XDG_CONFIG_HOME": self.config}),
                (("--context", "prod"), {"XDG_CONFIG_HOME": self.config}),
                (("--data-dir", self.folder.data, "--server", self.url), {}))


def refuses_another_journal(world, session):
    commands = (("replay",), ("replay", "--compare-build", harness.SOMA), ("replay", "--steps"),
                ("session", "what-if", session, "--model", "x"), ("dlq", "redrive", "demo/counter/slow", "--try"),
                ("log", "export", "--to", os.path.join(world.folder.path, "copy")))
    for words in commands:
        for how, env in world.ways():
            code, out, err = world.run((*how, *words), **env)
            check(code == 2 and out == "", f"{words} {how} {env}: exit {code}\n{out}{err}")
            error = json.loads(err)["error"]
            check(world.url in error["message"] and "--data-dir" in error["message"], error)
        for how, env in ((("--offline",), {"SOMA_SERVER": world.url}),
                         (("--data-dir", world.folder.data), {"SOMA_SERVER": world.url}), ((), {})):
            if words[:2] == ("log", "export"):
                continue
            code, out, err = world.run((*how, *words), **env)
            check(code == 0 and out, f"{words} {how} {env}: exit {code}\n{out}{err}")
    # A context that is not there is never the folder instead; the last two would change it.
    for words in (("replay",), ("log", "stat"), ("verify",), ("bundle",), ("audit", "export"), ("snapshots", "drop", "--yes"),
                  ("auth", "rotate", "--yes")):
        code, _, err = world.run(words, SOMA_CONTEXT="none")
        check(code == 3 and "none" in err, f"{words}: exit {code} {err}")


def speaks_of_the_named_node(world, client):
    def records():
        return sum(p["records"] for p in client.call("GET", "/v1/log/partitions").json["items"])

    def of_the_node(count):
        return before <= count <= records()
    before = records()
    own = json.loads(world.run(("log", "stat"))[1])
    check(own["bytes"] > 0 and not of_the_node(own["records"]), f"too alike: {own}")
    for how, env in world.ways():
        code, out, err = world.run((*how, "log", "stat"), **env)
        stat = json.loads(out)
        check(code == 0 and of_the_node(stat["records"]), f"{how} {env}: {out}{err}")
        check("bytes" not in stat and "segments" not in stat, f"{how} {env}: the folder's bytes are told of the node: {stat}")
        code, out, err = world.run((*how, "verify"), **env)
        report = json.loads(out)
        check(code == 0 and of_the_node(sum(h["end"] for h in report["heads"])), f"{how} {env}: verified {out}{err}")
        bundle = json.loads(world.run((*how, "bundle"), **env)[1])
        check("log_bytes" not in bundle["folder"] and "unavailable" in bundle["machine"], f"{how} {env}: {bundle['folder']}")
        check(of_the_node(sum(p["records"] for p in bundle["partitions"]["items"])), bundle["partitions"])
    bundle = json.loads(world.run(("bundle",))[1])
    check(bundle["folder"]["log_bytes"] == own["bytes"] and bundle["machine"]["cores"], bundle["folder"])


def answered(client, prompt):
    session = client.call("POST", "/v1/sessions/start", {"prompt": prompt}).json["session_id"]
    wait_until("an answer", 30, lambda: client.call("GET", f"/v1/sessions/{session}").json["status"] == "completed", 0.1)
    return session


def token(data, *words):
    code, out, err = soma("auth", "token", "--cap", "*", *words, data=data)
    check(code == 0, err)
    return out.strip()


def test():
    with harness.Upstream() as upstream, harness.Folder() as folder, harness.Folder() as other:
        node = folder.node(*upstream.flags).wait_ready()  # with views: an erasure is of them too
        session = answered(Client(node.url), "hello")
        for n in range(6):
            answered(Client(node.url), f"and {n}")
        answered(Client(node.url, token(folder.data, "--tenant", "acme", "--sub", "joe")), "hello too")
        erased = answered(Client(node.url, token(folder.data, "--sub", "ana")), "who am I?")
        code, _, err = soma("tenant", "erase-subject", "demo", "ana", "--yes", data=folder.data)
        check(code == 0, err)
        node.terminate()
        operator_test.plant(folder.data, "parked", "slow", "add")
        counts_what_it_decided(folder.data, session, erased)
        finds_nothing(folder.data, session)
        compares_what_it_is_told(folder.data, session)
        far = other.node(*upstream.flags, "--postgres", harness.NO_POSTGRES).wait_ready()
        client = Client(far.url)
        answered(client, "far away")
        world = Elsewhere(folder, far.url)
        refuses_another_journal(world, session)
        speaks_of_the_named_node(world, client)
        check(far.terminate()[0] == 0, "exit code")
    print("what was decided again is counted; another node's journal is never taken for the folder's")


if __name__ == "__main__":
    harness.main(test)
