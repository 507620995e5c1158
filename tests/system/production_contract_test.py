"""The production mode: tokens, tenants apart, unknown fields refused, nobody anonymous."""

import base64
import json
import os
import subprocess
import tempfile

import harness
from constitution import Signer
from contract import case, equal, problem, run
from harness import Client, check, soma, wait_until

FOLDER = tempfile.TemporaryDirectory()
SIGNER = Signer(FOLDER.name)

ENV = {"SOMAGENT_DEPLOYMENT_MODE": "production"}
LISTS = "session:*,policy:*,tenant:*,constitution:*,approval:*,user:*,service:*,slm:*,admin:*,actor:*,log:*,privacy:*,audit:*"


def token(w, tenant, capabilities, person="ana"):
    os.environ.update(ENV)
    return harness.token(w.node.data, tenant, person, capabilities)


def bearer(w, tenant="acme", capabilities="session:*,policy:*,memory:*,slm:*,tenant:*,audit:*,token:*"):
    return {"Authorization": "Bearer " + token(w, tenant, capabilities)}


@case
def nobody_is_anonymous(w):
    problem(w.call("GET", "/v1/sessions"), 401, "unauthenticated", "Missing bearer token")
    problem(w.call("POST", "/v1/sessions/start", {"prompt": "x"}), 401, detail="Missing bearer token")
    w.ok("GET", "/health")
    w.ok("GET", "/openapi.json")


@case
def metrics_have_a_door_of_their_own(w):
    url = w.node.ready_line["metrics"]
    check(url and url != w.url, w.node.ready_line)
    door = Client(url)
    shown = door.call("GET", "/metrics")
    equal(shown.status, 200, "no token is needed")
    check("soma_" in shown.body and "# TYPE" in shown.body, shown.body[:200])
    for method, path in (("GET", "/v1/sessions"), ("GET", "/v1/tenants"), ("POST", "/v1/sessions/start"), ("GET", "/openapi.json")):
        equal(door.call(method, path, {} if method == "POST" else None).status, 404, f"{path} is not behind it")


@case
def tokens_say_who_and_what(w):
    reader = bearer(w, capabilities="session:read")
    wait_until("the views are there", 20, lambda: w.call("GET", "/v1/sessions", headers=reader).status == 200)
    problem(w.call("POST", "/v1/sessions/start", {"prompt": "x"}, headers=reader), 403, "forbidden")
    everything = bearer(w)
    equal(w.ok("GET", "/v1/tenants/acme", headers=everything).json["tenant_id"], "acme", "tenant")
    problem(w.call("GET", "/v1/tenants/acme", headers={**everything, "X-Tenant-ID": "other"}), 403)
    code, _, err = soma("auth", "token", "--tenant", "acme", "--cap", "*", data=w.node.data)
    check(code != 0 and "--force" in err, "a token for everything needs --force")


@case
def unknown_fields_are_refused(w):
    everything = bearer(w)
    problem(w.call("POST", "/v1/sessions/start", {"prompt": "x", "odd": 1}, headers=everything), 422, loc=["body", "odd"])
    problem(w.call("GET", "/v1/sessions?odd=1", headers=everything), 422, loc=["query", "odd"])


@case
def lists_have_a_limit_and_a_cursor(w):
    everything = {"Authorization": "Bearer " + harness.token(w.node.data, "acme", "ana", LISTS)}
    for name in ("one", "two", "three"):
        w.ok("PUT", "/v1/tenants/acme", {"display_name": name}, headers=everything)
    for path, items in (("/v1/tenants/acme/history", "items"), ("/v1/log/partitions", "items"), ("/v1/actor-types", "items"), ("/v1/models", "data")):
        whole = w.ok("GET", path + "?limit=200", headers=everything).json
        equal(whole["next_cursor"], None, f"{path} is whole")
        found, cursor = [], ""
        for _ in range(200):
            page = w.ok("GET", f"{path}?limit=1{cursor}", headers=everything).json
            check(len(page[items]) <= 1, f"{path}: more than the limit")
            found += page[items]
            if page["next_cursor"] is None:
                break
            cursor = "&cursor=" + page["next_cursor"]
        shown = lambda all_of_them: [i.get("version") or i.get("type") or i.get("id") or i["partition"] for i in all_of_them]
        equal(shown(found), shown(whole[items]), path)
    for path in ("/v1/models", "/v1/policy/rules/history", "/v1/tenants/acme/history", "/v1/tenants", "/v1/log/partitions",
                 "/v1/actor-types", "/v1/tenants/acme/erasures"):
        problem(w.call("GET", path + "?cursor=garbage", headers=everything), 422, loc=["query", "cursor"])
    for path in ("/v1/models", "/v1/policy/rules/history", "/v1/tenants/acme/history", "/v1/admin/parked", "/v1/admin/effects",
                 "/v1/log/partitions", "/v1/actor-types", "/v1/tenants/acme/erasures", "/v1/tenants"):
        w.ok("GET", path + "?limit=200", headers=everything)
        problem(w.call("GET", path + "?limit=201", headers=everything), 422, loc=["query", "limit"])


@case
def settings_go_back_as_they_were_read(w):
    ana = {"Authorization": "Bearer " + token(w, "leaver", "tenant:*", "ana")}
    w.ok("PUT", "/v1/tenants/leaver", {"display_name": "L", "deployment_mode": "production"}, headers=ana)
    w.ok("PUT", "/v1/tenants/leaver", {"deployment_mode": "test"}, 202, headers=ana)
    read = w.ok("GET", "/v1/tenants/leaver", headers=ana).json
    check("proposed" in read, "a change waits")
    w.ok("PUT", "/v1/tenants/leaver", read, headers=ana)


@case
def embeddings_take_only_what_they_know_except_as_openai_does(w):
    everything = bearer(w)
    for path in ("/v1/embedding", "/embedding"):
        problem(w.call("POST", path, {"text": "x", "odd": 1}, headers=everything), 422, loc=["body", "odd"])
    answer = w.call("POST", "/v1/embeddings", {"input": "x", "dimensions": 8}, headers=everything)
    check(answer.status != 422, "OpenAI's clients send what we do not know")


@case
def nothing_runs_without_a_constitution_and_two_people_load_one(w):
    person = lambda name, tenant: {"Authorization": "Bearer " + token(w, tenant, "session:*,constitution:*,approval:*", name)}
    for number, tenant in enumerate(("acme", "rival")):
        ana, bob = person("ana", tenant), person("bob", tenant)
        problem(w.call("POST", "/v1/sessions/start", {"prompt": "x"}, headers=ana), 403, "constitution_missing")
        proposed = w.ok("POST", "/v1/constitution/load", SIGNER.bundle(f"v{number}", {}), 202, headers=ana).json
        problem(w.call("POST", "/v1/sessions/start", {"prompt": "x"}, headers=ana), 403, "constitution_missing")
        path = f"/v1/approvals/{proposed['approval_id']}/approve"
        problem(w.call("POST", path, {}, headers=ana), 403, "forbidden")
        w.ok("POST", path, {}, headers=bob)
        wait_until("it is in force", 10, lambda: w.call("GET", "/v1/constitution", headers=ana).status == 200)


@case
def what_holds_for_all_needs_a_second_key_of_who_may_set_it(w):
    rights = "constitution:*,policy:*,approval:*,session:*"
    plain = "constitution:load,constitution:read,policy:write,policy:read,approval:*"
    ana, bob = ({"Authorization": "Bearer " + token(w, *who)} for who in (("acme", rights, "ana"), ("rival", rights, "bob")))
    eve = {"Authorization": "Bearer " + token(w, "acme", plain, "eve")}
    code, _, err = soma("auth", "token", "--tenant", "_global", "--sub", "eve", "--cap", plain, data=w.node.data)
    check(code != 0 and "reserved" in err, f"a token of _global: {code} {err}")
    shown = lambda: w.call("GET", "/health/ready").json["dependencies"].get("guardrails", "")
    wait_until("the guardrail that fails is shown", 20, lambda: shown() == "production asks for constitution_signed")
    for path, method, body, capability in (
            ("/v1/constitution/load", "POST", SIGNER.bundle("all", {}), "constitution:load_global"),
            ("/v1/policy/rules", "PUT", {"rules": '@id("none") forbid(principal, action == Action::"none", resource);'},
             "policy:write_global")):
        problem(w.call(method, path + "?scope=global", body, headers=eve), 403, "forbidden")
        waits = w.ok(method, path + "?scope=global", body, 202, headers=ana).json["approval_id"]
        wait_until("it is asked for", 20, lambda: w.call("GET", f"/v1/approvals/{waits}", headers=ana).status == 200)
        for who, seen in ((ana, True), (bob, True), (eve, False)):
            items = w.ok("GET", "/v1/approvals?status=pending&limit=200", headers=who).json["items"]
            equal([a["scope"] for a in items if a["approval_id"] == waits], ["global"] * seen, "who sees it")
        decide = f"/v1/approvals/{waits}/approve"
        problem(w.call("POST", decide, {}, headers=eve), 404)
        problem(w.call("POST", decide, {}, headers=ana), 403, "forbidden")
        equal(w.ok("POST", decide, {}, headers=bob).json["decided_by"], "bob", "another person")
        problem(w.call("POST", decide, {}, headers=bob), 409)
    third = {"Authorization": "Bearer " + token(w, "third", rights, "cid")}
    for path, version in (("/v1/constitution", "all"), ("/v1/policy/rules", 1)):
        wait_until(f"{path} is in force for those who have none", 10,
                   lambda: w.call("GET", path, headers=third).json.get("version") == version)
    wait_until("no guardrail fails", 20, lambda: shown() == "")


@case
def tenants_never_see_each_other(w):
    acme, rival = bearer(w), bearer(w, "rival")
    w.ok("PUT", "/v1/tenants/acme", {"display_name": "Acme", "deployment_mode": "production",
                                     "budgets_tokens": 1000000}, headers=acme)
    started = w.ok("POST", "/v1/sessions/start", {"prompt": "secret plan"}, 202, headers={**acme, "Idempotency-Key": "k"})
    session = started.json["session_id"]
    memory = w.ok("POST", "/v1/remember", {"text": "the secret is plover"}, headers=acme).json["memory_id"]
    request = w.ok("POST", "/v1/requests", {"mode": "infer_sync", "payload": {"prompt": "x"}}, 202,
                   headers=acme).json["request_id"]
    for method, path, missing, body in (
            ("GET", "/v1/sessions/{}", session, None), ("GET", "/v1/sessions/{}/events", session, None),
            ("GET", "/v1/sessions/{}/stream", session, None),
            ("POST", "/v1/sessions/{}/messages", session, {"content": "x"}),
            ("POST", "/v1/sessions/{}/cancel", session, {}), ("POST", "/v1/sessions/{}/complete", session, {}),
            ("POST", "/v1/sessions/{}/fork", session, {"at_sequence": 1}), ("GET", "/v1/requests/{}", request, None),
            ("DELETE", "/memory/{}", memory, None), ("GET", "/v1/tenants/{}", "acme", None),
            ("PUT", "/v1/tenants/{}", "acme", {"display_name": "mine"})):
        theirs = w.call(method, path.format(missing), body, headers=rival)
        none = w.call(method, path.format("none"), body, headers=rival)
        equal((theirs.status, theirs.json), (404, none.json), path)
    equal(w.ok("GET", "/v1/sessions", headers=rival).json["items"], [], "list")
    equal(w.ok("POST", "/v1/recall", {"query": "plover"}, headers=rival).json["results"], [], "recall")
    equal([t["tenant_id"] for t in w.ok("GET", "/v1/tenants", headers=rival).json["items"]], ["rival"], "tenants")
    mine = w.ok("POST", "/v1/sessions/start", {"prompt": "mine"}, 202, headers={**rival, "Idempotency-Key": "k"})
    check(mine.json["session_id"] != session, "keys of tenants are apart")
    equal(w.socket(f"/v1/sessions/{session}/ws", rival).status, 404, "socket")
    ticket = w.ok("POST", "/v1/tokens/ticket", headers=rival).json["ticket"]
    equal(w.socket(f"/v1/sessions/{session}/ws?ticket={ticket}").status, 404, "a ticket is its owner")
    equal(w.socket(f"/v1/sessions/{session}/ws").status, 401, "no ticket")
    verified = w.ok("POST", "/v1/tokens/verify", {"token": acme["Authorization"][7:]}, headers=rival).json
    equal(verified, {"valid": False, "reason": "Invalid token"}, "another tenant's token")


@case
def a_session_end_to_end(w):
    """Constitution by a real key pair, real tokens, a second person, one effect, and an audit that a stranger can check."""
    rights = "session:*,approval:*,policy:*,constitution:read,audit:*,memory:*"
    ana, bob = ({"Authorization": "Bearer " + token(w, "acme", rights, name)} for name in ("ana", "bob"))
    calls, key = w.upstream_chats(), {"Idempotency-Key": "end-to-end"}
    body = {"prompt": "Pay the invoice", "metadata": {"requires_human": True}}
    session = w.ok("POST", "/v1/sessions/start", body, 202, headers={**ana, **key}).json["session_id"]
    path = f"/v1/sessions/{session}"
    equal(w.ok("GET", path, headers=ana).json["status"], "waiting_approval", "parked")
    waiting = lambda: [a for a in w.ok("GET", "/v1/approvals?status=pending", headers=bob).json["items"] if a.get("session_id") == session]
    approval = wait_until("the approval is there", 20, waiting)[0]
    decide = f"/v1/approvals/{approval['approval_id']}/approve"
    problem(w.call("POST", decide, {}, headers=ana), 403, "forbidden")
    equal(w.upstream_chats(), calls, "nothing runs before the second key")
    equal(w.ok("POST", decide, {"reason": "checked"}, headers=bob).json["decided_by"], "bob", "approved")
    problem(w.call("POST", decide, {}, headers=bob), 409)

    def ended():
        state = w.ok("GET", path, headers=ana).json
        return state if state["status"] == "completed" else None

    state = wait_until("it ends", 20, ended)
    again = w.ok("POST", "/v1/sessions/start", body, 202, headers={**ana, **key})
    equal((again.json["session_id"], again.headers.get("Idempotent-Replayed")), (session, "true"), "the same request again")
    types = [e["type"] for e in w.ok("GET", path + "/events?limit=200", headers=ana).json["items"]]
    equal([types.count(t) for t in ("approval.requested", "approval.granted", "model.requested", "model.answered", "turn.completed")],
          [1] * 5, "once each")
    equal(w.upstream_chats(), calls + 1, "the effect ran once")
    decision = w.ok("GET", f"/v1/decisions/{state['turns'][0]['decision_id']}", headers=ana).json
    in_force = w.ok("GET", "/v1/constitution", headers=ana).json
    equal((decision["constitution_hash"], decision["constitution_version"]), (in_force["hash"], in_force["version"]), "under which rules")
    equal(in_force["hash"], SIGNER.bundle("v0", {})["hash"], "those that were signed")
    # Exported, and checked by the program that an auditor builds from few files; any changed byte is found.
    bundle = w.ok("POST", "/v1/audit/export", headers=ana).body.encode()
    key = w.ok("POST", "/v1/audit/head", headers=ana).json["key"]

    def judge(data):
        done = subprocess.run([os.path.join(harness.BUILD, "tools", "soma-verify"), "-", "--key", key, "--json"], input=data,
                              capture_output=True, check=False)
        return done.returncode, json.loads(done.stdout)

    code, verdict = judge(bundle)
    check(code == 0 and verdict["ok"], f"soma-verify: {code} {verdict}")
    lines = bundle.split(b"\n")
    records = [json.loads(line)["entry"] for line in lines if b'"entry"' in line]
    held = b"".join(base64.urlsafe_b64decode(r + "=" * (-len(r) % 4)) for r in records)
    for text in (session, approval["approval_id"], decision["decision_id"], in_force["hash"]):
        check(text.encode() in held, f"{text} is not in the bundle")
    at = bundle.index(records[len(records) // 2].encode()) + 40
    other = b"A" if bundle[at:at + 1] != b"A" else b"B"
    code, verdict = judge(bundle[:at] + other + bundle[at + 1:])
    equal((code, verdict["ok"]), (9, False), "a changed byte")


@case
def production_asks_for_more(w):
    everything = bearer(w)
    body = {"action_id": "a", "capability": "c", "risk_score": 0.2, "confidence": 0.6, "budget_required": 0}
    answer = w.ok("POST", "/v1/evaluate", {**body, "deployment_mode": "developer-light"}, headers=everything).json
    equal((answer["threshold"], answer["allow"]), (0.8, False), "a caller cannot loosen the mode")
    broke = w.ok("POST", "/v1/evaluate", {**body, "risk_score": 0, "confidence": 1, "budget_required": 5,
                                          "budget_remaining": 0}, headers=everything).json
    equal((broke["allow"], "budget_exhausted" in broke["reason_codes"]), (False, True), "no budget")


def list_verbs():
    """The verbs that list, with the arguments that they need."""
    code, out, err = soma("--help", "-o", "json")
    check(code == 0, err)

    def walk(node, path=()):
        for child in node.get("commands") or ():
            yield from walk(child, (*path, child["name"]))
        if not node.get("commands") and any("--cursor" in o["names"] for o in node["options"]):
            yield path, [p["names"][0] for p in node["positionals"] if p["required"]]

    return [(verb, names) for verb, names in walk(json.loads(out)) if verb[0] != "kafka"]  # those ask brokers


@case
def every_list_of_the_command_is_answered(w):
    rights = harness.token(w.node.data, "acme", "ana", LISTS)
    session = w.ok("GET", "/v1/sessions", headers={"Authorization": "Bearer " + rights}).json["items"][0]["session_id"]
    named = {"TENANT": "acme", "ID": session, "ACTOR": f"session/{session}"}
    verbs = list_verbs()
    check(len(verbs) >= 20, f"lists are missing: {verbs}")
    for verb, names in verbs:
        code, out, err = soma("--server", w.url, "--token", rights, *verb, *(named[n] for n in names), "--limit", "2")
        check(code == 0 and len(out.splitlines()) <= 2, f"soma {' '.join(verb)}: {code} {out}{err}")


run("--constitution-trusted-keys", SIGNER.public, "--metrics-listen", "127.0.0.1:0", env=ENV)
