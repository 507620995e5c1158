"""The command for who governs: sign and load a constitution, test rules, ask why, decide, change settings back."""

import json
import os
import tempfile

import harness
from constitution import Signer
from harness import Folder, Upstream, check, soma, soma_error as bad, soma_lines as lines

FOLDER = tempfile.TemporaryDirectory()
SIGNER = Signer(FOLDER.name)


def file(name, value):
    path = os.path.join(FOLDER.name, name)
    with open(path, "w", encoding="utf-8") as out:
        json.dump(value, out)
    return path


def good(data, *args):
    answers = lines(data, *args)
    return answers[0] if answers else None


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
    outcome = explained.pop("outcome")
    check(outcome["error"]["code"] == "policy_denied" and outcome["event"] == "turn.failed" and outcome["event_id"], outcome)
    check(good(data, "policy", "explain", explained["decision_id"]) == explained, "the same by its own id")


def explained(data, decision):
    """What every explanation holds: decision, inputs, constitution, event."""
    e = good(data, "policy", "explain", decision)
    check(e["input"] and e["reasons"] and e["threshold"] and e["event_id"] and e["position"] and e["actor"] and e["principal"], e)
    return e


def every_kind_of_denial(data):
    """One command answers for each: arithmetic, the hard budget rule, a spent budget, kill switch, the mode."""
    low = good(data, "policy", "evaluate", "--risk", "0.4", "--confidence", "0.3")
    e = explained(data, low["decision_id"])
    check(not e.get("allow") and abs(e["score"] - 0.56) < 1e-9 and e["threshold"] == 0.7, e)
    check((e["input"]["risk_score"], e["input"]["confidence"]) == (0.4, 0.3), e["input"])
    check(e["constitution_version"] == "2026-1" and "risk contribution: 0.24" in e["reasons"], e)
    # The mode: what a developer's threshold lets in, production's does not.
    middle = ("policy", "evaluate", "--risk", "0.2", "--confidence", "0.6")
    check(good(data, *middle)["allow"], "in a developer mode")
    good(data, "settings", "set", "deployment_mode=production")
    e = explained(data, good(data, *middle)["decision_id"])
    check(not e.get("allow") and e["threshold"] == 0.8 and "threshold: 0.80" in e["reasons"], e)
    e = explained(data, good(data, "policy", "evaluate", "--risk", "0", "--confidence", "1", "--budget", "5", "--remaining", "0")["decision_id"])
    check(not e.get("allow") and "budget_exhausted" in e["reason_codes"] and e["input"]["has_budget_remaining"], e)
    # A budget that is spent: the decision allowed it, the outcome says what did not.
    # Leaving production takes another person's key.
    waits = good(data, "settings", "set", "deployment_mode=developer-light", 'budgets=[{"scope":"user","unit":"requests","hard":0,"window":"day"}]')
    check(waits["status"] == "pending_approval", waits)
    bob = soma("auth", "token", "--tenant", "demo", "--sub", "bob", "--cap", "approval:*", data=data)[1].strip()
    decide = lambda: soma("--token", bob, "approval", "approve", waits["approval_id"], data=data)[0] == 0
    harness.wait_until("another person approves it", 20, decide, 0.2)
    harness.wait_until("production was left", 20, lambda: good(data, "settings", "get")["deployment_mode"] == "developer-light", 0.1)
    session = good(data, "session", "start", "Say something")["session_id"]
    harness.wait_until("it is refused", 20, lambda: good(data, "session", "show", session)["status"] == "failed")
    e = explained(data, session)
    check(e["allow"] and e["outcome"]["error"]["code"] == "budget_exhausted" and e["outcome"]["event"] == "turn.failed", e)
    check("0 left" in e["outcome"]["error"]["message"] and "resets at" in e["outcome"]["error"]["message"], e["outcome"])
    check(e["outcome"]["event_id"] and e["outcome"]["position"], e["outcome"])
    verdicts = {row["check"]: row for row in lines(data, "policy", "explain")}
    check(verdicts["budget"]["verdict"] == "refuses" and "resets at" in verdicts["budget"]["why"], verdicts)
    # One with something left, but not what a turn reserves before it runs.
    good(data, "settings", "set", 'budgets=[{"scope":"tenant","unit":"tokens","hard":100,"window":"day"}]')
    budget = {row["check"]: row for row in lines(data, "policy", "explain")}["budget"]
    check(budget["verdict"] == "refuses" and "100 is left" in budget["why"] and "reserves at least" in budget["why"], budget)
    good(data, "settings", "set", "budgets=[]")
    verdicts = {row["check"]: row for row in lines(data, "policy", "explain")}
    check({v["verdict"] for v in verdicts.values()} == {"lets in"}, verdicts)
    check("2026-1" in verdicts["constitution"]["why"] and verdicts["constitution"]["constitution_hash"], verdicts)
    # The kill switch: no decision was made, so nothing has an id; the command without one says it.
    with open(os.path.join(data, "run", "endpoints.json"), encoding="utf-8") as f:
        url = json.load(f)["http"]
    client = harness.Client(url)
    client.call("POST", "/v1/admin/kill-switch", {"enabled": True, "reason": "a leak"})
    bad(data, 1, "session", "start", "Say something")
    switch = {row["check"]: row for row in lines(data, "policy", "explain")}["kill_switch"]
    check(switch["verdict"] == "refuses" and "a leak" in switch["why"] and "developer" in switch["why"], switch)
    check(switch["event_id"] and switch["position"], switch)
    client.call("POST", "/v1/admin/kill-switch", {"enabled": False, "reason": "mended"})
    client.call("POST", "/v1/training/start", {"tenant_id": "demo", "requested_by": "developer"})
    refused = bad(data, 8, "settings", "mode", "test")
    check("training_closed" in refused["message"], refused)
    client.call("POST", "/v1/training/stop", {"tenant_id": "demo", "requested_by": "developer"})


def without_a_constitution():
    with Upstream() as upstream, Folder() as folder:
        node = folder.node(*upstream.flags, "--mode", "test").wait_ready(30)
        code, token, err = soma("auth", "token", "--sub", "ana", "--cap", "*", data=node.data)
        check(code == 0, err)
        ana = ("--token", token.strip())
        bad(node.data, 5, *ana, "session", "start", "Say something")
        row = {r["check"]: r for r in lines(node.data, *ana, "policy", "explain")}["constitution"]
        check(row["verdict"] == "refuses" and "none signed" in row["why"], row)
        decision = good(node.data, *ana, "policy", "evaluate", "--risk", "0")["decision_id"]
        e = good(node.data, *ana, "policy", "explain", decision)
        check(not e.get("allow") and "constitution_missing" in e["reason_codes"] and e["event_id"], e)
        node.terminate()


def tokens_follow_the_settings():
    """What verifies a token is what it was made for; and its capabilities, if none are named, are all."""
    env = {"SOMA_IDENTITY_ISSUER": "https://issuer.example", "SOMA_IDENTITY_AUDIENCE": "desk"}
    with Upstream() as upstream, Folder() as folder:
        node = folder.node(*upstream.flags, "--mode", "test", env=env).wait_ready(30)
        code, stale, _ = soma("auth", "token", "--sub", "ana", data=node.data)
        check(code == 0, "made without the settings")
        bad(node.data, 4, "--token", stale.strip(), "auth", "whoami")
        with_settings = dict(os.environ)
        os.environ.update(env)
        try:
            code, token, err = soma("auth", "token", "--sub", "ana", data=node.data)
        finally:
            os.environ.clear()
            os.environ.update(with_settings)
        check(code == 0, err)
        check(good(node.data, "--token", token.strip(), "auth", "whoami")["capabilities"] == ["*"], "all areas")
        node.terminate()


def who_acts_and_what_stops_it(data):
    """Users, services, the kill switch, training locks, and what a tenant prefers, from the command line."""
    made = good(data, "user", "set", "bea", "--name", "Bea", "--cap", "session:read,session:start")
    check((made["capabilities"], made["active"]) == (["session:read", "session:start"], True), made)
    changed = good(data, "user", "set", "bea", "--active", "false")
    check((changed["name"], changed["capabilities"], changed["active"]) == ("Bea", made["capabilities"], False), changed)
    check(good(data, "user", "show", "bea") == changed and [u["user_id"] for u in lines(data, "user", "list")] == ["bea"], "users")
    bad(data, 3, "user", "show", "nobody")
    bad(data, 3, "service", "token", "ci")
    good(data, "service", "set", "ci", "--description", "builds", "--cap", "tenant:read")
    token = good(data, "service", "token", "ci", "--ttl", "10m")["token"]
    me = good(data, "--token", token, "auth", "whoami")
    check((me["subject"], me["capabilities"]) == ("svc:ci", ["tenant:read"]), me)
    bad(data, 5, "--token", token, "service", "list")
    check(good(data, "service", "set", "ci", "--active", "false")["description"] == "builds", "what is not named stays")
    bad(data, 4, "--token", token, "auth", "whoami")
    check([(s["service_id"], s["active"]) for s in lines(data, "service", "list")] == [("ci", False)], "services")
    check(not good(data, "kill-switch", "show")["enabled"], "off")
    bad(data, 2, "kill-switch", "on", "--yes")
    check(good(data, "kill-switch", "on", "--reason", "a drill", "--yes")["enabled"], "on")
    bad(data, 1, "session", "start", "Say something")
    check(good(data, "kill-switch", "off", "--reason", "over")["reason"] == "over", "off again")
    check(not good(data, "training", "show")["locked"], "no lock")
    check(good(data, "training", "start")["locked_by"] == "developer", "taken")
    check(not good(data, "training", "stop")["locked"], "given back")
    wishes = file("wishes.json", {"channels": [{"channel": "email", "address": "b@example.org", "severity_threshold": "error"}]})
    check(good(data, "settings", "notifications", "set", wishes, "--user", "bea")["version"] == 1, "set")
    shown = good(data, "settings", "notifications", "show", "--user", "bea")
    check(shown["channels"][0]["address"] == "b@example.org", shown)
    check(good(data, "slm", "profiles", "set", file("profile.json", {"planning": "big"}), "--name", "p")["planning"] == "big", "set")
    check(good(data, "slm", "profiles", "show", "--name", "p")["planning"] == "big", "shown")


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


def policy_rules(data):
    def text(name, content):
        path = os.path.join(FOLDER.name, name)
        with open(path, "w", encoding="utf-8") as out:
            out.write(content)
        return path

    old = text("old.cedar", '@id("no-shell") forbid(principal, action == Action::"shell", resource);\n')
    new = text("new.cedar", open(old, encoding="utf-8").read() +
               '@id("ask") @effect("review")\nforbid(principal, action, resource is Tool)\n'
               'when { context.risk_score.greaterThan(decimal("0.2")) };\n')
    broken = text("broken.cedar", '@id("x")\nforbid(principal, action, resource) when { context.risk == 1 };\n')
    check(good(data, "policy", "rules", "validate", new)["valid"], "valid")
    code, _, err = soma("policy", "rules", "validate", broken, data=data)
    check(code == 2 and "broken.cedar:line 2, column 44" in err, f"validate: {code} {err}")
    bad(data, 2, "policy", "rules", "load", broken)
    check(good(data, "policy", "rules", "load", new)["version"] == 1, "loaded")
    check("no-shell" in good(data, "policy", "rules", "show")["rules"], "shown")
    good(data, "policy", "evaluate", "--action", "shell")
    cases = file("ruled.json", {"mode": "test", "cases": [
        {"name": "shells", "input": {"action_id": "shell", "capability": "tool:use"},
         "expect": {"allow": False, "reason_codes": ["rule:no-shell"]}},
        {"name": "risky tools wait", "input": {"action_id": "get", "risk_score": 0.3, "tool_category": "web"},
         "expect": {"needs_approval": True, "reason_codes": ["rule:ask"]}},
        {"name": "others", "input": {"action_id": "get", "risk_score": 0.1, "tool_category": "web"}, "expect": {"allow": True}}]})
    for how in ((), ("--rules", new)):
        results = lines(data, "policy", "test", cases, *how)
        check([r["result"] for r in results] == ["pass"] * 3, f"{how}: {results}")
    written = text("ruled.yaml", "mode: test\ncases:\n  - name: shells\n    input: {action_id: shell, risk_score: 0.1}\n"
                   "    expect: {allow: false, reason_codes: ['rule:no-shell']}\n")
    check([r["result"] for r in lines(data, "policy", "test", written, "--rules", old)] == ["pass"], "cases in YAML")
    code, out, err = soma("policy", "test", cases, "--rules", old, "-o", "json", data=data + "-none")  # asks no node
    check(code == 1 and [json.loads(x)["result"] for x in out.splitlines()] == ["pass", "fail", "pass"], f"{code} {out}{err}")
    changed = lines(data, "policy", "diff", old, new, "--cases", cases)
    check([(c["case"], c["new"]) for c in changed] == [("risky tools wait", "review rule:ask")], changed)
    # Recorded decisions are judged again in the name and with the capabilities of who asked, and in their mode.
    trusted = text("trusted.cedar", '@id("trusted") forbid(principal, action, resource) unless { principal.capabilities.contains("web:trusted") };\n')
    code, token, err = soma("auth", "token", "--sub", "zed", "--cap", "policy:evaluate,web:trusted", data=data)
    check(code == 0, err)
    ours = good(data, "--token", token.strip(), "policy", "evaluate", "--action", "fetch", "--risk", "0.2", "--confidence", "0.65")
    check(ours["allow"], ours)
    others = {c["case"]: c["new"] for c in lines(data, "policy", "diff", text("none.cedar", ""), trusted)}
    check(others and ours["decision_id"] not in others, f"{ours} {others}")
    asked = good(data, "policy", "explain", ours["decision_id"])
    check((asked["asker"]["subject"], asked["asker"]["capabilities"]) == ("zed", ["policy:evaluate", "web:trusted"]), asked)
    check([v["in_force"] for v in lines(data, "policy", "rules", "history")] == [True], "history")
    none = text("none.cedar", "")
    recorded = lines(data, "policy", "diff", none, old)
    check(len(recorded) == 1 and recorded[0]["new"] == "deny rule:no-shell", recorded)
    session = good(data, "session", "start", "Do something", "--meta", "risk_score=0.6")["session_id"]
    check(not good(data, "policy", "explain", session).get("matched_rules"), "no rule spoke about a turn")
    explained = good(data, "policy", "explain", recorded[0]["case"])
    check('Action::"shell"' in explained["matched_rules"][0]["text"], explained)
    check(good(data, "policy", "rules", "load", none)["version"] == 2, "none of its own")


def second_keys(data):
    session = good(data, "session", "start", "Ask somebody", "--meta", "requires_human=true")["session_id"]
    pending = harness.wait_until("the approval is there", 20, lambda: [
        a for a in lines(data, "approval", "list", "--status", "pending") if a["session_id"] == session])
    check(len(pending) == 1, pending)
    bad(data, 5, "approval", "approve", pending[0]["approval_id"])  # one's own
    code, token, err = soma("auth", "token", "--sub", "bob", "--cap", "approval:*", data=data)
    check(code == 0, err)
    done = good(data, "--token", token.strip(), "approval", "approve", pending[0]["approval_id"], "--reason", "fine")
    check(done["status"] == "approved" and done["decided_by"] == "bob", done)


def settings(data):
    before = good(data, "settings", "get")["version"]
    good(data, "settings", "set", "display_name=One", "policy.threshold=0.75", "budgets_tokens=90000")
    stricter = file("weights.json", {"mode": "test", "cases": [  # by the contract's own weights 0.72 is enough
        {"input": {"action_id": "read", "risk_score": 0.1, "confidence": 0.4}, "expect": {"allow": False, "score": 0.72}}]})
    check([r["result"] for r in lines(data, "policy", "test", stricter)] == ["pass"], "by the tenant's threshold")
    good(data, "tenant", "set", "--display-name", "Two")
    now = good(data, "settings", "get")
    check((now["display_name"], now["policy"]["threshold"], now["budgets_tokens"]) == ("Two", 0.75, 90000), now)
    check(good(data, "settings", "rollback", str(before + 1))["display_name"] == "One", "rolled back")
    check([v["version"] for v in lines(data, "settings", "history")][:3] == [before + 3, before + 2, before + 1], "history")
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
        every_kind_of_denial(node.data)
        rules_are_tried(node.data)
        policy_rules(node.data)
        who_acts_and_what_stops_it(node.data)
        second_keys(node.data)
        settings(node.data)
        node.terminate()
    without_a_constitution()
    tokens_follow_the_settings()


harness.main(run)
