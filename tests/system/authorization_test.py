"""Every route of the authorization matrix as nobody, as somebody without the right, and as another tenant.

The matrix and what the node serves must name the same routes. Another tenant's object and a missing one must answer
alike, byte for byte, apart from the ids that were asked for."""

import re
import tempfile

import contract
from constitution import Signer
from contract import case, equal, run
from harness import check, wait_until
from routes import BODIES, NOT_TRIED, matrix, served

FOLDER = tempfile.TemporaryDirectory()
SIGNER = Signer(FOLDER.name)


def token(w, tenant, capabilities="*", person="ana"):
    return contract.as_(w, person, tenant, capabilities)


def call(w, method, path, headers, body=None):
    if path.endswith("/ws") and method == "GET":
        sock = w.socket(path, headers)
        head, _, rest = sock.head.partition("\r\n\r\n")
        sock.close()
        return int(head.split()[1]), ""
    answer = w.call(method, path, body, headers={**headers, "X-Request-ID": "same", "traceparent": TRACE})
    kept = {k: v for k, v in answer.headers.items() if k not in ("Date", "Content-Length", "traceparent", "X-Request-ID")}
    return answer.status, repr(sorted(kept.items())) + answer.body


TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def objects(w):
    """What acme owns, by the area of a route's path: so that a rival can ask for it."""
    mine = token(w, "acme")
    for tenant in ("acme", "rival"):
        w.ok("POST", "/v1/constitution/load", SIGNER.bundle("1", {}), headers=token(w, tenant))
    session = w.ok("POST", "/v1/sessions/start", {"prompt": "a secret"}, 202, headers=mine).json["session_id"]
    parked = w.ok("POST", "/v1/sessions/start", {"prompt": "x", "metadata": {"requires_human": True}}, 202,
                  headers=mine).json["session_id"]
    asked = lambda: [a["approval_id"] for a in w.ok("GET", "/v1/approvals?status=pending", headers=mine).json["items"]
                     if a.get("session_id") == parked]
    approval = wait_until("the approval is there", 20, asked)[0]
    request = w.ok("POST", "/v1/requests", {"mode": "infer_sync", "payload": {"prompt": "x"}}, 202, headers=mine).json
    memory = w.ok("POST", "/v1/remember", {"text": "the secret is plover"}, headers=mine).json["memory_id"]
    decision = w.ok("POST", "/v1/evaluate", {"action_id": "a", "capability": "c", "risk_score": 0, "confidence": 1,
                                             "budget_required": 0}, headers=mine).json["decision_id"]
    w.ok("PUT", "/v1/users/zoe", {"capabilities": []}, headers=mine)
    w.ok("PUT", "/v1/services/bot", {"capabilities": []}, headers=mine)
    actors = w.ok("GET", "/v1/actors?limit=200", headers=mine).json["items"]
    check(any(a.get("id") == session for a in actors), f"no actor {session}")
    event = w.ok("GET", f"/v1/sessions/{session}/events?limit=1", headers=mine).json["items"][0]["event_id"]
    return {"/v1/audit/proof/": event, "/v1/sessions/": session, "/v1/approvals/": approval, "/v1/requests/": request["request_id"],
            "/memory/": memory, "/v1/decisions/": decision, "/v1/users/": "zoe", "/v1/services/": "bot", "/v1/actors/": session,
            "/v1/admin/effects/": session, "/v1/admin/parked/": session, "/v1/bench/": "ours"}


@case
def every_route_has_a_row_and_every_row_a_route(w):
    rows, routes = matrix(), served(w.client)
    equal({k: v[0] for k, v in rows.items() if k in routes}, {k: v for k, v in routes.items() if k in rows}, "capabilities")
    missing = sorted(set(routes) - set(rows))
    check(not missing, f"routes without a row in runtime/api/authorization.tsv: {missing}")
    gone = sorted(k for k in set(rows) - set(routes) if not k[1].startswith("/v1/bench/"))  # developer modes only
    check(not gone, f"rows without a route: {gone}")


@case
def without_a_token_nothing_but_what_is_open(w):
    for (method, path), (capability, scope) in matrix().items():
        if path.startswith("/v1/bench/"):
            continue
        at = re.sub(r"\{\w+\}", "x", path)
        status, body = call(w, method, at, {}, BODIES.get((method, path)))
        if scope == "open":
            check(status in (200, 503), f"{method} {path}: {status}")
        else:
            equal(status, 401, f"{method} {path} without a token")


@case
def without_the_capability_nothing(w):
    tried = 0
    for (method, path), (capability, scope) in matrix().items():
        if scope == "open" or capability == "authenticated" or path.startswith("/v1/bench/"):
            continue
        area, verb = capability.split(":")
        at = re.sub(r"\{\w+\}", "x", path)
        for wrong in (f"{area}:{verb}x", f"{area}x:{verb}", "none:none"):
            status, body = call(w, method, at, token(w, "acme", wrong), BODIES.get((method, path)))
            equal(status, 403, f"{method} {path} with {wrong}")
            check(path.endswith("/ws") or f"this needs the capability {capability}" in body, body)
            tried += 1
    print(f"GATE S3 refusals {tried} all PASS", flush=True)


@case
def with_the_capability_the_right_is_there(w):
    for (method, path), (capability, scope) in matrix().items():
        if scope == "open" or path.startswith("/v1/bench/") or (method, path) in NOT_TRIED:
            continue
        at = re.sub(r"\{\w+\}", "x", path)
        right = token(w, "own", "none:none" if capability == "authenticated" else capability)
        status, body = call(w, method, at, right, BODIES.get((method, path)))
        check(status != 401 and "this needs the capability" not in body, f"{method} {path} with {capability}: {status}")


@case
def another_tenants_is_a_missing_one(w):
    ours, tried = objects(w), 0
    wait_until("views", 20, lambda: w.call("GET", "/v1/sessions", headers=token(w, "rival")).status == 200)
    for (method, path), (capability, scope) in sorted(matrix().items(), key=lambda row: row[0] in MAKES):
        if scope not in ("object", "tenant") or path.startswith("/v1/bench/") or path.startswith("/v1/log/"):
            continue
        if scope == "tenant":
            theirs, none = "acme", "nix1"
        else:
            area = next((a for a in ours if path.startswith(a)), None)
            check(area is not None, f"no object to try {method} {path} with: add one to objects()")
            theirs, none = ours[area], "nothing"
        rival = token(w, "rival", capability)
        answers = []
        for name in (theirs, none):
            at = re.sub(r"\{(id|tenant|event_id|erasure_id|call_id)\}", name, path).replace("{type}", "session")
            status, body = call(w, method, at, rival, BODIES.get((method, path)))
            answers.append((status, body.replace(name, "ID")))
        if (method, path) in MAKES:  # the rival's own, new
            check(all(status == 200 and '"version":1,' in body for status, body in answers), f"{method} {path}: {answers}")
        else:
            equal(answers[0], answers[1], f"{method} {path}")
            equal(answers[0][0], 404, f"{method} {path}")
        tried += 1
    print(f"GATE S3 foreign = missing {tried} all PASS", flush=True)


MAKES = {("PUT", "/v1/users/{id}"), ("PUT", "/v1/services/{id}")}

run("--constitution-trusted-keys", SIGNER.public, "--mode", "test")
