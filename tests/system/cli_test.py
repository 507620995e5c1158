#!/usr/bin/env python3
"""The soma command as users meet it: conventions of every verb, a running node, a stopped folder, a real terminal.

Terminals are tmux sessions on a socket of their own. Needs bash and tmux; zsh, fish and man are used where they are.
"""

import json
import os
import re
import shutil
import subprocess
import threading
import time

import harness
from harness import check, wait_until

ESCAPE = re.compile(r"\x1b")


def run(*args, env=None, stdin=None, timeout=60):
    """(exit code, stdout, stderr) of soma, with nothing of the caller's settings."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("SOMA_") or k == "SOMA_CACHE_DIR"}
    done = subprocess.run([harness.SOMA, *args], capture_output=True, text=True, timeout=timeout, check=False,
                          input=stdin, env={**clean, **(env or {})})
    return done.returncode, done.stdout, done.stderr


def good(*args, **options):
    code, out, err = run(*args, **options)
    check(code == 0, f"soma {' '.join(args)}: exit {code}\n{out}{err}")
    check(not ESCAPE.search(out + err), f"soma {' '.join(args)}: ANSI where nobody sees it")
    return out


def lines(*args, **options):
    return [json.loads(line) for line in good(*args, **options).splitlines()]


def refused(code, name, *args, **options):
    """The error convention: exit code, empty stdout, exactly one line of JSON on stderr."""
    got, out, err = run("-o", "json", *args, **options)
    what = f"soma {' '.join(args)}"
    check(got == code, f"{what}: exit {got}, not {code}\n{out}{err}")
    check(out == "", f"{what}: stdout is not empty: {out}")
    check(err.count("\n") == 1 and err.endswith("\n"), f"{what}: not one line on stderr: {err}")
    error = json.loads(err)["error"]
    check({"code", "message", "hint", "trace_id", "http_status"} <= set(error), f"{what}: members {sorted(error)}")
    check(error["code"] == name, f"{what}: code {error['code']}, not {name}")
    check(error["message"] and error["hint"], f"{what}: no message or no hint")
    got, out, err = run("-o", "table", *args, **options)
    check(got == code and out == "" and f"[{name}]" in err, f"{what}: as text: exit {got} {out}{err}")
    return error


def leaves(node):
    if not node["commands"]:
        yield node
    for child in node["commands"]:
        yield from leaves(child)


NAMED = """dev node demo doctor status version completion chat auth/token auth/whoami session/start session/list
  session/show session/events session/tail session/state session/diff session/send session/cancel session/export
  actor/types actor/list actor/show actor/history actor/state actor/diff log/stat log/tail log/get log/partitions
  log/export verify replay projections/list projections/lag projections/rebuild projections/verify effects/list
  effects/show snapshots/list snapshots/drop dlq/list dlq/show dlq/redrive policy/evaluate policy/explain
  policy/test policy/diff policy/rules/show policy/rules/load policy/rules/validate auth/rotate auth/revoke tenant/list tenant/usage tenant/erase-subject tenant/erasures constitution/show constitution/validate constitution/sign
  constitution/load constitution/history constitution/checksum approval/list approval/show approval/approve
  approval/reject approval/watch settings/get settings/set settings/history settings/rollback settings/mode
  memory/remember memory/recall slm/models slm/infer slm/embed tenant/show tenant/set generate/completion
  generate/man""".split()


def help_and_tree():
    tree = json.loads(good("--help", "-o", "json"))
    found = {leaf["path"].removeprefix("soma ").replace(" ", "/"): leaf for leaf in leaves(tree)}
    missing = [name for name in NAMED if name not in found]
    check(not missing, f"not in the tree: {missing}")
    for path, leaf in found.items():
        names = {n for option in leaf["options"] for n in option["names"]}
        check(leaf["effect"] in ("read", "write", "destructive"), f"{path}: effect {leaf['effect']}")
        check(leaf["example"] and leaf["summary"], f"{path}: no example or summary")
        if leaf["effect"] != "read" and not path.startswith("bench"):
            check("--dry-run" in names, f"{path} writes without --dry-run")
        if leaf["effect"] == "destructive":
            check("--yes" in names, f"{path} destroys without --yes")
        text = good(*leaf["path"].split()[1:], "--help")
        check("Usage: soma" in text and "Example" in text and leaf["example"] in text, f"{path} --help: {text}")
    check(found["snapshots/drop"]["effect"] == "destructive", "snapshots drop does not call itself destructive")
    check(found["session/list"]["effect"] == "read", "session list calls itself a write")
    return list(found)


def usage_errors():
    error = refused(2, "invalid_argument", "sesion")
    check("session" in error["hint"], f"no nearest name: {error}")
    error = refused(2, "invalid_argument", "session", "lsit")
    check("list" in error["hint"], f"no nearest name: {error}")
    error = refused(2, "invalid_argument", "session", "list", "--limt", "3")
    check("--limit" in error["hint"], f"no nearest option: {error}")
    refused(2, "invalid_argument", "session")
    refused(2, "invalid_argument", "session", "show")
    refused(2, "invalid_argument", "session", "list", "--limit", "0")
    refused(2, "invalid_argument", "auth", "token", "--ttl", "soon")
    refused(2, "invalid_argument", "completion", "tcsh")
    check(run("-o", "pretty", "version")[0] == 2, "an unknown form of output is taken")


def generated():
    bash = good("completion", "bash")
    check(subprocess.run(["bash", "-n"], input=bash, text=True, check=False).returncode == 0, "bash script")
    probe = bash + """
complete_words() { COMP_WORDS=("$@"); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _soma; echo "${COMPREPLY[*]}"; }
complete_words soma sess
complete_words soma --data-dir session session li
complete_words soma -o ''
complete_words soma session list --st
"""
    out = subprocess.run(["bash"], input=probe, text=True, capture_output=True, check=True).stdout.splitlines()
    check(out == ["session", "list", "table wide json yaml ndjson name", "--status"] or
          (out[0:2] == ["session", "list"] and set(out[2].split()) == {"table", "wide", "json", "yaml", "ndjson", "name"}
           and out[3] == "--status"), f"bash completes {out}")
    check(good("generate", "completion", "bash") == bash, "generate completion differs from completion")
    for shell in ("zsh", "fish"):
        script = good("completion", shell)
        check("session" in script and "redrive" in script, f"{shell} script lacks commands")
        if shutil.which(shell):
            done = subprocess.run([shell, "-n"], input=script, text=True, capture_output=True, check=False)
            check(done.returncode == 0, f"{shell} does not parse its script: {done.stderr}")
    man = good("generate", "man")
    check(man.startswith(".TH SOMA 1") and "soma session diff" in man and "integrity" in man, "man page")
    if shutil.which("man"):
        done = subprocess.run(["man", "--warnings", "-l", "-"], input=man, text=True, capture_output=True, check=False,
                              env={**os.environ, "MANPAGER": "cat", "MANWIDTH": "80"})
        check(done.returncode == 0 and "EXIT STATUS" in done.stdout, f"man does not show it: {done.stderr}")


def without_node(data):
    folder = ("--data-dir", data)
    error = refused(1, "unavailable", *folder, "status")
    check("soma dev" in error["hint"], f"what to do next? {error}")
    refused(3, "not_found", *folder, "verify")
    refused(1, "unavailable", "--server", "http://127.0.0.1:1", "session", "list")
    refused(1, "unavailable", *folder, "session", "list")


def running_node(data, url):
    at = ("--data-dir", data)
    check(good(*at, "auth", "token").count(".") == 2, "no token")
    check(json.loads(good(*at, "auth", "whoami"))["tenant_id"] == "demo", "whoami")
    check(json.loads(good(*at, "memory", "remember", "The fence is blue."))["ok"], "remember")
    check(lines(*at, "memory", "recall", "fence blue")[0]["memory_id"], "recall")
    code, out, err = run(*at, "memory", "recall", "fence blue", "-o", "table")
    check(code == 0 and out.split("\n")[0].split() == ["MEMORY_ID", "TEXT"], f"recall: {out}{err}")
    code, out, err = run(*at, "memory", "recall", "fence blue", "--explain", "-o", "table")
    check(code == 0 and out.split("\n")[0].split() == ["MEMORY_ID", "SCORE", "RETRIEVER", "DEGRADED_REASON", "TEXT"],
          f"recall --explain: {out}{err}")
    why = lines(*at, "memory", "recall", "fence blue", "--explain")[0]
    check(why["score"] > 0 and why["retriever"] and "degraded_reason" in why, f"recall --explain: {why}")
    planned = json.loads(good(*at, "slm", "embed", "hello", "--dry-run"))
    check(planned["dry_run"] and planned["path"] == "/v1/embedding", f"dry run: {planned}")
    first, again = (json.loads(good(*at, "slm", "embed", "hello", "--idempotency-key", "embed-1")) for _ in range(2))
    check(first == again, "the same key embedded twice")
    planned = json.loads(good(*at, "session", "start", "hello", "--dry-run"))
    check(planned["dry_run"] and planned["path"] == "/v1/sessions/start", f"dry run: {planned}")
    check(lines(*at, "session", "list") == [], "a dry run wrote something")
    first = json.loads(good(*at, "session", "start", "hello there", "--idempotency-key", "once", "-o", "json"))
    again = json.loads(good(*at, "session", "start", "hello there", "--idempotency-key", "once", "-o", "json"))
    check(first["session_id"] == again["session_id"], "the same key started two sessions")
    refused(8, "conflict", *at, "session", "start", "something else", "--idempotency-key", "once")
    session = first["session_id"]
    wait_until("answer", 20, lambda: json.loads(good(*at, "session", "show", session))["status"] == "completed", 0.1)
    events = lines(*at, "session", "events", session)
    check([e["sequence"] for e in events] == list(range(1, len(events) + 1)), "events")
    good(*at, "session", "send", session, "and more")
    wait_until("second", 20, lambda: len(json.loads(good(*at, "session", "show", session))["turns"]) == 2 and
               json.loads(good(*at, "session", "show", session))["status"] == "completed", 0.1)

    early = json.loads(good(*at, "session", "state", session, "--at", "2"))
    check(early["sequence"] == 2 and len(early["state"]["turns"]) == 1, f"--at 2: {early}")
    check(any(d["path"] == "/turns/1" for d in lines(*at, "session", "diff", f"{session}@2", session)), "session diff")
    check(lines(*at, "actor", "diff", f"session/{session}", "--from", "2", "--to", "2") == [], "diff of the same")
    check(json.loads(good(*at, "actor", "show", f"demo/session/{session}"))["sequence"] >= 10, "actor show")
    types = {t["type"] for t in lines(*at, "actor", "types")}
    check({"session", "tenant", "model", "memory"} <= types, f"types {types}")
    actors = lines(*at, "actor", "list")
    check(any(a["id"] == session for a in actors), "actor list")
    check(lines(*at, "actor", "list", "--filter", "type=tenant", "--limit", "1")[0]["type"] == "tenant", "--filter")
    code, out, err = run(*at, "actor", "list", "--limit", "1")
    check(code == 0 and "--cursor " in err, f"where does the list go on? {err}")
    cursor = err.split("--cursor ")[1].split()[0]
    check(lines(*at, "actor", "list", "--limit", "1", "--cursor", cursor) != [json.loads(out)], "the cursor stands still")

    decision = next(e for e in events if e["type"] == "policy.decided")["data"]["decision"]["decision_id"]
    explained = json.loads(good(*at, "policy", "explain", decision))
    check(explained["decision_id"] == decision and explained["reasons"] and explained["input"], f"explain: {explained}")
    refused(3, "not_found", *at, "policy", "explain", "dec_0")
    refused(3, "not_found", *at, "session", "show", "ses_0")
    refused(3, "not_found", *at, "actor", "show", "other/tenant/other")
    refused(4, "unauthenticated", *at, "--token", "nonsense", "session", "list")
    token = good(*at, "auth", "token", "--cap", "session:read").strip()
    error = refused(5, "forbidden", *at, "--token", token, "memory", "recall", "x")
    check(error["trace_id"] and error["http_status"] == 403, f"{error}")
    stranger = good(*at, "auth", "token", "--tenant", "other").strip()
    refused(3, "not_found", *at, "--token", stranger, "actor", "show", f"session/{session}")
    check(lines(*at, "--token", stranger, "actor", "list") == [], "another tenant's actors are shown")
    check(lines(*at, "--token", stranger, "log", "tail") == [], "another tenant's frames are shown")

    frames = lines(*at, "log", "tail", "--limit", "3")
    position = frames[-1]["position"]
    check(json.loads(good(*at, "log", "get", position))["position"] == position, "log get")
    refused(3, "not_found", *at, "--token", stranger, "log", "get", position)
    check(sum(p["records"] for p in lines(*at, "log", "partitions")) == json.loads(good(*at, "log", "stat"))["records"],
          "log stat")
    check(len(lines(*at, "log", "export")) > 5, "log export")
    exported = lines(*at, "session", "export", session)
    check("session" in exported[0] and len(exported) > 10, "session export")
    check(json.loads(good(*at, "tenant", "set", "--budget", "100000"))["budgets_tokens"] == 100000, "tenant set")
    check(json.loads(good(*at, "tenant", "show"))["budgets_tokens"] == 100000, "tenant show")
    check(lines(*at, "effects", "list") == [] and lines(*at, "dlq", "list") == [], "something is stuck")
    refused(3, "not_found", *at, "dlq", "redrive", "demo/session/x")
    refused(2, "invalid_argument", *at, "snapshots", "drop")
    check("dropped" in json.loads(good(*at, "snapshots", "drop", "--yes")), "snapshots drop")
    check(json.loads(good(*at, "session", "show", session))["status"] == "completed", "the session after the drop")
    for form, expected in (("yaml", "status: completed"), ("name", session), ("table", "status")):
        check(expected in good(*at, "session", "show", session, "-o", form), f"-o {form}")
    check(good(*at, "session", "list", "-o", "table").startswith("SESSION_ID"), "table")

    # A live folder is read safely, and the same questions have the same answers.
    report = json.loads(good(*at, "verify", "--deep", "-o", "json"))
    check(report["ok"] and report["first_bad"] is None and report["events"] > 20, f"live verify: {report}")
    offline = json.loads(good(*at, "--offline", "actor", "show", f"session/{session}"))
    online = json.loads(good(*at, "actor", "show", f"session/{session}"))
    check(offline == online, "the folder and the node disagree")
    remote = json.loads(good("--server", url, "verify"))
    check(remote["ok"], f"remote verify: {remote}")
    return session


def live_verify(data, url):
    """While a client writes all the time, verification finds nothing."""
    stop = threading.Event()
    written = []

    def write():
        client = harness.Client(url)
        while not stop.is_set():
            client.call("POST", "/v1/remember", {"text": f"number {len(written)}"})
            written.append(1)
    thread = threading.Thread(target=write)
    thread.start()
    try:
        seen = [json.loads(good("--data-dir", data, "verify", "-o", "json")) for _ in range(8)]
    finally:
        stop.set()
        thread.join()
    check(all(r["ok"] for r in seen), f"verify beside a writer: {[r['first_bad'] for r in seen]}")
    check(seen[0]["frames"] < seen[-1]["frames"], "nothing was written meanwhile")


def stopped_folder(data, session):
    at = ("--data-dir", data)
    check(json.loads(good(*at, "session", "show", session))["status"] == "completed", "show on a stopped folder")
    check(any(s["session_id"] == session for s in lines(*at, "session", "list")), "list on a stopped folder")
    check(json.loads(good(*at, "session", "state", session, "--at", "2"))["sequence"] == 2, "--at on a stopped folder")
    check(lines(*at, "snapshots", "list"), "no snapshots after a clean stop")
    report = json.loads(good(*at, "verify", "--deep"))
    check(report["ok"] and report["snapshots"] > 0, f"verify: {report}")
    replayed = json.loads(good(*at, "replay", "--actor", f"demo/session/{session}"))
    check(replayed["ok"] and replayed["divergences"] == [], f"replay: {replayed}")
    refused(1, "unavailable", *at, "effects", "list")
    # A flipped byte is found and located.
    segment = os.path.join(data, "log", "00000000000000000000.seg")
    with open(segment, "r+b") as f:
        f.seek(400)
        byte = f.read(1)
        f.seek(400)
        f.write(bytes([byte[0] ^ 1]))
    code, out, err = run(*at, "verify", "-o", "json")
    bad = json.loads(out)["first_bad"]
    check(code == 9 and not json.loads(out)["ok"] and bad["file"] == segment, f"flipped byte: exit {code} {out}")
    check(json.loads(err)["error"]["code"] == "corrupt", f"flipped byte: {err}")
    refused(9, "corrupt", *at, "log", "stat")
    with open(segment, "r+b") as f:
        f.seek(400)
        f.write(byte)
    good(*at, "verify")
    good(*at, "snapshots", "drop", "--yes")
    good(*at, "verify")


SHELL = r"\S*[$#]"


class Terminal:
    """A tmux session of 100 by 30 cells."""

    def __init__(self, folder, env):
        self.socket = os.path.join(folder, "tmux")
        clean = {k: v for k, v in os.environ.items() if not k.startswith("SOMA_") or k == "SOMA_CACHE_DIR"}
        self.env = {**clean, "HOME": folder, "TERM": "xterm-256color", "LANG": "C.UTF-8", "PS1": "$ ", **env}
        self.tmux("new-session", "-d", "-x", "100", "-y", "30", "bash --norc --noprofile")

    def tmux(self, *args):
        return subprocess.run(["tmux", "-f", "/dev/null", "-S", self.socket, *args], capture_output=True, text=True,
                              check=True, env=self.env).stdout

    def type(self, text):
        self.tmux("send-keys", "-l", text)
        self.tmux("send-keys", "Enter")

    def key(self, key):
        self.tmux("send-keys", key)

    def screen(self):
        return self.tmux("capture-pane", "-p", "-J", "-S", "-200")

    def sees(self, text, seconds=20):
        try:
            return wait_until(f"`{text}` on the terminal", seconds,
                              lambda: (lambda s: s if text in s else None)(self.screen()), 0.05)
        except harness.Failure as failure:
            raise harness.Failure(f"{failure}\n--- screen\n{self.screen()}---") from None

    def sees_cleared(self, text, gone):
        """Sees the text once what the screen held before is cleared away: a word of the view before may be the same."""
        wait_until(f"`{text}` without `{gone}` on the terminal", 20,
                   lambda: (lambda s: text in s and gone not in s)(self.screen()), 0.05)

    def waits_with(self, prompt):
        """Sees that the last line is this prompt and nothing else: what is typed now is read by it."""
        wait_until(f"the prompt {prompt}", 20,
                   lambda: re.search(f"(^|\n){prompt}\\s*$", self.screen().rstrip()), 0.05)

    def close(self):
        subprocess.run(["tmux", "-S", self.socket, "kill-server"], capture_output=True, check=False)


def terminal(folder, data, upstream):
    term = Terminal(folder, {"SOMA_DATA_DIR": data})
    try:
        upstream.script({"tokens": ["Bees ", "make ", "honey", "."]})
        term.type(f"{harness.SOMA} session list --limit 1")
        term.sees("SESSION_ID")
        term.type(f"{harness.SOMA} snapshots drop")
        term.sees("[y/N]")
        term.type("n")
        term.sees("was not confirmed")
        term.type(f"{harness.SOMA} chat")
        term.sees("Ctrl-D leaves")
        term.waits_with("you>")
        term.type("What do bees make?")
        term.sees("policy allows")
        term.sees("soma> Bees make honey.")
        term.waits_with("you>")
        term.key("Up")
        term.sees("you> What do bees make?")
        term.key("C-c")  # clears the line, leaves nothing
        term.waits_with("you>")
        term.type("/why")
        term.sees("decision_id")
        term.waits_with("you>")
        slow(upstream)
        term.type("Count to a thousand.")
        term.sees("soma> one")
        term.key("C-c")
        term.sees("cancelled")
        term.waits_with("you>")
        upstream.script({"tokens": ["Still ", "here", "."]})
        term.type("Are you there?")
        screen = term.sees("soma> Still here.")
        check("Traceback" not in screen and "terminate called" not in screen, screen)
        term.waits_with("you>")
        term.key("C-d")
        screen = term.sees("soma chat --session")
        term.waits_with(SHELL)
        session = re.findall(r"--session (ses_\w+)", screen)[-1]
        term.type(f"clear; {harness.SOMA} chat --session {session}")
        term.sees("you> Are you there?")
        term.waits_with("you>")
        term.key("C-d")
        term.waits_with(SHELL)
        term.type("clear; NO_COLOR=1 " + harness.SOMA + " verify")
        term.sees("verified ")
    finally:
        term.close()


def slow(upstream):
    upstream.script({"tokens": ["one", " two", " three"] * 10, "token_delay_ms": 500})


def logs(upstream):
    """What is logged, and in which form, is as the settings say."""
    for form, access, wanted in (("text", "all", True), ("json", "all", True), ("json", "errors", False), ("text", "off", False)):
        with harness.Folder() as folder:
            node = folder.node(*upstream.flags, "--postgres", harness.NO_POSTGRES, "--log-format", form, "--http-access-log", access).wait_ready()
            check(harness.Client(node.url).call("GET", "/v1/whoami").status == 200, "whoami")
            check(node.terminate()[0] == 0, "the node's end")
            told = node.log().splitlines()
            check(all(line.startswith("{") == (form == "json") for line in told), f"--log-format {form}: {told[:3]}")
            check(any("http_request" in line for line in told) == wanted, f"--http-access-log {access}: {told}")


def test():
    tools = help_and_tree()
    usage_errors()
    generated()
    with harness.Upstream() as upstream, harness.Folder() as folder:
        without_node(folder.data)
        node = folder.node(*upstream.flags).wait_ready()
        session = running_node(folder.data, node.url)
        live_verify(folder.data, node.url)
        check(lines("--server", node.url, "chat", stdin="hello\nagain\n")[1]["turn"] == 2, "piped chat")
        terminal(folder.path, folder.data, upstream)
        code, _ = node.terminate()
        check(code == 0, f"the node ended with {code}")
        stopped_folder(folder.data, session)
        logs(upstream)
    print(f"{len(tools)} commands, errors, completion, man page, a running node, a stopped folder, a terminal")


if __name__ == "__main__":
    began = time.monotonic()
    harness.main(test)
    print(f"{time.monotonic() - began:.0f} s")
