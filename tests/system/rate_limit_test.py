#!/usr/bin/env python3
"""Rate limits: what passes over a while is what the limit says, per tenant and per user; who goes far beyond its limit
does not slow the others.

usage: rate_limit_test.py [--seconds N]      (60 in full)
"""

import argparse
import json
import multiprocessing
import os
import threading
import time

import harness
from harness import Client, check, gate, token

WINDOW_S, LIMIT = 2, 100


def flood(url, who, seconds, pace_s, counted):
    """Requests for `seconds`, one each `pace_s` at most: how many passed, how many were refused."""
    client, passed, refused, end = Client(url, who), 0, 0, time.monotonic() + seconds
    due = time.monotonic()
    while (now := time.monotonic()) < end:
        if now < due:
            time.sleep(min(due - now, end - now))
            continue
        due += pace_s
        answer = client.call("GET", "/v1/whoami")
        check(answer.status in (200, 429), f"status {answer.status}: {answer.body}")
        check(answer.status == 200 or int(answer.headers["Retry-After"]) >= 1, "429 without Retry-After")
        passed, refused = passed + (answer.status == 200), refused + (answer.status == 429)
    counted.append((passed, refused))


def deviation(url, scope, whos, seconds):
    """Per cent that passed too much or too little, with clients that ask ten times as often as they may."""
    counted, pace = [], WINDOW_S / (10 * LIMIT)
    threads = [threading.Thread(target=flood, args=(url, who, seconds, pace, counted)) for who in whos]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check(len(counted) == len(whos), "a client failed")
    # A limit of each user counts for each; one of the tenant for all together.
    groups = [sum(p for p, _ in counted)] if scope == "tenant" else [p for p, _ in counted]
    wanted = LIMIT * -(-seconds // WINDOW_S)
    check(all(r > 0 for _, r in counted), "nothing was refused")
    return max(100 * abs(g - wanted) / wanted for g in groups), groups, wanted


def p99(times):
    return sorted(times)[int(len(times) * 0.99)]


def limited(node, scope, people):
    """Their tokens of a tenant with the limit of `scope`."""
    whos = [token(node.data, "by-" + scope, person) for person in people]
    answer = Client(node.url, whos[0]).call("PUT", f"/v1/tenants/by-{scope}", {"rate_limits": {scope: {"requests": LIMIT, "seconds": WINDOW_S}}})
    check(answer.status == 200, answer.body)
    return whos


def beside_an_abuser(url, calm, abuser, elsewhere, rounds):
    """p99 of another tenant beside somebody at ten times its limit, and beside the same at another node of this machine, by turns: what the
    two share of its processors is in both."""
    times, client = {False: [], True: []}, Client(url, calm)
    for n in range(2 * rounds):
        noisy = bool(n % 2)  # in a process of its own: it must not share this one's interpreter
        process = multiprocessing.Process(target=flood, args=(*(abuser if noisy else elsewhere), 1.0, WINDOW_S / (10 * LIMIT), []))
        process.start()
        end = time.monotonic() + 0.9
        while time.monotonic() < end:
            began = time.perf_counter()
            check(client.call("GET", "/v1/whoami").status == 200, "the calm tenant was refused")
            times[noisy].append(time.perf_counter() - began)
        process.join()
        check(process.exitcode == 0, "the abuser failed")
    return p99(times[True]) / p99(times[False]), {k: p99(v) * 1e3 for k, v in times.items()}


def run():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=6)
    seconds = parser.parse_args().seconds
    flags = ("--slm-local", "off", "--slm-embedding", "off", "--postgres", harness.NO_POSTGRES)
    with harness.Folder() as folder:
        node = folder.node(*flags).wait_ready()
        worst = 0.0
        for scope in ("tenant", "user"):
            whos = limited(node, scope, ("ana", "bob"))
            time.sleep(WINDOW_S)  # that request counted too
            off, groups, wanted = deviation(node.url, scope, whos, seconds)
            print(f"limit per {scope}: {groups} passed of {wanted} that may, within {seconds} s")
            worst = max(worst, off)
        gate("S5", f"{worst:.1f} % off over {seconds} s, per tenant and per user", "5 %", worst <= 5)
        other = folder.node(*flags, data=folder.data + "-other").wait_ready()
        abusers = [(n.url, limited(n, "user", ("eve",))[0]) for n in (node, other)]
        ratio, shown = beside_an_abuser(node.url, token(node.data, "calm", "cy"), *abusers, max(3, seconds // 6))
        print("GATE S5.neighbour " + json.dumps({"ratio": round(ratio, 3), "p99_ms": {("with" if k else "without"): round(v, 2)
                                                                                      for k, v in shown.items()}}), flush=True)
        check(ratio < 5 or os.getloadavg()[0] > 2 * (os.cpu_count() or 1), f"an abuser makes others {ratio:.1f} times slower")
        check([n.terminate()[0] for n in (node, other)] == [0, 0], "exit codes")


if __name__ == "__main__":
    harness.main(run)
