"""Policy rules, as an outside client meets them: loaded while it runs, seen by every decision after, each tenant's own."""

import tempfile

from constitution import Signer
from contract import as_, case, equal, problem, run
from harness import check

FOLDER = tempfile.TemporaryDirectory()
SIGNER = Signer(FOLDER.name)
BODY = {"action_id": "read", "capability": "files:read", "risk_score": 0.1, "confidence": 0.9, "budget_required": 0}
NO_SHELL = '@id("no-shell")\n@reason("shells are for people")\nforbid(principal, action == Action::"shell", resource);\n'
NO_TURNS = '@id("no-turns")\nforbid(principal, action == Action::"session.turn", resource);\n'
ASK = ('@id("ask")\n@effect("review")\nforbid(principal, action, resource)\n'
       'when { context.risk_score.greaterThan(decimal("0.3")) };\n')


def load(w, tenant, rules, status=200, **headers):
    return w.ok("PUT", "/v1/policy/rules", {"rules": rules}, status, headers={**as_(w, tenant=tenant), **headers})


def judged(w, tenant, **change):
    return w.ok("POST", "/v1/evaluate", {**BODY, **change}, headers=as_(w, tenant=tenant)).json


@case
def what_is_wrong_is_told_with_its_place(w):
    ana = as_(w)
    verdict = w.ok("POST", "/v1/policy/rules/validate", {"rules": NO_SHELL}, headers=ana).json
    equal(verdict, {"valid": True, "issues": []}, "valid")
    typo = NO_SHELL + '@id("x") forbid(principal, action, resource) when { context.risk == 1 };'
    verdict = w.ok("POST", "/v1/policy/rules/validate", {"rules": typo}, headers=ana).json
    equal((verdict["valid"], verdict["issues"][0]["line"], verdict["issues"][0]["column"]), (False, 4, 53), verdict)
    load(w, "wrong", NO_SHELL)
    body = problem(w.call("PUT", "/v1/policy/rules", {"rules": typo}, headers=as_(w, tenant="wrong")), 422, loc=["body", "rules"])
    check("line 4, column 53" in body["detail"], body["detail"])
    equal(w.ok("GET", "/v1/policy/rules", headers=as_(w, tenant="wrong")).json["rules"], NO_SHELL, "the old ones stay")
    equal(judged(w, "wrong", action_id="shell")["reason_codes"], ["rule:no-shell"], "and hold")
    problem(w.call("PUT", "/v1/policy/rules", {}, headers=ana), 422, loc=["body", "rules"])
    problem(w.call("PUT", "/v1/policy/rules", {"rules": " " * (256 * 1024 + 1)}, headers=ana), 422)


@case
def what_was_acknowledged_holds_at_once_everywhere(w):
    check(judged(w, "hot", action_id="shell")["allow"], "no rules yet")
    for number in range(1, 9):
        text = NO_SHELL + f"// {number}\n"
        answer = load(w, "hot", text)
        equal((answer.json["version"], answer.headers["ETag"]), (number, f'"{number}-{answer.json["hash"]}"'), "version")
        for _ in range(8):  # decisions are actors of their own: they lie on all partitions
            one = judged(w, "hot", action_id="shell")
            equal((one["allow"], one["reason_codes"], one["rules_hash"]),
                  (False, ["rule:no-shell"], answer.json["hash"]), "under the new ones")
        equal(judged(w, "hot")["allow"], True, "others are not touched")
    load(w, "hot", "")
    check(judged(w, "hot", action_id="shell")["allow"], "taken away")
    history = w.ok("GET", "/v1/policy/rules/history", headers=as_(w, tenant="hot")).json["items"]
    equal([v["version"] for v in history], list(range(9, 0, -1)), "history")


@case
def versions_are_guarded(w):
    first = load(w, "guarded", NO_SHELL)
    equal(load(w, "guarded", NO_SHELL).json["version"], 1, "the same text is no version")
    second = load(w, "guarded", ASK, **{"If-Match": first.headers["ETag"]})
    equal(second.json["version"], 2, "with the right tag")
    stale = {**as_(w, tenant="guarded"), "If-Match": first.headers["ETag"]}
    problem(w.call("PUT", "/v1/policy/rules", {"rules": NO_SHELL}, headers=stale), 412)
    once = {"Idempotency-Key": "rules-1"}
    load(w, "guarded", NO_SHELL, **once)
    again = load(w, "guarded", NO_SHELL, **once)
    equal((again.headers.get("Idempotent-Replayed"), again.json["version"]), ("true", 3), "replayed")
    told = w.ok("GET", "/v1/audit/events?type=rules.updated", headers=as_(w, tenant="guarded")).json["items"]
    equal([(e["topic"], e["data"]["rules"]["version"]) for e in told], [("policy.decisions", n) for n in (1, 2, 3)], "told")


@case
def who_may(w):
    load(w, "rights", NO_SHELL)
    reader = as_(w, "eve", "rights", "policy:read,policy:evaluate")
    problem(w.call("PUT", "/v1/policy/rules", {"rules": ""}, headers=reader), 403)
    writer = as_(w, "bob", "rights", "policy:write")
    problem(w.call("PUT", "/v1/policy/rules?scope=global", {"rules": ""}, headers=writer), 403)
    problem(w.call("GET", "/v1/policy/rules", headers=as_(w, "eve", "rights", "memory:read")), 403)
    equal(w.ok("GET", "/v1/policy/rules", headers=reader).json["version"], 1, "unchanged")


@case
def tenants_have_their_own_else_the_global_ones(w):
    load(w, "own", NO_SHELL)
    w.ok("PUT", "/v1/policy/rules?scope=global", {"rules": ASK}, headers=as_(w, tenant="operator"))
    equal(judged(w, "own", risk_score=0.4)["reason_codes"], ["allowed"], "its own only")
    equal(judged(w, "own", action_id="shell")["reason_codes"], ["rule:no-shell"], "its own")
    other = judged(w, "none", risk_score=0.4)
    equal((other["allow"], other["reason_codes"]), (False, ["rule:ask"]), "the global ones")
    check(judged(w, "none", action_id="shell")["allow"], "another tenant's do not reach it")
    seen = w.ok("GET", "/v1/policy/rules", headers=as_(w, tenant="none")).json
    equal((seen["scope"], "no-shell" in seen["rules"]), ("global", False), "nor are they shown")
    decision = judged(w, "own", action_id="shell")["decision_id"]
    problem(w.call("GET", f"/v1/decisions/{decision}", headers=as_(w, tenant="none")), 404)
    w.ok("PUT", "/v1/policy/rules?scope=global", {"rules": ""}, headers=as_(w, tenant="operator"))


@case
def sessions_and_calls_are_under_them_and_say_why(w):
    ana = as_(w, tenant="talk")
    load(w, "talk", NO_TURNS + '@id("no-calls") forbid(principal, action == Action::"slm.infer", resource is Tenant);')
    started = w.ok("POST", "/v1/sessions/start", {"prompt": "x"}, 202, headers=ana).json["session_id"]
    state = w.ok("GET", f"/v1/sessions/{started}", headers=ana).json
    equal((state["status"], state["error"]["code"]), ("failed", "policy_denied"), "denied")
    check("rule:no-turns" in state["error"]["message"], state["error"])
    why = w.ok("GET", f"/v1/decisions/{state['turns'][0]['decision_id']}", headers=ana).json
    equal([m["id"] for m in why["matched_rules"]], ["no-turns"], "named")
    check('Action::"session.turn"' in why["matched_rules"][0]["text"], why["matched_rules"])
    equal(int(why["rules_number"]), 1, "version")
    problem(w.call("POST", "/v1/infer_sync", {"prompt": "x"}, headers=ana), 403)
    load(w, "talk", ASK)
    again = w.ok("POST", f"/v1/sessions/{started}/messages", {"content": "risky", "metadata": {"risk_score": 0.4}}, 202,
                 headers=ana)
    state = w.ok("GET", f"/v1/sessions/{started}", headers=ana).json
    equal((again.status, state["status"]), (202, "waiting_approval"), "a person is asked")
    w.ok("POST", "/v1/infer_sync", {"prompt": "x"}, headers=ana)


run("--constitution-trusted-keys", SIGNER.public)
