#!/usr/bin/env python3
"""`soma doctor`: names key files that others can read and what a killed node left, mends them only with --fix, and only once."""

import json
import os
import stat

import harness
from certificates import Authority
from harness import check, soma


def mode_of(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def rows(data, *words, env=None):
    """Of the checks that --fix can mend: {check: [row, …]}."""
    _, out, err = soma("doctor", *words, "-o", "json", data=data, env=env)
    found = {}
    for row in map(json.loads, out.splitlines()):
        found.setdefault(row["check"], []).append(row)
    check("data folder" in found, f"soma doctor {words}: {out}{err}")
    return found


def certificates(folder):
    """Of each that the settings name: whether it is there, and for how long."""
    authority = Authority(folder.path + "/authority")

    def told(file):
        found = rows(os.path.join(folder.path, "none"), env={"SOMA_HTTP_TLS_CERT_FILE": file, "SOMA_HTTP_TLS_KEY_FILE": "k"})
        row, = found["certificate: http.tls.cert_file"]
        return row["state"]
    check(told(authority.issue("good", valid=(-1, 20)).cert) == "ok", "20 days are not enough")
    check(told(authority.issue("late", valid=(-1, 5)).cert) == "warning", "5 days are enough")
    check(told(authority.issue("over", valid=(-9, -1)).cert) == "problem", "an expired one is well")
    check(told(authority.folder + "/ca.key") == "problem", "a key is a certificate")


def test():
    with harness.Upstream() as upstream, harness.Folder() as folder:
        certificates(folder)
        node = folder.node(*upstream.flags, "--postgres", harness.NO_POSTGRES).wait_ready()
        data, endpoints = folder.data, os.path.join(folder.data, "run", "endpoints.json")
        live = rows(data, "--fix")
        check("run folder" not in live and os.path.exists(endpoints), f"a live node's endpoints were taken away: {live}")
        pid = node.pid
        node.kill()
        keys = sorted(os.path.join(path, name) for path, _, names in os.walk(os.path.join(data, "keys")) for name in names
                      if not name.endswith(".pub"))
        check(len(keys) >= 2 and any("/vault/" in key for key in keys), f"keys: {keys}")
        check(all(mode_of(key) & 0o77 == 0 for key in keys), "a node made keys that others can read")
        healthy = rows(data)
        check([row["state"] for row in healthy["keys"]] == ["ok"], healthy)
        check(str(pid) in healthy["run folder"][0]["found"], healthy)
        open_keys = [keys[0], next(key for key in keys if "/vault/" in key)]
        for key in open_keys:
            os.chmod(key, 0o644)

        def unmended(found, says):
            told = found["keys"]
            check(sorted(row["found"].split(" can be read")[0] for row in told) == sorted(map(os.path.normpath, open_keys)), told)
            for row in [*told, *found["run folder"]]:
                check(row["state"] == "problem" and says in row["to_do"], row)
            check(all(mode_of(key) == 0o644 for key in open_keys) and os.path.exists(endpoints), f"{says}: something was changed")
        unmended(rows(data), "soma doctor --fix")
        unmended(rows(data, "--fix", "--dry-run"), "would ")
        code, out, _ = soma("doctor", "-o", "json", data=data)
        check(code != 0, "problems, and exit 0")
        fixed = rows(data, "--fix")
        check([row["state"] for row in [*fixed["keys"], *fixed["run folder"]]] == ["fixed"] * 3, fixed)
        check(all(mode_of(key) == 0o600 for key in open_keys), "a key can still be read by others")
        check(not os.path.exists(endpoints), "what the killed node left is still there")
        after = rows(data, "--fix")
        check([row["state"] for row in after["keys"]] == ["ok"] and "run folder" not in after, after)
        node = folder.node(*upstream.flags, "--postgres", harness.NO_POSTGRES).wait_ready()
        code, _ = node.terminate()
        check(code == 0, f"the mended folder's node ended with {code}")
    print("2 open keys and a killed node's endpoints: told, left by --dry-run, mended by --fix")


if __name__ == "__main__":
    harness.main(test)
