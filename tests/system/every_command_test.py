#!/usr/bin/env python3
"""Every command of the tree, as JSON and as a table on a terminal: on a running node, then on its stopped folder.

A command without a row fails the test. What a command does is the matter of other
tests; here: that it answers in both forms with the exit code of the contract, and never with a stack trace or ANSI in JSON.
"""

import fcntl
import json
import os
import pty
import select
import struct
import subprocess
import tempfile
import termios

import harness
from constitution import Signer
from harness import check, wait_until

NONE = None  # not run there
HERE = tempfile.TemporaryDirectory()
SIGNER = Signer(HERE.name)

# command: (arguments, exit code with a node, exit code on its stopped folder).
# 1: needs a node. Writes are rehearsed, so that no row depends on another.
ROWS = {
    "dev": ("--dry-run", 0, 0),
    "node": ("--dry-run --kafka 127.0.0.1:1 --postgres postgresql://127.0.0.1:1/none", 0, 0),
    "status": ("", 0, 1),
    "bundle": ("", 0, 0),
    "projections list": ("", 0, 1),
    "projections lag": ("", 0, 1),
    "projections rebuild": ("", 0, 1),
    "projections verify": ("", 0, 1),
    "effects list": ("", 0, 1),
    "effects show": ("none", 3, 1),
    "effects resolve": ("none --outcome done --reason seen", 3, 1),
    "dlq list": ("", 0, 1),
    "dlq show": ("demo/session/none", 3, 1),
    "dlq redrive": ("demo/session/none", 3, 1),
    "snapshots list": ("", 0, 0),
    "snapshots drop": ("--dry-run", 0, 0),
    "auth token": ("--sub ana", 0, 0),
    "auth rotate": ("--dry-run", 0, 0),
    "auth revoke": ("--jti none --dry-run", 0, 0),
    "auth whoami": ("", 0, 1),
    "session start": ("hello --dry-run", 0, 0),
    "session send": ("{session} more --dry-run", 0, 0),
    "session result": ("{session} none 21 --dry-run", 0, 0),
    "session cancel": ("{session} --dry-run", 0, 0),
    "session fork": ("{session} --at 3 --dry-run", 0, 0),
    "session import": ("{export} --dry-run", 0, 0),
    "session list": ("", 0, 0),
    "session show": ("{session} --trace", 0, 0),
    "session events": ("{session}", 0, 0),
    "session tail": ("{session}", 0, 1),
    "session state": ("{session} --at 3", 0, 0),
    "session diff": ("{session}@2 {session}", 0, 0),
    "session what-if": ("{session} --constitution {stricter}", 0, 0),
    "session export": ("{session}", 0, 0),
    "log stat": ("", 0, 0),
    "log partitions": ("", 0, 0),
    "log owners": ("", 0, 0),
    "log tail": ("--limit 3", 0, 0),
    "log get": ("{position}", 0, 0),
    "log sql": ("$select count(*) as n from events", 0, 0),
    "log export": ("", 0, 0),
    "actor types": ("", 0, 0),
    "actor list": ("", 0, 0),
    "actor show": ("session/{session}", 0, 0),
    "actor history": ("session/{session}", 0, 0),
    "actor state": ("session/{session} --at 3", 0, 0),
    "actor diff": ("session/{session} --from 2 --to 5", 0, 0),
    "audit head": ("", 0, 0),
    "audit prove": ("{event}", 0, 0),
    "audit export": ("", 0, 0),
    "audit verify": ("{data}/missing", 3, 3),
    "verify": ("", 0, 0),
    "replay": ("", 0, 0),
    "memory remember": ("text --dry-run", 0, 0),
    "memory recall": ("fence --explain", 0, 1),
    "slm models": ("", 0, 1),
    "slm infer": ("hello --dry-run", 0, 0),
    "slm embed": ("hello --dry-run", 0, 0),
    "tenant show": ("demo", 0, 1),
    "tenant set": ("demo --budget 5 --dry-run", 0, 1),
    "tenant list": ("", 0, 1),
    "tenant usage": ("demo", 0, 1),
    "policy evaluate": ("--action a --capability c --risk 0.1 --confidence 0.9 --budget 0 --dry-run", 0, 0),
    "policy explain": ("{decision}", 0, 0),
    "policy test": ("{cases}", 0, 1),
    "constitution show": ("", 0, 1),
    "constitution history": ("", 0, 1),
    "constitution validate": ("{bundle}", 0, 1),
    "constitution load": ("{bundle} --dry-run", 0, 0),
    "constitution checksum": ("{bundle}", 0, 0),
    "constitution sign": ("{document} --key {private} --version 1", 0, 0),
    "approval list": ("", 0, 1),
    "approval show": ("none", 3, 1),
    "approval approve": ("none", 3, 1),
    "approval reject": ("none", 3, 1),
    "approval delegate": ("none --to bob", 3, 1),
    "approval edit": ("none --prompt other", 3, 1),
    "settings get": ("", 0, 1),
    "settings set": ("display_name=One --dry-run", 0, NONE),
    "settings history": ("", 0, 1),
    "settings rollback": ("1 --dry-run", 0, NONE),
    "settings mode": ("test --dry-run", 0, 0),
    "settings notifications show": ("--user ana", 0, 1),
    "settings notifications set": ("{preferences} --user ana --dry-run", 0, 1),
    "slm profiles show": ("", 0, 1),
    "slm profiles set": ("{profile} --dry-run", 0, 1),
    "user list": ("", 0, 1),
    "user show": ("none", 3, 1),
    "user set": ("ana --cap session:read --dry-run", 0, 1),
    "service list": ("", 0, 1),
    "service show": ("none", 3, 1),
    "service set": ("ci --cap slm:infer --dry-run", 0, 1),
    "service token": ("ci --cap slm:infer --dry-run", 0, 0),
    "kill-switch show": ("", 0, 1),
    "kill-switch on": ("--reason seen --dry-run", 0, 0),
    "kill-switch off": ("--reason seen --dry-run", 0, 0),
    "training show": ("", 0, 1),
    "training start": ("--dry-run", 0, 1),
    "training stop": ("--dry-run", 0, 1),
    "policy rules history": ("", 0, 1),
    "sim run": ("--seed 1 --steps 50", 0, NONE),
    "completion": ("bash", 0, 0),
    "generate completion": ("bash", 0, 0),
    "generate man": ("", 0, 0),
    "generate settings": ("", 0, 0),
    "generate grafana": ("", 0, 0),
    "generate prometheus": ("", 0, 0),
    "generate systemd": ("", 0, 0),
    "version": ("", 0, 0),
}
# Shown to work elsewhere, where what they need is.
ELSEWHERE = {
    "demo": "needs the local model: tools/run demo",
    "chat": "cli_test's terminal",
    "approval watch": "follows for ever: cli_governance_test",
    "bench counter": "measures: tools/benchmarks", "bench session": "measures", "bench infer": "measures",
    "bench workflow": "bench_commands_test", "bench replay": "bench_commands_test", "bench projection": "bench_commands_test",
    "bench timers": "bench_commands_test", "bench actors": "bench_commands_test",
    "sim canaries": "canary_sim_test", "sim corpus": "seeds_sim_test", "sim shrink": "takes the minutes of a failing seed",
    "policy diff": "policy's own tests", "policy rules load": "policy's own tests", "policy rules show": "policy's own tests",
    "policy rules validate": "policy's own tests",
    "tenant erase-subject": "the test of erasure", "tenant erasures": "the test of erasure",
    "kafka topics": "kafka_tools_test", "kafka lag": "kafka_tools_test", "kafka peek": "kafka_tools_test",
    "log import": "kafka_migration_test",
    "doctor": "finds what this machine lacks: its exit code is the machine's; doctor_test",
}
# What they write stays on this machine, where a key tells nothing.
WRITES_HERE = {"dev", "node", "doctor", "log import"}
# Their output is for other programs, whatever the form asked for.
NOT_JSON = {"completion", "generate completion", "generate man", "generate settings", "generate systemd", "auth token"}


# What the contract names and this build does not have yet.
LATER = ("memory link", "memory wm", "memory export", "slm queue", "slm scores")
LISTS = ("list", "events", "history", "partitions", "owners", "topics", "lag", "models", "types")
OF_LISTS = {"--limit", "--cursor", "--filter", "--watch"}
ONE_CARD = {"projections list", "projections lag"}  # one object, not rows


def leaves_of(node, path=()):
    """(path, node) of every command."""
    if not node["commands"]:
        yield " ".join(path), node
    for child in node["commands"]:
        yield from leaves_of(child, (*path, child["name"]))


def options_are_the_contracts(tree):
    """Writes can be rehearsed and repeated, what destroys is confirmed, lists are paged, filtered and followed."""
    for path, node in leaves_of(tree):
        names = {name for option in node["options"] for name in option["names"]}
        check(f"soma {path}" in node["example"], f"{path} has no example")
        check(node["effect"] in ("read", "write", "destructive"), f"{path}: {node['effect']}")
        check(node["effect"] == "read" or "--dry-run" in names, f"{path} changes things, and cannot be rehearsed")
        check(node["effect"] != "destructive" or "--yes" in names, f"{path} destroys without --yes")
        check(node["effect"] == "read" or "--idempotency-key" in names or path in WRITES_HERE, f"{path} takes no key")
        if path.split()[-1] in LISTS and path not in ONE_CARD:
            check(OF_LISTS <= names, f"{path} lacks {sorted(OF_LISTS - names)}")


def later_commands():
    """Told from mistypes: not there yet, and what to do instead."""
    for command in LATER:
        code, out, err = piped([*command.split(), "-o", "json"])
        error = json.loads(err)["error"]
        check(code == 1 and out == "" and error["code"] == "not_supported" and "this build" in error["message"],
              f"soma {command}: {code} {out}{err}")
        check(error["hint"] and "did you mean" not in error["hint"], err)
    code, _, err = piped(["memory", "recal", "-o", "json"])
    check(code == 2 and "recall" in json.loads(err)["error"]["hint"], f"a mistype: {code} {err}")


def broken_cursors():
    """Refused as they are, before brokers are asked, which here are none."""
    for command in ("topics", "lag"):
        for cursor in ("9" * 30, "soon", "-1", "7x"):
            code, out, err = piped(["kafka", command, "--kafka", "127.0.0.1:1", f"--cursor={cursor}", "-o", "json"])
            check(code == 2 and out == "" and "--cursor" in json.loads(err)["error"]["message"], f"kafka {command} --cursor {cursor}: {code} {out}{err}")


def leaves(node, path=()):
    if not node["commands"]:
        yield " ".join(path)
    for child in node["commands"]:
        yield from leaves(child, (*path, child["name"]))


def environment():
    return {**{k: v for k, v in os.environ.items() if not k.startswith("SOMA_") or k == "SOMA_CACHE_DIR"},
            "TERM": "xterm-256color", "LANG": "C.UTF-8"}


def piped(words):
    done = subprocess.run([harness.SOMA, *words], capture_output=True, text=True, timeout=60, check=False, env=environment(),
                          stdin=subprocess.DEVNULL)
    return done.returncode, done.stdout, done.stderr


def on_a_terminal(words):
    """(exit code, what the terminal was sent), of a terminal of 100 by 30 cells."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    process = subprocess.Popen([harness.SOMA, *words], stdin=theirs, stdout=theirs, stderr=theirs, env=environment(),
                               start_new_session=True)
    os.close(theirs)
    seen = b""
    try:
        while True:
            ready, _, _ = select.select([ours], [], [], 60)
            check(ready, f"soma {' '.join(words)} says nothing for a minute")
            chunk = os.read(ours, 65536)
            if not chunk:
                break
            seen += chunk
    except OSError:  # the other side is closed
        pass
    finally:
        os.close(ours)
        if process.poll() is None:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
    return process.wait(), seen.decode(errors="replace")


def words_of(command, arguments, names):
    if arguments.startswith("$"):  # one argument
        return [*command.split(), arguments[1:]]
    return [*command.split(), *(word.format(**names) for word in arguments.split())]


def try_one(where, command, words, expected):
    what = f"{where}: soma {' '.join(words[2:])}"
    code, out, err = piped([*words, "-o", "json"])
    check(code == expected, f"{what} -o json: exit {code}, not {expected}\n{out[-2000:]}{err}")
    check("\x1b" not in out + err, f"{what}: ANSI without a terminal")
    if command not in NOT_JSON:
        for line in out.splitlines():
            json.loads(line)
    if expected != 0:
        check(out == "" and "error" in json.loads(err.splitlines()[-1]), f"{what}: {out}{err}")
    code, seen = on_a_terminal(words)
    check(code == expected, f"{what} on a terminal: exit {code}, not {expected}\n{seen[-2000:]}")
    check("terminate called" not in seen and "Segmentation" not in seen, f"{what}: {seen}")
    if expected == 0:
        check(seen.strip(), f"{what} shows nothing")


def try_all(where, tree, column, names):
    """Tries all before it fails, and then names every one that is wrong."""
    tried, wrong = 0, []
    for command, row in ROWS.items():
        if row[column] is NONE or command not in tree:
            continue
        tried += 1
        try:
            try_one(where, command, ["--data-dir", names["data"], *words_of(command, row[0], names)], row[column])
        except harness.Failure as failure:
            wrong.append(str(failure))
    check(not wrong, "\n".join(wrong))
    return tried


def written(name, value):
    path = os.path.join(HERE.name, name)
    with open(path, "w", encoding="utf-8") as file:
        json.dump(value, file)
    return path


def test(*flags):
    """With `flags` on a node of theirs only."""
    code, out, err = piped(["--help", "-o", "json"])
    check(code == 0, err)
    options_are_the_contracts(json.loads(out))
    later_commands()
    broken_cursors()
    tree = set(leaves(json.loads(out)))
    missing = sorted(tree - set(ROWS) - set(ELSEWHERE))
    check(not missing, f"commands without a row in ROWS: {missing}")
    with harness.Upstream() as upstream, harness.Folder() as folder:
        node = folder.node(*upstream.flags, *flags, "--constitution-trusted-keys", SIGNER.public).wait_ready()
        client = harness.Client(node.url)
        session = client.call("POST", "/v1/sessions/start", {"prompt": "hello"}).json["session_id"]
        wait_until("an answer", 20, lambda: client.call("GET", f"/v1/sessions/{session}").json["status"] == "completed", 0.1)
        events = client.call("GET", f"/v1/sessions/{session}/events").json["items"]
        document = {"name": "House rules", "rules": {"maximum_risk": 0.9}}
        names = {
            "export": written("export.json", {}), "data": folder.data, "session": session, "position": events[0]["position"], "event": events[0]["event_id"],
            "decision": next(e for e in events if e["type"] == "policy.decided")["data"]["decision"]["decision_id"],
            "stricter": written("stricter.json", {"maximum_risk": 0.01}), "private": SIGNER.private,
            "preferences": written("preferences.json", {"channels": [{"channel": "web", "severity_threshold": "warning"}]}),
            "profile": written("profile.json", {"chat": "m"}),
            "document": written("document.json", document), "bundle": written("bundle.json", SIGNER.bundle("1", document["rules"])),
            "cases": written("cases.json", {"mode": "test", "cases": [
                {"name": "one", "input": {"action_id": "a", "risk_score": 0.1, "confidence": 0.9}, "expect": {"allow": True}}]}),
        }
        with_node = try_all("with a node", tree, 1, names)
        code, _ = node.terminate()
        check(code == 0, f"the node ended with {code}")
        stopped = 0 if flags else try_all("on a stopped folder", tree, 2, names)
    print(f"{with_node} commands with a node, {stopped} on a stopped folder, each as JSON and on a terminal; "
          f"{len(ELSEWHERE)} elsewhere")


if __name__ == "__main__":
    harness.main(test)
