"""Constitutions and second keys, as an outside client meets them, in a developer mode with tokens of two people."""

import json
import tempfile
import urllib.request

import contract
from constitution import Signer
from contract import case, equal, problem, run
from harness import check

FOLDER = tempfile.TemporaryDirectory()
SIGNER = Signer(FOLDER.name)
EVERYTHING = "session:*,policy:*,memory:*,slm:*,tenant:*,audit:*,token:*,constitution:*,approval:*"


def as_(w, person, tenant="acme", capabilities=EVERYTHING):
    return contract.as_(w, person, tenant, capabilities)


@case
def a_first_start_has_a_demo_constitution(w):
    answer = w.ok("GET", "/v1/constitution")
    equal(answer.json["scope"], "global", "scope")
    equal(answer.headers.get("X-Constitution-Hash"), answer.json["hash"], "header")
    equal(w.ok("GET", "/v1/constitution/hash").json["hash"], answer.json["hash"], "hash")
    check(w.ok("GET", "/constitution/version").json["version"], "version")
    problem(w.call("GET", "/v1/constitution/another"), 404)
    session = w.start()
    equal(w.ok("GET", f"/v1/sessions/{session}").json["constitution_hash"], answer.json["hash"], "bound to it")


@case
def bundles_are_checked_and_versions_go_forward(w):
    ada = as_(w, "ada")
    bundle = SIGNER.bundle("1", {"maximum_risk": 0.5, "prohibited_actions": ["nuke"], "human_approval_above_risk": 0.3})
    equal(w.ok("POST", "/v1/constitution/checksum", {"document": bundle["document"]}, headers=ada).json,
          {"checksum": bundle["hash"], "algorithm": "sha256"}, "checksum is Python's")
    equal(w.ok("POST", "/v1/constitution/validate", bundle, headers=ada).json, {"valid": True, "issues": []}, "valid")
    for body in ("{", "[]", "null", '"text"', "", '{"version": 1, "version": 2}'):
        request = urllib.request.Request(w.url + "/v1/constitution/validate", body.encode(), ada, method="POST")
        with urllib.request.urlopen(request, timeout=20) as answer:  # any status but 200 is an error
            verdict = json.load(answer)
        check(verdict["valid"] is False and verdict["issues"], f"{body!r}: {verdict}")
    now = w.ok("GET", "/v1/constitution", headers=ada).json["hash"]
    for answer in (w.ok("POST", "/v1/constitution/validate", bundle, headers=ada),
                   w.ok("POST", "/v1/constitution/checksum", {"document": bundle["document"]}, headers=ada),
                   w.ok("GET", "/v1/constitution/history", headers=ada)):
        equal(answer.headers.get("X-Constitution-Hash"), now, "what is in force")
    tampered = {**bundle, "document": {**bundle["document"], "name": "mine"}}
    verdict = w.ok("POST", "/constitution/validate", tampered, headers=ada).json
    check(not verdict["valid"] and any("hash" in issue for issue in verdict["issues"]), verdict)
    load = lambda body, **headers: w.call("POST", "/v1/constitution/load", body, headers={**ada, **headers})
    for body in (tampered, {}):
        refused = load(body)
        problem(refused, 422)
        equal(refused.headers.get("X-Constitution-Hash"), now, "what stays in force")
    refused = w.call("POST", "/v1/constitution/load?scope=global", bundle, headers=as_(w, "eve", capabilities="constitution:load"))
    problem(refused, 403, "forbidden")
    equal(refused.headers.get("X-Constitution-Hash"), now, "what stays in force")
    problem(w.call("POST", "/v1/constitution/load", bundle, headers=as_(w, "eve", capabilities="constitution:read")), 403)
    loaded = w.ok("POST", "/v1/constitution/load", bundle, headers=ada)
    equal((loaded.json["status"], loaded.json["hash"]), ("active", bundle["hash"]), "load")
    equal(loaded.headers["ETag"], f'"{loaded.json["number"]}-{bundle["hash"]}"', "ETag")
    equal(w.ok("GET", "/v1/constitution", headers=ada).headers["ETag"], loaded.headers["ETag"], "the same as is read")
    equal(w.ok("POST", "/v1/constitution/load", bundle, headers=ada).json["changed"], False, "the same again")
    older = SIGNER.bundle("0", {}, issued_at="2025-01-01T00:00:00Z")
    refused = load(older)
    problem(refused, 409)
    equal(refused.headers.get("X-Constitution-Hash"), bundle["hash"], "what stays in force")
    newer = SIGNER.bundle("2", {})
    refused = load(newer, **{"If-Match": '"7-stale"'})
    problem(refused, 412, "version_mismatch")
    equal(refused.headers.get("X-Constitution-Hash"), bundle["hash"], "what stays in force")
    equal(w.ok("GET", "/v1/constitution", headers=ada).json["version"], "1", "nothing was loaded")
    read = w.ok("GET", "/v1/constitution", headers=ada).json
    equal((read["document"], read["scope"]), (bundle["document"], "tenant"), "read back")
    check(w.ok("GET", "/v1/constitution").json["hash"] != bundle["hash"], "another tenant keeps its own")
    updates = [e for e in w.ok("GET", "/v1/audit/events?type=constitution.updated", headers=ada).json["items"]]
    equal(len(updates), 1, "one constitution.updated a version")


@case
def a_load_may_name_what_it_replaces(w):
    eva = as_(w, "eva", "matching")
    load = lambda version, tag=None: w.call("POST", "/v1/constitution/load", SIGNER.bundle(version, {}),
                                            headers={**eva, **({"If-Match": tag} if tag else {})})
    shown = w.ok("GET", "/v1/constitution", headers=eva)
    equal(shown.json["scope"], "global", "there is none of its own")
    problem(load("1", '"7-stale"'), 412, "version_mismatch")
    first = load("1", shown.headers["ETag"]).headers["ETag"]
    second = load("2", first)
    equal((second.status, second.json["number"]), (200, 2), "it is named")
    problem(load("3", first), 412, "version_mismatch")
    equal(load("3", f'"9-other", {second.headers["ETag"]}').status, 200, "one of them is")
    equal(load("4", "*").status, 200, "any")


@case
def rules_are_judged_and_named(w):
    ada = as_(w, "ada")
    body = {"action_id": "read", "capability": "files:read", "risk_score": 0.1, "confidence": 0.9, "budget_required": 0}
    answer = w.ok("POST", "/v1/evaluate", body, headers=ada).json
    equal((answer["allow"], answer["score"]), (True, 0.92), "allowed")
    for change, code in (({"action_id": "nuke"}, "prohibited_action"), ({"risk_score": 0.6}, "risk_above_maximum"),
                         ({"risk_score": 0.4}, "human_approval_required")):
        answer = w.ok("POST", "/v1/evaluate", {**body, **change}, headers=ada).json
        check(not answer["allow"] and code in answer["reason_codes"], f"{change}: {answer}")
    session = w.ok("POST", "/v1/sessions/start", {"prompt": "x", "metadata": {"risk_score": 0.6}}, 202, headers=ada)
    state = w.ok("GET", f"/v1/sessions/{session.json['session_id']}", headers=ada).json
    equal((state["status"], state["error"]["code"]), ("failed", "policy_denied"), "denied")
    problem(w.call("POST", "/v1/infer_sync", {"prompt": "x", "metadata": {"risk_score": 0.4}}, headers=ada), 403)


@case
def what_metadata_says_of_the_risk_is_never_overlooked(w):
    ada = as_(w, "ada")
    session = w.ok("POST", "/v1/sessions/start", {"prompt": "x"}, 202, headers=ada).json["session_id"]
    for name, value in (("requires_human", "true"), ("requires_human", 1), ("requires_human", None), ("risk_score", "0.9"),
                        ("risk_score", True), ("risk_score", 1.5), ("confidence", "0.1"), ("confidence", [])):
        metadata = {"metadata": {name: value}}
        for path, body in (("/v1/sessions/start", {"prompt": "x"}), (f"/v1/sessions/{session}/messages", {"content": "x"}),
                           ("/v1/infer_sync", {"prompt": "x"}), ("/v1/embeddings", {"input": "x"}),
                           ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}]})):
            problem(w.call("POST", path, {**body, **metadata}, headers=ada), 422, loc=["body", "metadata", name])
    problem(w.call("POST", "/v1/embeddings", {"input": "x", "metadata": "risky"}, headers=ada), 422, loc=["body", "metadata"])


def parked(w, person="ada", **metadata):
    started = w.ok("POST", "/v1/sessions/start", {"prompt": "send it", "metadata": {"requires_human": True, **metadata}},
                   202, headers=as_(w, person))
    session = started.json["session_id"]
    equal(w.ok("GET", f"/v1/sessions/{session}", headers=as_(w, person)).json["status"], "waiting_approval", "parked")
    import harness

    def asked():
        items = w.ok("GET", "/v1/approvals?status=pending&limit=200", headers=as_(w, person)).json["items"]
        return [a for a in items if a.get("session_id") == session]

    return session, harness.wait_until("the approval is there", 20, asked)[0]  # sent to the register


@case
def a_second_person_decides_once(w):
    session, approval = parked(w)
    path = f"/v1/approvals/{approval['approval_id']}"
    check(approval["action_hash"] and approval["expires_at"] and approval["requested_by"] == "ada", approval)
    problem(w.call("POST", path + "/approve", {}, headers=as_(w, "ada")), 403, "forbidden")
    problem(w.call("POST", path + "/approve", {}, headers=as_(w, "mallory", "rival")), 404)
    equal(w.ok("POST", path + "/approve", {"reason": "fine"}, headers=as_(w, "bob")).json["status"], "approved", "approve")
    problem(w.call("POST", path + "/reject", {}, headers=as_(w, "bob")), 409)
    done = wait(w, session)
    equal((done["status"], len(done["turns"])), ("completed", 1), "it ran once")
    types = [e["type"] for e in w.ok("GET", f"/v1/sessions/{session}/events", headers=as_(w, "ada")).json["items"]]
    equal([types.count(t) for t in ("approval.requested", "approval.granted", "model.requested")], [1, 1, 1], "events")


@case
def a_rejected_turn_fails_and_says_by_whom(w):
    session, approval = parked(w)
    w.ok("POST", f"/v1/approvals/{approval['approval_id']}/reject", {"reason": "no"}, headers=as_(w, "bob"))
    done = wait(w, session)
    equal((done["status"], done["error"]["code"]), ("failed", "approval_rejected"), "rejected")
    check("bob" in done["error"]["message"], done["error"])
    session, approval = parked(w)
    w.ok("POST", f"/v1/sessions/{session}/cancel", {}, headers=as_(w, "ada"))
    problem(w.call("POST", f"/v1/approvals/{approval['approval_id']}/approve", {}, headers=as_(w, "bob")), 409)


@case
def a_parked_turn_and_its_constitution_outlive_kill_9(w):
    session, approval = parked(w)
    w.node.kill()
    w.__init__(w.folder.node(*w.flags, env=w.env).wait_ready(30), w.upstream)
    equal(w.ok("GET", f"/v1/sessions/{session}", headers=as_(w, "ada")).json["status"], "waiting_approval", "parked")
    w.ok("POST", f"/v1/approvals/{approval['approval_id']}/approve", {}, headers=as_(w, "bob"))
    equal(wait(w, session)["status"], "completed", "approved after a crash")
    equal(w.ok("GET", "/v1/constitution", headers=as_(w, "ada")).json["scope"], "tenant", "in force")


def wait(w, session):
    import harness

    def ended():
        state = w.ok("GET", f"/v1/sessions/{session}", headers=as_(w, "ada")).json
        return state if state["status"] in ("completed", "failed", "cancelled") else None

    return harness.wait_until("the session ends", 20, ended)


run("--constitution-trusted-keys", SIGNER.public)
