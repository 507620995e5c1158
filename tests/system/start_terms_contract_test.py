"""What is in force when a model call starts: calls that wait for a slot while something changes are judged again.

The pool of a tenant's single calls has eight slots. Eight calls that take long fill them; what is asked for then waits,
meanwhile something changes, and what was forbidden by that never reaches the model."""

import json
import tempfile
import threading

from constitution import Signer
from contract import as_, case, equal, run
from harness import Client, check, wait_until

FOLDER = tempfile.TemporaryDirectory()
SIGNER = Signer(FOLDER.name)
SLOTS, SLOW = 8, 6000  # ms
NUMBER = iter(range(1000))


def asked(w):
    """The last message of each chat that the model was asked."""
    seen = Client(w.upstream.base_url.removesuffix("/v1")).call("GET", "/control/requests").json
    return [json.loads(r["body"])["messages"][-1]["content"] for r in seen if r["path"].endswith("/chat/completions")]


def request(w, prompt, person="ana", capabilities="*", **metadata):
    body = {"mode": "infer_sync", "payload": {"prompt": prompt}, "metadata": metadata}
    return w.ok("POST", "/v1/requests", body, 202, headers=as_(w, person, "acme", capabilities)).json["request_id"]


def ended(w, request_id):
    def look():
        state = w.ok("GET", f"/v1/requests/{request_id}", headers=as_(w)).json
        return state if state["status"] != "pending" else None

    return wait_until(f"{request_id} has ended", 40, look)


def decided(w, request_id):
    """The hashes of the constitutions under which it was decided, in order."""
    events = w.ok("GET", f"/v1/actors/inference/{request_id}/history", headers=as_(w)).json["items"]
    return [e["data"]["decision"]["constitution_hash"] for e in events if e["type"] == "policy.decided"]


def with_slots_full(w, waiting, change):
    """Runs `change` while the calls of `waiting` wait, {name: (person, capabilities, metadata)}; {name: how each ended}, and names that
    the model was asked."""
    if w.call("GET", "/v1/constitution", headers=as_(w)).status != 200:
        w.ok("POST", "/v1/constitution/load", SIGNER.bundle("1", {}), headers=as_(w))
    budget(w, 10_000_000)
    run_id = next(NUMBER)
    w.script(tokens=["late"], delay_ms=SLOW)
    slow = [request(w, f"slow {run_id} {i}") for i in range(SLOTS)]
    wait_until("the slots are full", 20, lambda: sum(p.startswith(f"slow {run_id} ") for p in asked(w)) == SLOTS)
    w.script(tokens=["Now"])
    ids = {name: request(w, f"{name} {run_id}", person, capabilities, **metadata)
           for name, (person, capabilities, metadata) in waiting.items()}
    check(not any(p.split()[0] in waiting and p.endswith(f" {run_id}") for p in asked(w)), "a call did not wait")
    change()
    check(w.ok("GET", f"/v1/requests/{slow[0]}", headers=as_(w)).json["status"] == "pending", "the change came too late to try it")
    ends = {name: ended(w, i) for name, i in ids.items()}
    for i in slow:
        equal(ended(w, i)["status"], "completed", "what had begun ends well")
    return ids, ends, {p.split()[0] for p in asked(w) if p.endswith(f" {run_id}")}


def budget(w, tokens):
    w.ok("PUT", "/v1/tenants/acme", {"deployment_mode": "test", "budgets_tokens": tokens}, headers=as_(w))


@case
def who_is_not_admitted_any_more_has_nothing_sent(w):
    for person in ("dan", "eve"):
        w.ok("PUT", f"/v1/users/{person}", {"capabilities": ["slm:infer"]}, headers=as_(w))

    def change():
        w.ok("PUT", "/v1/users/dan", {"capabilities": ["slm:infer"], "active": False}, headers=as_(w))
        w.ok("PUT", "/v1/users/eve", {"capabilities": ["session:read"]}, headers=as_(w))

    waiting = {"dan": ("dan", "slm:infer", {}), "eve": ("eve", "slm:infer", {}), "ana": ("ana", "*", {})}
    ids, ends, reached = with_slots_full(w, waiting, change)
    equal({name: (e["status"], (e.get("error") or {}).get("code")) for name, e in ends.items()},
          {"dan": ("error", "asker_not_admitted"), "eve": ("error", "asker_not_admitted"), "ana": ("completed", None)}, "ends")
    equal(reached, {"ana"} | {"slow"} & reached, "what the model was asked")
    equal(len(decided(w, ids["ana"])), 1, "nothing of hers changed: judged once")


@case
def a_new_constitution_holds_for_what_waits(w):
    bundle = SIGNER.bundle("2", {"prohibited_actions": ["slm.embed"], "maximum_risk": 0.5})
    change = lambda: w.ok("POST", "/v1/constitution/load", bundle, headers=as_(w))
    ids, ends, reached = with_slots_full(w, {"ana": ("ana", "*", {}), "bob": ("bob", "*", {"risk_score": 0.55})}, change)
    equal({n: e["status"] for n, e in ends.items()}, {"ana": "completed", "bob": "error"}, "ends")
    equal(ends["bob"]["error"]["code"], "policy_denied", "why")
    check("bob" not in reached and "ana" in reached, str(reached))
    first, second = decided(w, ids["ana"])
    check(first != second == bundle["hash"], "judged again under the new one")


@case
def rules_and_budgets_hold_for_what_waits(w):
    def change():
        text = '@id("not-bob") forbid(principal == User::"bob", action, resource);'
        w.ok("PUT", "/v1/policy/rules", {"rules": text}, headers=as_(w))

    ids, ends, reached = with_slots_full(w, {"ana": ("ana", "*", {}), "bob": ("bob", "*", {})}, change)
    equal({n: e["status"] for n, e in ends.items()}, {"ana": "completed", "bob": "error"}, "ends")
    check("bob" not in reached and "ana" in reached, str(reached))
    ids, ends, reached = with_slots_full(w, {"ana": ("ana", "*", {})}, lambda: budget(w, 1))
    equal(ends["ana"]["error"]["code"], "budget_exhausted", "why")
    check("ana" not in reached, str(reached))
    budget(w, 10_000_000)
    usage = w.ok("GET", "/v1/tenants/acme/usage", headers=as_(w)).json
    equal(usage["reserved_tokens"], 0, "what was reserved went back")


@case
def the_kill_switch_stops_what_waits(w):
    switch = lambda on: w.ok("POST", "/v1/admin/kill-switch", {"enabled": on, "reason": "a test"}, headers=as_(w))
    answers = []

    def ask():
        body = {"prompt": "and wait for it" * 2000}  # so that what it reserves is no other's
        answers.append(Client(w.url).call("POST", "/v1/infer_sync", body, headers=as_(w, "cleo")))

    asking = threading.Thread(target=ask)

    def change():
        reserved = lambda: w.ok("GET", "/v1/tenants/acme/usage", headers=as_(w)).json["reserved_tokens"]
        before = reserved()
        asking.start()
        wait_until("it is paid for, and so was let in", 20, lambda: reserved() >= before + 4096)
        switch(True)

    ids, ends, reached = with_slots_full(w, {"ana": ("ana", "*", {})}, change)
    asking.join(30)
    equal((answers[0].status, answers[0].headers.get("Retry-After")), (503, "30"), "whoever waits is told when to ask again")
    equal(ends["ana"]["error"]["code"], "kill_switch_active", "why")
    check("ana" not in reached, str(reached))
    refused = w.call("POST", "/v1/infer_sync", {"prompt": "x"}, headers=as_(w))
    equal((refused.status, refused.json["detail"]), (503, "Gateway kill-switch active"), "new calls")
    switch(False)
    w.ok("POST", "/v1/infer_sync", {"prompt": "x"}, headers=as_(w))


run("--constitution-trusted-keys", SIGNER.public, "--mode", "test")
