"""The routes that there are, by the node and by the authorization matrix, and a body that each would take."""

import os
import re

from harness import ROOT, check, wait_until

MATRIX = os.path.join(ROOT, "runtime", "api", "authorization.tsv")

# Bodies that a route would take, where it needs one: so that what refuses is the right, not the schema.
BODIES = {
    ("POST", "/v1/log/sql"): {"query": "select 1 as x"},
    ("POST", "/v1/sessions/{id}/messages"): {"content": "x"},
    ("POST", "/v1/sessions/{id}/fork"): {"at_sequence": 1},
    ("POST", "/v1/sessions/{id}/tools/{call_id}"): {"output": "x"},
    ("POST", "/v1/approvals/{id}/delegate"): {"to": "zoe"},
    ("POST", "/v1/approvals/{id}/edit"): {"content": "x"},
    ("POST", "/v1/tenants/{id}/rollback"): {"version": 1},
    ("PUT", "/v1/services/{id}"): {"capabilities": []},
    ("POST", "/v1/admin/effects/{id}/resolve"): {"outcome": "done", "reason": "seen"},
    ("POST", "/v1/tenants/{id}/erase-subject"): {"subject": "nobody here"},
}
# What is never ours to try on a node whose answers the other cases need.
NOT_TRIED = {("POST", "/v1/settings/mode"), ("POST", "/v1/admin/kill-switch"), ("POST", "/v1/tokens/rotate"),
             ("DELETE", "/v1/admin/snapshots"), ("POST", "/v1/admin/projections/rebuild")}
# A PUT that makes what is not there: the caller's own.
MAKES = {("PUT", "/v1/users/{id}"), ("PUT", "/v1/services/{id}")}
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def matrix():
    """By the matrix: {(method, path): (capability, scope)}."""
    rows = {}
    with open(MATRIX, encoding="utf-8") as file:
        for line in file:
            if not line.startswith(("#", "soma\t", "role\t")):  # verbs: cli_rights_test
                method, path, capability, scope = line.rstrip("\n").split("\t")
                check((method, path) not in rows, f"{method} {path} stands twice in the matrix")
                check(scope in ("open", "caller", "object", "tenant", "server"), f"{method} {path}: scope {scope}")
                check((scope == "open") == (capability == "public"), f"{method} {path}: open is public, and nothing else")
                rows[method, path] = (capability, scope)
    return rows


def roles():
    """Kinds of callers, by the matrix: {name: "cap,cap"}."""
    with open(MATRIX, encoding="utf-8") as file:
        rows = [line.rstrip("\n").split("\t") for line in file if line.startswith("role\t")]
    return {name: capabilities for _, name, capabilities, _ in rows}


def may(capabilities, wanted):
    """Whether somebody with these capabilities may do what needs that one."""
    area = wanted.split(":")[0]
    return wanted == "authenticated" or any(c in ("*", wanted, f"{area}:*") for c in capabilities.split(","))


def served(client):
    """By the node: {(method, path): capability}."""
    routes = {}
    for path, methods in client.call("GET", "/openapi.json").json["paths"].items():
        for method, route in methods.items():
            if isinstance(route, dict) and "x-soma-capability" in route:
                routes[method.upper(), path] = route["x-soma-capability"]
    return routes


def tried_on(path, name):
    """The path with a name in its place."""
    return re.sub(r"\{\w+\}", name, path.replace("{type}", "session"))


def own_objects(w, mine, signer, user="zoe", service="bot"):
    """What the tenant of the token `mine` owns from here on, by the area of a route's path. The user and the service are named so."""
    w.ok("POST", "/v1/constitution/load", signer.bundle("1", {}), headers=mine)
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
    w.ok("PUT", f"/v1/users/{user}", {"capabilities": []}, headers=mine)
    w.ok("PUT", f"/v1/services/{service}", {"capabilities": []}, headers=mine)
    actors = w.ok("GET", "/v1/actors?limit=200", headers=mine).json["items"]
    check(any(a.get("id") == session for a in actors), f"no actor {session}")
    event = w.ok("GET", f"/v1/sessions/{session}/events?limit=1", headers=mine).json["items"][0]["event_id"]
    return {"/v1/audit/proof/": event, "/v1/sessions/": session, "/v1/approvals/": approval, "/v1/requests/": request["request_id"],
            "/memory/": memory, "/v1/decisions/": decision, "/v1/users/": user, "/v1/services/": service, "/v1/actors/": session,
            "/v1/admin/effects/": session, "/v1/admin/parked/": session, "/v1/bench/": "ours"}


def ask(w, method, path, headers, body=None):
    """(status, headers and body): what must be alike where nothing may be told apart. Of a socket the status alone."""
    if path.endswith("/ws") and method == "GET":
        sock = w.socket(path, headers)
        head, _, rest = sock.head.partition("\r\n\r\n")
        sock.close()
        return int(head.split()[1]), ""
    answer = w.call(method, path, body, headers={**headers, "X-Request-ID": "same", "traceparent": TRACE})
    kept = {k: v for k, v in answer.headers.items() if k not in ("Date", "Content-Length", "traceparent", "X-Request-ID")}
    return answer.status, repr(sorted(kept.items())) + answer.body
