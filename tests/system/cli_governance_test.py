"""The command for who governs: sign and load a constitution, test rules, ask why, decide, change settings back."""

import json
import os
import tempfile

import harness
from constitution import Signer
from harness import Folder, Upstream, check, soma

FOLDER = tempfile.TemporaryDirectory()
SIGNER = Signer(FOLDER.name)


def file(name, value):
    path = os.path.join(FOLDER.name, name)
    with open(path, "w", encoding="utf-8") as out:
        json.dump(value, out)
    return path


def good(data, *args):
    code, out, err = soma(*args, "-o", "json", data=data)
    check(code == 0, f"soma {' '.join(args)}: exit {code}\n{out}{err}")
    return json.loads(out) if out.strip() else None


def lines(data, *args):
    code, out, err = soma(*args, "-o", "json", data=data)
    check(code == 0, f"soma {' '.join(args)}: exit {code}\n{out}{err}")
    return [json.loads(line) for line in out.splitlines()]


def bad(data, code, *args):
    got, out, err = soma(*args, "-o", "json", data=data)
    check(got == code, f"soma {' '.join(args)}: exit {got}, not {code}\n{out}{err}")
    return json.loads(err.splitlines()[-1])["error"]


def constitutions(data):
    rules = {"prohibited_actions": ["shell"], "maximum_risk": 0.5}
    document = file("document.json", {"name": "House rules – für alle", "rules": rules})
    code, out, err = soma("constitution", "sign", document, "--key", SIGNER.private, "--version", "2026-1")
    check(code == 0, err)
    bundle = os.path.join(FOLDER.name, "bundle.json")
    with open(bundle, "w", encoding="utf-8") as f:
        f.write(out)
    check(good(data, "constitution", "validate", bundle)["valid"], "valid")
    check(good(data, "constitution", "checksum", bundle)["checksum"] == json.loads(out)["hash"], "checksum")
    tampered = json.loads(out)
    tampered["document"]["rules"]["maximum_risk"] = 1
    bad(data, 9, "constitution", "validate", file("tampered.json", tampered))
    check(good(data, "constitution", "load", bundle)["status"] == "active", "loaded")
    check(good(data, "constitution", "show")["version"] == "2026-1", "shown")
    check([v["version"] for v in lines(data, "constitution", "history")] == ["2026-1"], "history")


def why(data):
    session = good(data, "session", "start", "Do something", "--meta", "risk_score=0.6")["session_id"]
    explained = good(data, "policy", "explain", session)
    check(not explained["allow"] and "risk_above_maximum" in explained["reason_codes"], explained)
    check(explained["rules"] == ["maximum_risk is 0.5, the risk 0.6"], explained["rules"])
    check(explained["constitution_version"] == "2026-1" and explained["event_id"] and explained["position"], explained)
    check(good(data, "policy", "explain", explained["decision_id"]) == explained, "the same by its own id")


def rules_are_tried(data):
    cases = {"mode": "test", "cases": [
        {"name": "shells", "input": {"action_id": "shell", "risk_score": 0}, "expect": {"allow": False,
                                                                                       "reason_codes": ["prohibited_action"]}},
        {"name": "reading", "input": {"action_id": "read", "risk_score": 0.1, "confidence": 0.9},
         "expect": {"allow": True, "score": 0.92}}]}
    results = lines(data, "policy", "test", file("cases.json", cases))
    check([r["result"] for r in results] == ["pass", "pass"], results)
    looser = file("looser.json", {"rules": {}})
    bad(data, 1, "policy", "test", file("cases.json", cases), "--constitution", looser)
    unknown = file("unknown.json", {"rules": {"maximum_riks": 1}})
    bad(data, 2, "policy", "test", file("cases.json", cases), "--constitution", unknown)


def second_keys(data):
    session = good(data, "session", "start", "Ask somebody", "--meta", "requires_human=true")["session_id"]
    pending = [a for a in lines(data, "approval", "list", "--status", "pending") if a["session_id"] == session]
    check(len(pending) == 1, pending)
    bad(data, 5, "approval", "approve", pending[0]["approval_id"])  # one's own
    code, token, err = soma("auth", "token", "--sub", "bob", "--cap", "approval:*", data=data)
    check(code == 0, err)
    done = good(data, "--token", token.strip(), "approval", "approve", pending[0]["approval_id"], "--reason", "fine")
    check(done["status"] == "approved" and done["decided_by"] == "bob", done)


def settings(data):
    good(data, "settings", "set", "display_name=One", "policy.threshold=0.75", "budgets_tokens=90000")
    good(data, "tenant", "set", "--display-name", "Two")
    now = good(data, "settings", "get")
    check((now["display_name"], now["policy"]["threshold"], now["budgets_tokens"]) == ("Two", 0.75, 90000), now)
    check(good(data, "settings", "rollback", "1")["display_name"] == "One", "rolled back")
    check([v["version"] for v in lines(data, "settings", "history")] == [3, 2, 1], "history")
    check(good(data, "tenant", "usage")["budgets_tokens"] == 90000, "usage")
    check(good(data, "settings", "mode")["mode"] == "developer-light", "mode")
    check(good(data, "settings", "mode", "test", "--dry-run")["dry_run"], "dry run")
    bad(data, 2, "settings", "mode", "staging")
    good(data, "settings", "mode", "test")
    bad(data, 4, "settings", "get")  # nobody is anonymous any more


def run():
    with Upstream() as upstream, Folder() as folder:
        node = folder.node(*upstream.flags, "--memory-listen", "off", "--constitution-trusted-keys", SIGNER.public).wait_ready(30)
        constitutions(node.data)
        why(node.data)
        rules_are_tried(node.data)
        second_keys(node.data)
        settings(node.data)
        node.terminate()


harness.main(run)
