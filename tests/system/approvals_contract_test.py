"""Second keys when things go wrong: a model that cannot be reached, crashes around the decision, time, delegation, edits."""

import random
import subprocess
import threading
import urllib.parse

import harness
from contract import equal, problem
from harness import BROKEN, Client, Folder, Upstream, check, soma, wait_until

PEOPLE = "session:*,approval:*,audit:*,policy:*"


class Model:
    """A scripted model server that comes and goes, always at the same port."""

    def __init__(self):
        self.upstream = Upstream()
        self.flags = self.upstream.flags
        self.port = urllib.parse.urlsplit(self.upstream.base_url).port

    def down(self):
        self.upstream.process.kill()
        self.upstream.process.wait()

    def up(self):
        self.upstream.process = subprocess.Popen([harness.UPSTREAM, "--port", str(self.port)], stdout=subprocess.PIPE,
                                                 stderr=subprocess.DEVNULL)
        check(self.upstream.process.stdout.readline(), "the model server did not come back at its port")

    def chats(self):
        return Client(self.upstream.base_url.removesuffix("/v1")).call("GET", "/control/stats").json["chats"]


class World:
    def __init__(self, folder, model):
        self.folder, self.model = folder, model
        self.start()

    def start(self):
        self.node = self.folder.node(*self.model.flags).wait_ready(60)
        self.client = Client(self.node.url)

    def people(self):
        self.tokens = {}
        for person in ("ada", "bob", "carol", "root", "svc:clerk"):
            rights = PEOPLE if person in ("ada", "bob", "carol") else "*"
            code, out, err = soma("auth", "token", "--tenant", "acme", "--sub", person, "--cap", rights, data=self.node.data)
            check(code == 0, err)
            self.tokens[person] = {"Authorization": "Bearer " + out.strip()}

    def call(self, person, method, path, body=None):
        return self.client.call(method, path, body, headers=self.tokens[person])

    def ok(self, person, method, path, body=None, status=200):
        answer = self.call(person, method, path, body)
        check(answer.status == status, f"{method} {path}: {answer.status} {answer.body[:300]}")
        return answer.json

    def park(self, prompt="send it", **metadata):
        session = self.ok("ada", "POST", "/v1/sessions/start", {"prompt": prompt, "metadata": {"requires_human": True, **metadata}},
                          202)["session_id"]
        return session, self.approval_of(session)["approval_id"]

    def approval_of(self, session):
        """The session's latest; it is sent to the register, and so there a moment after the session waits."""
        def look():
            items = self.ok("ada", "GET", "/v1/approvals?limit=200")["items"]
            return [a for a in items if a.get("session_id") == session]

        return wait_until("the approval is there", 20, look)[-1]

    def approval(self, approval):
        return self.ok("ada", "GET", f"/v1/approvals/{approval}")

    def session(self, session):
        return self.ok("ada", "GET", f"/v1/sessions/{session}")

    def types(self, session):
        return [e["type"] for e in self.ok("ada", "GET", f"/v1/sessions/{session}/events?limit=200")["items"]]

    def ended(self, session):
        def look():
            state = self.session(session)
            return state if state["status"] in ("completed", "failed", "cancelled") else None

        return wait_until("the session ends", 30, look)

    def pending_with_error(self, approval):
        def look():
            a = self.approval(approval)
            return a if a["status"] == "pending" and a.get("error") else None

        return wait_until("the approval is pending again", 30, look)


def items_of(answer):
    return answer.json["items"] if answer.status == 200 else []  # 503: the views are not there yet


def cannot_start(w):
    """Refused connection: pending again at once with the error; approved again it runs; once, over a crash."""
    session, approval = w.park()
    listed = lambda status: session in [s["session_id"] for s in items_of(w.call("ada", "GET", f"/v1/sessions?status={status}"))]
    wait_until("the list shows that it waits", 30, lambda: listed("waiting_approval"))
    w.model.down()
    for _ in range(2):
        equal(w.ok("bob", "POST", f"/v1/approvals/{approval}/approve", {})["status"], "approved", "approve")
        again = w.pending_with_error(approval)
        equal(again["error"]["code"], "model_unavailable", "why")
        check("decided_by" not in again, again)
        state = w.session(session)
        equal((state["status"], state["turns"][0]["error"]["code"]), ("waiting_approval", "model_unavailable"), "session")
        usage = w.types(session)
        equal(usage[-1], "turn.reopened", "last event")
        w.node.kill()
        w.start()
        equal(w.approval(approval)["status"], "pending", "after a crash")
    told = [e["type"] for e in w.ok("ada", "GET", "/v1/audit/events?type=approval.reopened")["items"]]
    equal(len(told), 2, "told outside")
    w.model.up()
    w.ok("bob", "POST", f"/v1/approvals/{approval}/approve", {"reason": "now"})
    done = w.ended(session)
    equal((done["status"], len(done["turns"])), ("completed", 1), "it ran")
    check("error" not in done["turns"][0], done["turns"][0])
    wait_until("the list shows that it ran", 30, lambda: listed("completed"))
    equal(w.model.chats(), 1, "calls that reached the model")
    types = w.types(session)
    equal([types.count(t) for t in ("approval.requested", "approval.granted", "turn.reopened", "model.answered")], [1, 3, 2, 1], types)
    equal(w.approval(approval)["status"], "approved", "closed")
    problem(w.call("bob", "POST", f"/v1/approvals/{approval}/approve", {}), 409)


def crashes(w):
    """kill -9 within milliseconds of the decision, model away or there: each approved turn is answered exactly once."""
    for number in range(8):
        session, approval = w.park(f"round {number}")
        away = number % 2 == 0
        if away:
            w.model.down()

        def approve():
            try:
                w.call("bob", "POST", f"/v1/approvals/{approval}/approve", {})
            except BROKEN:
                pass  # the node went away under it

        asking = threading.Thread(target=approve)
        asking.start()
        asking.join(random.random() * 0.04)
        w.node.kill()
        asking.join(10)
        w.start()
        if away:
            w.model.up()

        def settled():
            state, a = w.session(session), w.approval(approval)
            if state["status"] == "completed":
                return "completed"
            return "waits" if state["status"] == "waiting_approval" and a["status"] == "pending" else None

        if wait_until("it runs, or waits again", 30, settled) == "waits":
            w.ok("bob", "POST", f"/v1/approvals/{approval}/approve", {})
        equal(w.ended(session)["status"], "completed", f"round {number}")
        types = w.types(session)
        equal([types.count(t) for t in ("model.answered", "turn.completed", "turn.failed")], [1, 1, 0], types)
        equal(types.count("approval.granted"), types.count("turn.reopened") + 1, types)
        equal(w.approval(approval)["status"], "approved", "closed")


def not_allowed_any_more(w):
    """Between approval and start a rule, then the kill switch, forbid it: it does not start, waits again, and says why."""
    session, approval = w.park("pay the bill")
    path, before = f"/v1/approvals/{approval}", w.model.chats()
    w.ok("bob", "PUT", "/v1/policy/rules", {"rules": '@id("not-now") forbid(principal == User::"ada", action, resource);'})
    equal(w.ok("bob", "POST", path + "/approve", {})["status"], "approved", "approve")
    error = w.pending_with_error(approval)["error"]
    check(error["code"] == "policy_denied" and "rule:not-now" in error["message"], error)
    equal(w.session(session)["status"], "waiting_approval", "session")
    code, out, err = soma("--token", w.tokens["ada"]["Authorization"][7:], "policy", "explain", session, "-o", "json", data=w.node.data)
    check(code == 0, err)
    why = harness.json.loads(out)
    equal(([r["id"] for r in why["matched_rules"]], why["asker"]["subject"], why["outcome"]["event"]), (["not-now"], "ada", "turn.reopened"), "why")
    check(why["decision_id"] in error["message"], f"{error} {why}")
    w.ok("bob", "PUT", "/v1/policy/rules", {"rules": ""})
    switch = lambda on: w.ok("root", "POST", "/v1/admin/kill-switch", {"enabled": on, "reason": "a drill"})
    switch(True)
    w.ok("bob", "POST", path + "/approve", {})
    equal(w.pending_with_error(approval)["error"]["code"], "kill_switch_active", "why")
    switch(False)
    equal(w.model.chats(), before, "nothing was asked of the model")
    w.ok("bob", "POST", path + "/approve", {})
    equal(w.ended(session)["status"], "completed", "allowed again, it runs")
    equal(w.model.chats(), before + 1, "once")
    types = w.types(session)
    equal([types.count(t) for t in ("policy.decided", "turn.reopened", "approval.granted", "model.answered")], [4, 2, 1, 1], types)
    told = [e for e in w.ok("ada", "GET", "/v1/audit/events?type=notification.raised&limit=200")["items"]
            if e["data"]["metadata"]["approval_id"] == approval]
    equal([(e["topic"], e["data"]["type"], e["data"]["severity"]) for e in told],
          [("notifications.events", "review", s) for s in ("warning", "error", "error")], "who should look is told")


def who_asked_is_out(w):
    session, approval = w.park("still here?")
    w.ok("root", "PUT", "/v1/users/ada", {"active": False})
    problem(w.call("bob", "POST", f"/v1/approvals/{approval}/approve", {}), 403, "forbidden",
            "ada, who asked for it, is deactivated; reject it")
    equal(w.ok("bob", "GET", f"/v1/approvals/{approval}")["status"], "pending", "nothing was decided")
    w.ok("root", "PUT", "/v1/users/ada", {"active": True})
    w.ok("bob", "POST", f"/v1/approvals/{approval}/approve", {})
    equal(w.ended(session)["status"], "completed", "in again")


def a_service_is_no_second_key(w):
    session, approval = w.park("ask a person")
    clerk = w.tokens["svc:clerk"]
    problem(w.client.call("GET", "/v1/approvals", headers=clerk), 401, "unauthenticated", "Invalid token")
    w.ok("root", "PUT", "/v1/services/clerk", {"capabilities": ["approval:*"]})
    equal(w.client.call("GET", "/v1/approvals", headers=clerk).status, 200, "it may read")
    for what in ("approve", "reject"):
        problem(w.client.call("POST", f"/v1/approvals/{approval}/{what}", {}, headers=clerk), 403, "forbidden",
                "a service may not decide; a person must")
    problem(w.call("bob", "POST", f"/v1/approvals/{approval}/delegate", {"to": "svc:clerk"}), 422, loc=["body", "to"])
    w.ok("bob", "POST", f"/v1/approvals/{approval}/approve", {})
    equal(w.ended(session)["status"], "completed", "a person may")


def time_runs_out(w):
    session, approval = w.park(approval_seconds=1)
    done = w.ended(session)
    equal((done["status"], done["error"]["code"]), ("failed", "approval_rejected"), "expired")
    equal(w.approval(approval)["status"], "expired", "approval")
    problem(w.call("bob", "POST", f"/v1/approvals/{approval}/approve", {}), 409)


def time_runs_out_while_it_cannot_start(w):
    session, approval = w.park(approval_seconds=4)
    w.model.down()
    w.ok("bob", "POST", f"/v1/approvals/{approval}/approve", {})
    w.pending_with_error(approval)
    done = w.ended(session)
    w.model.up()
    equal((done["status"], done["error"]["code"]), ("failed", "approval_rejected"), "expired")
    equal(w.approval(approval)["status"], "expired", "approval")
    equal(w.types(session).count("model.answered"), 0, "nothing ran")


def delegated(w):
    session, approval = w.park()
    path = f"/v1/approvals/{approval}"
    problem(w.call("ada", "POST", path + "/delegate", {"to": "bob"}), 403, "forbidden")
    problem(w.call("bob", "POST", path + "/delegate", {"to": "ada"}), 422, loc=["body", "to"])
    problem(w.call("bob", "POST", path + "/delegate", {}), 422, loc=["body", "to"])
    problem(w.call("bob", "POST", "/v1/approvals/apr_none/delegate", {"to": "carol"}), 404)
    shown = w.ok("bob", "POST", path + "/delegate", {"to": "carol", "reason": "she knows"})
    equal((shown["delegated_to"], shown["delegated_by"], shown["status"]), ("carol", "bob", "pending"), "delegated")
    problem(w.call("bob", "POST", path + "/approve", {}), 403, "forbidden")
    problem(w.call("bob", "POST", path + "/edit", {"content": "other"}), 403, "forbidden")
    equal(w.ok("carol", "POST", path + "/approve", {})["decided_by"], "carol", "decided")
    equal(w.ended(session)["status"], "completed", "ran")


def edited(w):
    session, approval = w.park("pay 100")
    path = f"/v1/approvals/{approval}"
    first = w.approval(approval)
    problem(w.call("bob", "POST", path + "/edit", {"content": "pay 100"}), 422, loc=["body", "content"])
    problem(w.call("bob", "POST", path + "/edit", {}), 422, loc=["body", "content"])
    shown = w.ok("bob", "POST", path + "/edit", {"content": "pay 10"})
    new = shown["approval_id"]
    equal((shown["session_id"], shown["replaces"]), (session, approval), "answer")
    wait_until("the old one is closed", 10, lambda: w.approval(approval)["status"] == "expired")
    equal(w.approval(approval)["replaced_by"], new, "old names new")
    after = wait_until("the new one", 10, lambda: w.approval(new))
    check(after["action_hash"] != first["action_hash"] and after["requested_by"] == "bob", after)
    equal((after["summary"], after["replaces"]), ("pay 10", approval), "what is approved now")
    problem(w.call("carol", "POST", path + "/approve", {}), 409)
    problem(w.call("bob", "POST", f"/v1/approvals/{new}/approve", {}), 403, "forbidden")
    w.ok("carol", "POST", f"/v1/approvals/{new}/approve", {})
    done = w.ended(session)
    equal((done["status"], done["turns"][0]["prompt"]), ("completed", "pay 10"), "what ran")
    # The same from the command line.
    session, approval = w.park("pay 100")
    token = w.tokens["bob"]["Authorization"][7:]
    code, out, err = soma("--token", token, "approval", "edit", approval, "--prompt", "pay 1", "-o", "json", data=w.node.data)
    check(code == 0, err)
    new = harness.json.loads(out)["approval_id"]
    token = w.tokens["carol"]["Authorization"][7:]
    code, out, err = soma("--token", token, "approval", "delegate", new, "--to", "ada", "-o", "json", data=w.node.data)
    check(code == 0 and harness.json.loads(out)["delegated_to"] == "ada", err)
    code, out, err = soma("--token", token, "approval", "approve", new, data=w.node.data)
    equal(code, 5, "delegated away")
    token = w.tokens["ada"]["Authorization"][7:]
    code, out, err = soma("--token", token, "approval", "approve", new, data=w.node.data)
    check(code == 0, err)
    equal(w.ended(session)["turns"][0]["prompt"], "pay 1", "what ran")


def run():
    model = Model()
    with model.upstream, Folder() as folder:
        w = World(folder, model)
        w.people()
        for part in (cannot_start, not_allowed_any_more, who_asked_is_out, a_service_is_no_second_key, crashes, time_runs_out, time_runs_out_while_it_cannot_start, delegated, edited):
            part(w)
            print(part.__name__, flush=True)
        w.node.terminate()
        harness.verify_deep(w.node.data)


harness.main(run)
