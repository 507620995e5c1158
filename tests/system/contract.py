"""What the contract tests share: cases that all run, problem checks, SSE and WebSocket as an outside client reads them."""

import base64
import hashlib
import json
import os
import socket
import struct
import sys
import time
import traceback
import urllib.parse

import harness
from harness import BROKEN, Client, Failure, Folder, Upstream, check

CASES = []


def case(function):
    """A check of the contract; takes the World."""
    CASES.append(function)
    return function


def equal(got, wanted, what=""):
    check(got == wanted, f"{what}: {got!r}, not {wanted!r}")


def problem(answer, status, code=None, detail=None, loc=None):
    """An RFC 9457 problem with all its members."""
    check(answer.status == status, f"status {answer.status}, not {status}: {answer.body[:300]}")
    equal(answer.headers.get("Content-Type"), "application/problem+json", "content type")
    body = answer.json
    for member in ("type", "title", "status", "detail", "code"):
        check(member in body, f"problem without {member}: {body}")
    equal(body["status"], status, "problem status")
    if code:
        equal(body["code"], code, "code")
    if detail:
        equal(body["detail"], detail, "detail")
    if status == 422:
        check(body.get("errors"), f"422 without errors: {body}")
        for error in body["errors"]:
            equal(sorted(error), ["loc", "msg", "type"], "members of an error")
    if loc:
        check(any(e["loc"] == loc for e in body["errors"]), f"no error at {loc}: {body['errors']}")
    if status in (429, 503) and body.get("resets_at", "") is not None:
        check(int(answer.headers["Retry-After"]) >= 1, "Retry-After")
    return body


def as_(w, person="ana", tenant="acme", capabilities="*"):
    """Headers with a token of the node's own authority."""
    key = (person, tenant, capabilities)
    if key not in w.tokens:
        w.tokens[key] = {"Authorization": "Bearer " + harness.token(w.node.data, tenant, person, capabilities)}
    return w.tokens[key]


def raw(url, data, seconds=10):
    """Bytes out, bytes in until the peer closes or `seconds` pass."""
    parts = urllib.parse.urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=seconds) as s:
        s.sendall(data)
        got = b""
        try:
            while True:
                piece = s.recv(65536)
                if not piece:
                    return got
                got += piece
        except (TimeoutError, ConnectionResetError):
            return got


class World:
    """A node, its model and clients of it."""

    def __init__(self, node, upstream):
        self.node, self.upstream, self.url = node, upstream, node.url
        self.client, self.tokens = Client(self.url), {}

    def call(self, *args, **named):
        return self.client.call(*args, **named)

    def ok(self, method, path, body=None, status=200, **named):
        answer = self.call(method, path, body, **named)
        check(answer.status == status, f"{method} {path}: {answer.status} {answer.body[:300]}")
        return answer

    def start(self, prompt="Say something", **more):
        """A session that has ended its first turn."""
        session = self.ok("POST", "/v1/sessions/start", {"prompt": prompt, **more}, 202).json["session_id"]
        self.wait(session)
        return session

    def wait(self, session, seconds=20):
        end = time.monotonic() + seconds
        while True:
            state = self.ok("GET", f"/v1/sessions/{session}").json
            if state["status"] not in ("accepted", "running"):
                return state
            check(time.monotonic() < end, f"session {session} is {state['status']} after {seconds} s")
            time.sleep(0.01)

    def upstream_chats(self):
        return Client(self.upstream.base_url.removesuffix("/v1")).call("GET", "/control/stats").json["chats"]

    def script(self, **behaviour):
        self.upstream.script(behaviour)

    def raw(self, data, seconds=10):
        return raw(self.url, data, seconds)

    def stream(self, path, headers=None, method="GET", body=None):
        return Stream(self.url, path, headers, method, body)

    def socket(self, path, headers=None):
        return Socket(self.url, path, headers)


class Stream:
    """Server-sent events: iterates (id, name, data) until the server ends them; `complete` then tells whether well."""

    def __init__(self, url, path, headers=None, method="GET", body=None, tls=None):
        self.connection = harness.connection(url, 20, tls)
        sent = dict(headers or {})
        if body is not None:
            sent["Content-Type"] = "application/json"
        self.connection.request(method, path, None if body is None else json.dumps(body), sent)
        self.response = self.connection.getresponse()
        self.status, self.headers = self.response.status, dict(self.response.getheaders())
        self.complete = False

    def __iter__(self):
        event_id, name, data = "", "", []
        try:
            while True:
                line = self.response.readline()
                if not line:
                    self.complete = self.response.isclosed() or self.response.chunk_left in (0, None)
                    return
                line = line.decode().rstrip("\n")
                if not line:
                    if data:
                        yield event_id, name, "\n".join(data)
                    name, data = "", []
                elif line.startswith("id: "):
                    event_id = line[4:]
                elif line.startswith("event: "):
                    name = line[7:]
                elif line.startswith("data: "):
                    data.append(line[6:])
        except BROKEN:
            return

    def close(self):
        self.connection.close()


class Socket:
    """A WebSocket client of RFC 6455, strict about what the server sends."""

    def __init__(self, url, path, headers=None, tls=None):
        parts = urllib.parse.urlsplit(url)
        self.socket = socket.create_connection((parts.hostname, parts.port), timeout=20)
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_hostname=parts.hostname)
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [f"GET {path} HTTP/1.1", f"Host: {parts.netloc}", "Upgrade: websocket", "Connection: Upgrade",
                 f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13"]
        lines += [f"{k}: {v}" for k, v in (headers or {}).items()]
        self.socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        self.buffer = b""
        while b"\r\n\r\n" not in self.buffer:
            piece = self.socket.recv(65536)
            check(piece, "closed in the handshake")
            self.buffer += piece
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        self.head = head.decode()
        self.status = int(self.head.split()[1])
        if self.status == 101:
            accept = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest())
            check(f"sec-websocket-accept: {accept.decode().lower()}" in self.head.lower(), f"handshake: {self.head}")

    def send(self, opcode, payload=b"", final=True):
        mask = os.urandom(4)
        head = bytes([(0x80 if final else 0) | opcode])
        size = len(payload)
        head += (bytes([0x80 | size]) if size < 126 else bytes([0x80 | 126]) + struct.pack(">H", size) if size < 65536
                 else bytes([0x80 | 127]) + struct.pack(">Q", size))
        self.socket.sendall(head + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload)))

    def _take(self, n):
        while len(self.buffer) < n:
            piece = self.socket.recv(65536)
            check(piece, "connection closed in a frame")
            self.buffer += piece
        out, self.buffer = self.buffer[:n], self.buffer[n:]
        return out

    def frame(self):
        """(opcode, payload); close frames too."""
        first, second = self._take(2)
        check(first & 0x70 == 0 and second & 0x80 == 0, "reserved bits, or a masked server frame")
        size = second & 0x7F
        if size == 126:
            size = struct.unpack(">H", self._take(2))[0]
        elif size == 127:
            size = struct.unpack(">Q", self._take(8))[0]
        return first & 0x0F, self._take(size)

    def __iter__(self):
        """Text messages as JSON until the close frame, whose code is kept."""
        while True:
            opcode, payload = self.frame()
            if opcode == 8:
                self.code = struct.unpack(">H", payload[:2])[0] if len(payload) >= 2 else 1005
                return
            if opcode == 9:
                self.send(10, payload)
            if opcode == 1:
                yield json.loads(payload)

    def close(self):
        self.socket.close()


def run(*flags, embedding=True, env=None):
    """Starts a world, runs every case against it, and ends with 1 when one failed."""
    failures, began = [], time.monotonic()
    wanted = sys.argv[1:]
    with Upstream() as upstream, Folder() as folder:
        model = ("--slm-openai-base-url", upstream.base_url, "--slm-local", "off", "--slm-embedding", "off",
                 "--memory-listen", "127.0.0.1:0")
        world = World(folder.node(*model, *flags, env=env).wait_ready(30), upstream)
        world.folder, world.flags, world.env = folder, (*model, *flags), env
        for function in CASES:
            if wanted and function.__name__ not in wanted:
                continue
            try:
                world.script()
                function(world)
            except (Failure, *BROKEN, KeyError, ValueError, AttributeError, TypeError) as error:
                if not isinstance(error, Failure):
                    traceback.print_exc()
                failures.append(function.__name__)
                print(f"FAILED {function.__name__}: {error}", file=sys.stderr, flush=True)
        code, seconds = folder.nodes[-1].terminate()
        if code != 0:
            failures.append(f"exit code {code} after {seconds:.1f} s")
    print(f"{len(CASES)} cases, {len(failures)} failed, {time.monotonic() - began:.1f} s", flush=True)
    for failure in failures:
        print("failed:", failure, file=sys.stderr)
    sys.exit(1 if failures else 0)
