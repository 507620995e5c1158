#!/usr/bin/env python3
"""In production, where the setting asks for it, the erasure of a person waits for a second one: over kills of the node, and until
then nothing is erased; what is rejected leaves nothing behind that names whom it was about.
"""

import os

import harness
from harness import check, soma, wait_until

PRODUCTION = {"SOMAGENT_DEPLOYMENT_MODE": "production"}
CAPABILITIES = "memory:*,privacy:*,approval:*,tenant:*,settings:*,audit:*"


class World:
    def __init__(self, folder, upstream):
        self.folder, self.flags = folder, upstream.flags
        self.start(PRODUCTION, "--erasure-two-keys", "true")

    def start(self, env, *flags):
        self.node = self.folder.node(*self.flags, *flags, env=env).wait_ready()

    def again(self, env=PRODUCTION, flags=("--erasure-two-keys", "true")):
        self.node.kill()
        self.start(env, *flags)

    def call(self, person, method, path, body=None, status=200, **more):
        os.environ.update(PRODUCTION)
        code, token, err = soma("auth", "token", "--tenant", "acme", "--sub", person, "--cap", CAPABILITIES, data=self.folder.data)
        check(code == 0, err)
        client = harness.Client(self.node.url, token.strip())
        # While the log is read again, commands get 503 for a moment.
        answer = wait_until("an answer", 60, lambda: (lambda a: a.status != 503 and a)(client.call(method, path, body, **more)), 0.1)
        check(answer.status == status, f"{person}: {method} {path}: {answer.status}, not {status}: {answer.body}")
        return answer.json

    def remembers(self, person, word):
        self.call(person, "POST", "/v1/remember", {"text": f"{person} said {word}"}, key=f"{person}-{word}")

    def recalls(self, word):
        found = self.call("ana", "POST", "/v1/recall", {"query": f"who said {word}"})["results"]
        return any(word in str(r["payload"]) for r in found)

    def erase(self, person, key):
        asked = self.call("ana", "POST", "/v1/tenants/acme/erase-subject", {"subject": person, "reason": "asked for"}, 202, key=key)
        check(asked["status"] == "pending_approval" and asked["approval_id"], asked)
        path = f"/v1/approvals/{asked['approval_id']}"
        wait_until("it is asked for", 20, lambda: any(
            a["approval_id"] == asked["approval_id"] for a in self.call("bob", "GET", "/v1/approvals?status=pending")["items"]), 0.1)
        return asked["erasure_id"], path

    def erasure(self, erasure, status=200):
        return self.call("bob", "GET", f"/v1/tenants/acme/erasures/{erasure}", status=status)

    def names(self, word):
        """Files of the vault that hold the word in clear."""
        found = []
        for base, _, files in os.walk(os.path.join(self.folder.data, "keys")):
            for name in files:
                with open(os.path.join(base, name), "rb") as f:
                    if word.encode() in f.read():
                        found.append(name)
        return found


def waits(w):
    """One person alone erases nobody, whatever happens to the node meanwhile."""
    w.remembers("zelda", "xylophone")
    erasure, path = w.erase("zelda", "one")
    again = w.call("ana", "POST", "/v1/tenants/acme/erase-subject", {"subject": "zelda", "reason": "asked for"}, 202, key="one")
    check(again["erasure_id"] == erasure, f"a retry asks again: {again}")
    shown = w.erasure(erasure)
    check((shown["status"], shown["subject"], shown["requested_by"]) == ("pending_approval", "zelda", "ana"), shown)
    summary = w.call("bob", "GET", path)
    check(summary["action"] == "privacy.erase_subject" and "zelda" not in str(summary), f"the approval names the person: {summary}")
    w.call("ana", "POST", path + "/approve", {}, 403)
    w.again()
    check(w.erasure(erasure)["status"] == "pending_approval", "forgotten by a kill")
    check(w.recalls("xylophone"), "erased without a second key")
    return erasure, path


def erased(w, erasure, path):
    w.call("bob", "POST", path + "/approve", {"reason": "checked"})
    done = wait_until("the certificate", 60, lambda: (lambda e: e if e["status"] == "done" else None)(w.erasure(erasure)), 0.2)
    check(done["approved_by"] == "bob" and "subject" not in done, done)
    check(wait_until("it is gone", 30, lambda: not w.recalls("xylophone"), 0.2), "still recalled")
    told = w.call("bob", "GET", "/v1/audit/events?type=erasure.approved")["items"]
    check([(e["topic"], e["data"]["erasure_id"], e["data"]["approved_by"]) for e in told] == [("identity.audit", erasure, "bob")], told)
    check(not w.names('"zelda"'), f"the vault still names the person: {w.names('zelda')}")
    w.call("bob", "POST", path + "/approve", {}, 409)


def killed_behind_the_approval(w):
    """What was approved is done, also by the next life of the node."""
    w.remembers("mallory", "bassoon")
    erasure, path = w.erase("mallory", "two")
    w.call("bob", "POST", path + "/approve", {})
    w.again()
    wait_until("the certificate after a kill", 60, lambda: w.erasure(erasure)["status"] == "done", 0.2)
    check(not w.recalls("bassoon"), "still recalled")


def rejected(w):
    w.remembers("trent", "clarinet")
    erasure, path = w.erase("trent", "three")
    check(w.names("trent"), "the node does not know whom it is about")
    w.call("bob", "POST", path + "/reject", {"reason": "no"})
    wait_until("nothing names the person any more", 20, lambda: not w.names('"trent"'), 0.1)
    w.erasure(erasure, 404)
    check(w.recalls("clarinet"), "erased though it was rejected")
    # Killed behind the rejection: its next life finds out.
    erasure, path = w.erase("trent", "four")
    w.call("bob", "POST", path + "/reject", {})
    w.again()
    wait_until("nothing names the person after a kill", 20, lambda: not w.names('"trent"'), 0.1)
    check(w.recalls("clarinet"), "erased though it was rejected")


def only_where_it_is_asked_for(w):
    """Without the setting, or outside production, one person is enough."""
    w.again(flags=())
    begun = w.call("ana", "POST", "/v1/tenants/acme/erase-subject", {"subject": "nobody"}, 202)
    check(begun["status"] == "running", begun)
    wait_until("done at once", 60, lambda: w.erasure(begun["erasure_id"])["status"] == "done", 0.2)
    check(w.erasure(begun["erasure_id"])["approved_by"] is None, "nobody approved it")


def test():
    with harness.Upstream() as upstream, harness.Folder() as folder:
        w = World(folder, upstream)
        erased(w, *waits(w))
        killed_behind_the_approval(w)
        rejected(w)
        only_where_it_is_asked_for(w)
        check(w.node.terminate()[0] == 0, "exit code")
        harness.verify_deep(folder.data)
    print("erased with two keys, by the next life of the node too; not with one; a rejected one leaves no name")


if __name__ == "__main__":
    harness.main(test)
