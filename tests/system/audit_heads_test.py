#!/usr/bin/env python3
"""A node signs heads by itself, each interval: of every tenant with new records, and of none without."""

import itertools

import audit_test
import harness
from harness import check, soma, wait_until

USERS = itertools.count()


def writes(client):
    answer = client.call("PUT", f"/v1/users/user{next(USERS)}", {"capabilities": []})
    check(answer.status == 200, answer.body)


def heads(client):
    answer = client.call("GET", "/v1/audit/head")
    check(answer.status == 200, answer.body)
    return answer.json["items"]


def next_head(client):
    """Under writes, without asking for it."""
    before = len(heads(client))

    def appeared():
        writes(client)
        return len(heads(client)) > before
    wait_until("a head that nobody asked for", 30, appeared, 0.1)


def test():
    with harness.Folder() as folder, harness.Upstream() as upstream:
        flags = (*upstream.flags, "--postgres", harness.NO_POSTGRES)
        node = folder.node(*flags, "--audit-head-interval-s", "1").wait_ready()
        demo = harness.Client(node.url)
        code, token, err = soma("auth", "token", "--tenant", "acme", "--sub", "ann", "--cap", "*", data=folder.data)
        check(code == 0, err)
        acme = harness.Client(node.url, token.strip())
        writes(acme)
        # The passes sign acme before demo: with demo's next head acme's last record is signed.
        next_head(demo)
        next_head(demo)
        quiet = heads(acme)
        check(len(quiet) >= 1, "no head of the tenant that wrote once")
        for _ in range(2):
            next_head(demo)
        check(heads(acme) == quiet, f"a head without new records: {heads(acme)}")
        mine = heads(demo)
        check(len(mine) >= 4, mine)
        stand = [(head["records"], head["time_ms"]) for head in reversed(mine)]  # the newest comes first
        check(all(a < b and s < t for (a, s), (b, t) in zip(stand, stand[1:])), f"heads that do not go on: {stand}")
        asked = demo.call("POST", "/v1/audit/head").json
        report = audit_test.judge(demo.call("POST", "/v1/audit/export").body.encode(), asked["key"])
        check(report["ok"] and report["older_heads"] >= len(mine), f"each is the root of a prefix: {report}")
        node.terminate()
        # 0: only when asked.
        node = folder.node(*flags, "--audit-head-interval-s", "0").wait_ready()
        demo = harness.Client(node.url)
        kept = len(heads(demo))
        writes(demo)
        demo.call("POST", "/v1/audit/head")
        check(len(heads(demo)) == kept + 1, "one was asked for")
        node.terminate()
    print(f"{len(mine)} heads signed by themselves, none of a tenant that was quiet")


if __name__ == "__main__":
    harness.main(test)
