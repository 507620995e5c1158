"""The routes that there are, by the node and by the authorization matrix, and a body that each would take."""

import os

from harness import ROOT, check

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


def matrix():
    """By the matrix: {(method, path): (capability, scope)}."""
    rows = {}
    with open(MATRIX, encoding="utf-8") as file:
        for line in file:
            if not line.startswith(("#", "soma\t")):  # verbs: cli_rights_test
                method, path, capability, scope = line.rstrip("\n").split("\t")
                check((method, path) not in rows, f"{method} {path} stands twice in the matrix")
                check(scope in ("open", "caller", "object", "tenant", "server"), f"{method} {path}: scope {scope}")
                check((scope == "open") == (capability == "public"), f"{method} {path}: open is public, and nothing else")
                rows[method, path] = (capability, scope)
    return rows


def served(client):
    """By the node: {(method, path): capability}."""
    routes = {}
    for path, methods in client.call("GET", "/openapi.json").json["paths"].items():
        for method, route in methods.items():
            if isinstance(route, dict) and "x-soma-capability" in route:
                routes[method.upper(), path] = route["x-soma-capability"]
    return routes
