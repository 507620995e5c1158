#!/usr/bin/env python3
"""Rows in a node's own PostgreSQL are tampered with: named, replaced by a rebuild under which lists go on, proven again."""

import threading

import harness
from harness import check, soma_error as bad, soma_lines as good, wait_until

SESSIONS = 20


class Lists:
    """Asks for the list, again and again, until it is told to stop."""

    def __init__(self, url, wanted):
        self.client, self.wanted, self.answers, self.wrong, self.stop = harness.Client(url), wanted, 0, [], False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.stop:
            answer = self.client.call("GET", "/v1/sessions?limit=200")
            if answer.status != 200 or {s["session_id"] for s in answer.json["items"]} != self.wanted:
                self.wrong.append(f"{answer.status} {answer.body[:300]}")
            self.answers += 1

    def end(self):
        self.stop = True
        self.thread.join(30)
        check(not self.wrong, f"{len(self.wrong)} of {self.answers} lists during the rebuild: {self.wrong[:1]}")


def tampered(data, session):
    """(what, statement, table, column); each makes one row wrong, and tells the row's event."""
    where = f"WHERE session_id = '{session}'"
    yield ("an answer", f"UPDATE session_events SET data = replace(data::text, 'scripted', 'forged')::json {where} AND "
           "type = 'model.answered' RETURNING event_id", "session_events", "data")
    yield "a decision", f"UPDATE decisions SET allow = NOT allow WHERE actor_id = '{session}' RETURNING ''", "decisions", "allow"
    yield "the session", f"UPDATE sessions SET status = 'failed' {where} RETURNING ''", "sessions", "status"
    yield "a lost row", f"DELETE FROM session_events {where} AND sequence = 1 RETURNING event_id", "session_events", ""


def proven(data, url):
    report = good(data, "projections", "verify")[0]
    check(report["ok"] and report["wrong_actors"] == 0 and report["differences"] == [], report)
    for whole in (good(data, "verify")[0], good(None, "--server", url, "verify")[0]):
        check(whole["ok"] and whole["first_bad"] is None and whole["projections"]["rows"] == report["rows"], f"{whole}")
    table = harness.soma("verify", "-o", "table", data=data)[1]
    check(f"views      {report['rows']} rows equal what the events make\n" in table, table)


def whole_is_bad(data, url):
    """`soma verify` too, of the folder and of the named node, says that the views are not the journal's."""
    for words, of in ((("verify",), data), (("--server", url, "verify"), None)):
        code, out, err = harness.soma(*words, "-o", "json", data=of)
        report = harness.json.loads(out.splitlines()[0])
        check(code == 9 and not report["ok"] and report["first_bad"]["invariant"] == "I10", f"{words}: {code} {out}{err}")


def test():
    with harness.Upstream({"tokens": ["a ", "scripted ", "answer"]}) as upstream, harness.Folder() as folder:
        node = folder.node(*upstream.flags).wait_ready()
        client, data = harness.Client(node.url), folder.data
        sessions = [client.call("POST", "/v1/sessions/start", {"prompt": f"number {n}"}).json["session_id"] for n in range(SESSIONS)]
        listed = lambda: {s["session_id"] for s in client.call("GET", "/v1/sessions?limit=200&status=completed").json.get("items", [])}
        wait_until("the views", 60, lambda: listed() == set(sessions), 0.1)
        wait_until("all rows", 60, lambda: good(data, "projections", "lag")[0]["lag_frames"] == 0, 0.1)
        proven(data, node.url)
        for what, sql, table, column in tampered(data, sessions[3]):
            event = harness.psql(data, sql)[0]
            code, out, err = harness.soma("projections", "verify", "-o", "json", data=data)
            check(code == 9, f"{what}: exit {code} {out}{err}")
            report = harness.json.loads(out.splitlines()[0])
            check(report["wrong_actors"] == 1 and len(report["differences"]) == 1, f"{what}: {report}")
            told = report["differences"][0]
            check((told["table"], told["column"]) == (table, column), f"{what}: {told}")
            check(told["actor"] == f"demo/session/{sessions[3]}" and event in told["event_id"], f"{what}: {told}, not {event}")
            check("rebuild" in bad(data, 9, "projections", "verify")["hint"], "what to do")
            whole_is_bad(data, node.url)
            lists = Lists(node.url, set(sessions))
            wait_until("the first list", 20, lambda: lists.answers > 0)
            done = good(data, "projections", "rebuild")[-1]
            check(done["status"] == "rebuilt" and done["rows"] > 0, f"{what}: {done}")
            lists.end()
            proven(data, node.url)
        code, _ = node.terminate()
        check(code == 0, f"the node ended with {code}")
    print(f"4 kinds of tampering named by table, row and event; {SESSIONS} sessions listed all through the rebuilds")


if __name__ == "__main__":
    harness.main(test)
