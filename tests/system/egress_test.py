"""Addresses that callers write go nowhere (S17): whatever a tenant says, the node connects to what its operator configured and to
nothing else, and follows no redirect of it.

Forty spellings of addresses that nobody outside should reach are written into everything of a request that could be taken for an
address. The node's connections are read from its system calls."""

import http.server
import json
import os
import re
import signal
import subprocess
import tempfile
import threading

from constitution import Signer
from contract import World, as_, equal
from harness import Folder, Upstream, check, gate, main, wait_until

FOLDER = tempfile.TemporaryDirectory()
SIGNER = Signer(FOLDER.name)


class Trap(http.server.ThreadingHTTPServer):
    """Notes whoever comes. With `to` it is a model's server that answers with a redirect to there."""

    def __init__(self, to=None):
        self.seen, self.to = [], to
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.seen.append(f"{self.command} {self.path}")
        self.send_response(302 if self.server.to else 200)
        if self.server.to:
            self.send_header("Location", self.server.to)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_PUT = do_GET

    def log_message(self, *_):
        pass


def addresses(port):
    return [f"http://127.0.0.1:{port}/", f"http://localhost:{port}/", f"http://[::1]:{port}/", f"http://[::ffff:127.0.0.1]:{port}/",
            f"http://2130706433:{port}/", f"http://0x7f000001:{port}/", f"http://0177.0.0.1:{port}/", f"http://127.1:{port}/",
            f"http://0:{port}/", f"http://0.0.0.0:{port}/", f"http://127.0.0.1.nip.io:{port}/", f"http://user@127.0.0.1:{port}/",
            f"http://good.example@127.0.0.1:{port}/", f"http://127.0.0.1:{port}#@good.example/", f"http://good.example%2f@127.0.0.1:{port}/",
            f"//127.0.0.1:{port}/", f"http:127.0.0.1:{port}/", f"http:///127.0.0.1:{port}/", f"HTTP://LOCALHOST:{port}/",
            f"http://127。0。0。1:{port}/", f"http://①②⑦.⓪.⓪.①:{port}/", f"http://localhost.:{port}/", f"http://[0:0:0:0:0:ffff:7f00:1]:{port}/",
            f"https://127.0.0.1:{port}/", f"ws://127.0.0.1:{port}/", f"ftp://127.0.0.1:{port}/", f"gopher://127.0.0.1:{port}/_GET%20/",
            f"dict://127.0.0.1:{port}/x", f"ldap://127.0.0.1:{port}/", f"tftp://127.0.0.1:{port}/x", f"smtp://127.0.0.1:{port}",
            "file:///etc/passwd", "file://localhost/etc/hostname", "jar:http://127.0.0.1!/", "data:text/plain,secret",
            "http://169.254.169.254/latest/meta-data/", "http://[fd00:ec2::254]/latest/", "http://metadata.google.internal/computeMetadata/v1/",
            "http://100.100.100.200/latest/meta-data/", "http://169.254.170.2/v2/credentials", "unix:///var/run/docker.sock"]


def places(address):
    """(method, path, body) of requests that could be taken to ask for that address."""
    part = [{"role": "user", "content": [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": address}}]}]
    tool = {"type": "function", "function": {"name": "get", "description": address, "parameters": {"$ref": address, "type": "object"}}}
    return [
        ("PUT", "/v1/tenants/acme/notification-preferences",
         {"channels": [{"channel": "webhook", "enabled": True, "severity_threshold": "info", "url": address}]}),
        ("POST", "/v1/chat/completions", {"messages": part, "tools": [tool]}),
        ("POST", "/v1/infer_sync", {"prompt": address, "model": address[:200]}),
        ("POST", "/v1/embeddings", {"input": address, "model": address[:200]}),
        ("POST", "/v1/sessions/start", {"prompt": address, "persona": address, "capsule_id": address, "tools": [tool],
                                        "metadata": {"callback_url": address, "webhook": address}}),
        ("POST", "/v1/remember", {"text": address, "metadata": {"source": address}}),
        ("POST", "/v1/recall", {"query": address}),
        ("PUT", "/v1/users/zoe", {"name": address, "email": address}),
        ("POST", "/v1/constitution/validate", {"version": "9", "document": {"$ref": address, "include": address}}),
        ("POST", "/v1/policy/rules/validate", {"rules": f'@id("x") forbid(principal, action, resource); // {address}'}),
        ("POST", "/v1/requests", {"mode": "infer_sync", "payload": {"prompt": address}}),
    ]


def traced(pid):
    """Of each thread, whether somebody traces it."""
    for thread in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{thread}/status", encoding="ascii") as file:
                yield "TracerPid:\t0\n" not in file.read()
        except OSError:  # it ended meanwhile
            pass


class Connections:
    """Where a process connects to, by its system calls."""

    def __init__(self, pid):
        self.path = os.path.join(FOLDER.name, f"connect-{pid}")
        self.tracer = subprocess.Popen(["strace", "-f", "-qq", "-e", "trace=connect,sendto", "-e", "signal=none", "-o", self.path, "-p", str(pid)],
                                       stderr=subprocess.DEVNULL)
        # A connection that the node made before would be kept, used again and never seen.
        wait_until("the tracer has every thread of the node", 30, lambda: all(traced(pid)))

    def seen(self):
        if not os.path.exists(self.path):
            return ""
        with open(self.path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def hosts(self):
        """"ADDRESS:PORT" of each; sockets of files are none."""
        found = set()
        for line in self.seen().splitlines():
            if four := re.search(r'sin_port=htons\((\d+)\), sin_addr=inet_addr\("([^"]+)"\)', line):
                found.add(f"{four[2]}:{four[1]}")
            elif six := re.search(r'sin6_port=htons\((\d+)\).*inet_pton\(AF_INET6, "([^"]+)"', line):
                found.add(f"[{six[2]}]:{six[1]}")
        return found

    def stop(self):
        self.tracer.send_signal(signal.SIGINT)
        self.tracer.wait()


def nobody_reaches_what_callers_name():
    trap = Trap()
    vectors = addresses(trap.server_address[1])
    check(len(set(vectors)) >= 40, f"{len(set(vectors))} vectors")
    with Upstream() as upstream, Folder() as folder:
        flags = ("--slm-openai-base-url", upstream.base_url, "--slm-local", "off", "--slm-embedding", "off", "--mode", "test",
                 "--constitution-trusted-keys", SIGNER.public)
        w = World(folder.node(*flags).wait_ready(30), upstream)
        ana = as_(w)
        w.ok("POST", "/v1/constitution/load", SIGNER.bundle("1", {}), headers=ana)
        w.ok("PUT", "/v1/tenants/acme", {"deployment_mode": "test", "budgets_tokens": 10_000_000}, headers=ana)
        wait_until("the views are there", 20, lambda: w.call("GET", "/v1/sessions", headers=ana).status == 200)
        connections = Connections(w.node.pid)
        model = upstream.base_url.split("//")[1].split("/")[0]
        ask = lambda: w.ok("POST", "/v1/infer_sync", {"prompt": "hello"}, headers=ana)
        ask()
        equal(connections.hosts(), {model}, "where the node connects to when a model is asked")
        requests = 0
        for address in vectors:
            for method, path, body in places(address):
                headers = {**ana, "X-Forwarded-Host": address.encode("ascii", "ignore").decode(),
                           "Referer": address.encode("ascii", "ignore").decode()}
                status = w.call(method, path, body, headers=headers).status
                check(status not in (401, 403, 500), f"{method} {path} with {address}: {status}")
                requests += 1
            # As a proxy would be asked.
            line = f"GET {address.encode('ascii', 'ignore').decode()} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            w.raw(line.encode(), 5)
            requests += 1
        wait_until("what runs has ended", 60,
                   lambda: not [s for s in w.ok("GET", "/v1/sessions?limit=200", headers=ana).json["items"] if s["status"] in ("accepted", "running")])
        ask()
        hosts = connections.hosts()
        connections.stop()
        equal(trap.seen, [], "who came to the trap")
        equal(hosts, {model}, "where the node connected to")
        answers = json.dumps(w.ok("GET", "/v1/sessions?limit=200", headers=ana).json)
        check("root:x:0:0" not in answers, "a file was read")
        gate("S17", f"{len(set(vectors))} vectors in {requests} requests, 0", "none reaches", True)
    trap.shutdown()


def a_redirect_of_the_model_is_not_followed():
    trap = Trap()
    model = Trap(to=f"http://127.0.0.1:{trap.server_address[1]}/secret")
    with Folder() as folder:
        flags = ("--slm-openai-base-url", f"http://127.0.0.1:{model.server_address[1]}/v1", "--slm-local", "off", "--slm-embedding", "off",
                 "--memory-listen", "off")
        node = folder.node(*flags).wait_ready(30)
        w = World(node, None)
        answer = w.call("POST", "/v1/infer_sync", {"prompt": "x"})
        check(answer.status in (422, 502, 503), f"{answer.status} {answer.body}")
        check(model.seen, "the model was not asked")
        equal(trap.seen, [], "who was sent on")
    for server in (trap, model):
        server.shutdown()


def test():
    nobody_reaches_what_callers_name()
    a_redirect_of_the_model_is_not_followed()


main(test)
