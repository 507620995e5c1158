#!/usr/bin/env python3
"""HTTPS: who is let in and who is not, what is spoken, certificates replaced under load.

usage: tls_test.py [--rotations N]
"""

import argparse
import os
import socket
import ssl
import subprocess
import threading
import time
import urllib.parse

import harness
from certificates import Authority, Pair
from contract import Socket, Stream
from harness import Client, check, gate, wait_until
from tcp_gate import Gate
from tls_world import NAME, PATH, SPIFFE, World

CASES = []


def case(lets_in):
    """Of whoever asks so: whether the node answers."""
    def add(function):
        CASES.append((function, lets_in))
        return function
    return add


@case(True)
def a_client_of_a_known_name(w):
    return w.asks(w.agent)


@case(True)
def a_client_of_a_known_spiffe_id(w):
    return w.asks(w.issue("workload", (f"URI:{SPIFFE}",)))


@case(True)
def a_name_in_other_letters(w):
    return w.asks(w.issue("letters", (f"DNS:{NAME.upper()}",)))


@case(False)
def no_certificate(w):
    return w.asks(None)


@case(False)
def an_expired_one(w):
    return w.asks(w.issue("old", valid=(-20, -1)))


@case(False)
def one_that_is_not_valid_yet(w):
    return w.asks(w.issue("early", valid=(1, 20)))


@case(False)
def one_of_another_authority(w):
    return w.asks(w.issue("foreign", by=Authority(w.folder.path + "/other", "Other authority")))


@case(False)
def one_of_an_authority_of_the_same_name(w):
    return w.asks(w.issue("namesake", by=Authority(w.folder.path + "/namesake")))


@case(False)
def a_self_signed_one(w):
    base = w.folder.path + "/self"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=self",
                    "-addext", f"subjectAltName=DNS:{NAME}", "-keyout", base + ".key", "-out", base + ".pem"],
                   check=True, capture_output=True)
    return w.asks(Pair(base + ".pem", base + ".key"))


@case(False)
def another_name(w):
    return w.asks(w.issue("another", ("DNS:agent.test.evil",)))


@case(False)
def a_wildcard_is_no_name(w):
    return w.asks(w.issue("wildcard", ("DNS:*.test",)))


@case(False)
def another_spiffe_id(w):
    return w.asks(w.issue("another workload", (f"URI:{SPIFFE}/two",)))


@case(False)
def a_spiffe_id_as_a_dns_name(w):
    return w.asks(w.issue("mixed", ("DNS:one.agents.test", "email:agent@test")))


@case(False)
def the_name_as_common_name_alone(w):
    return w.asks(w.issue(NAME, ()))


@case(False)
def a_revoked_one(w):
    pair = w.issue("revoked")
    w.authority.revoke(pair)
    w.list_revoked(w.authority)
    wait_until("the new list is read", 10, lambda: w.asks(w.agent) and not w.asks(pair), 0.3)
    return w.asks(pair)


@case(False)
def a_certificate_for_servers(w):
    return w.asks(w.issue("server only", usage="serverAuth"))


@case(False)
def a_key_that_is_too_short(w):
    short = w.issue("short", key="rsa:1024")  # openssl's client takes it, at this level
    return w.speaks("-cipher", "DEFAULT:@SECLEVEL=0", "-cert", short.cert, "-key", short.key)


@case(False)
def an_intermediate_without_a_list(w):
    w.intermediate = Authority(w.folder.path + "/intermediate", "Intermediate", by=w.authority)
    w.member = w.issue("member", by=w.intermediate)
    return w.asks(w.member)


@case(True)
def an_intermediate_with_one(w):
    w.list_revoked(w.authority, w.intermediate)
    wait_until("the list of both is read", 10, lambda: w.asks(w.member), 0.3)
    return w.asks(w.member)


@case(False)
def an_intermediate_whose_own_authority_has_no_list(w):
    w.list_revoked(w.intermediate)
    wait_until("the list of one is read", 10, lambda: not w.asks(w.member), 0.3)
    return w.asks(w.member)


@case(False)
def an_intermediate_that_was_revoked(w):
    w.authority.revoke(Pair(w.intermediate.cert, None))
    w.list_revoked(w.authority, w.intermediate)
    wait_until("the lists are read", 10, lambda: w.asks(w.agent), 0.3)
    return w.asks(w.member)


@case(False)
def a_name_behind_which_another_follows(w):
    """dNSName is DER's IA5String, which may hold a zero byte: agent.test, zero, .evil.example."""
    names = "301a8218" + (NAME + "\0.evil.example").encode().hex()
    return w.asks(w.authority.issue("zero", (), extensions=(f"subjectAltName=DER:{names}", "extendedKeyUsage=clientAuth")))


@case(True)
def tls_1_3(w):
    return w.asks(w.agent, minimum_version=ssl.TLSVersion.TLSv1_3)


@case(True)
def tls_1_2(w):
    return w.asks(w.agent, maximum_version=ssl.TLSVersion.TLSv1_2)


@case(False)
def tls_1_1(w):
    return w.speaks("-tls1_1", "-cipher", "ALL:@SECLEVEL=0")


@case(False)
def tls_1_0(w):
    return w.speaks("-tls1", "-cipher", "ALL:@SECLEVEL=0")


@case(True)
def chacha_in_tls_1_2(w):
    return w.speaks("-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305")


@case(False)
def a_suite_without_authenticated_encryption(w):
    return w.speaks("-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-SHA384:ECDHE-ECDSA-AES128-SHA")


@case(False)
def a_suite_without_forward_secrecy(w):
    return w.speaks("-tls1_2", "-cipher", "AES256-GCM-SHA384:AES128-GCM-SHA256")


@case(False)
def a_suite_without_encryption_or_certificate(w):
    return w.speaks("-tls1_2", "-cipher", "eNULL:aNULL:@SECLEVEL=0")


@case(False)
def renegotiation(w):
    with subprocess.Popen(w.s_client_command("-tls1_2"), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT) as client:
        client.stdin.write(b"R\n")  # its command for it
        client.stdin.flush()
        said = client.stdout.read().decode(errors="replace")  # it ends by itself where it is told no
    check("RENEGOTIATING" in said, said[-500:])
    return "no renegotiation" not in said


@case(False)
def resumption(w):
    said = w.s_client("-tls1_2", "-reconnect", say="Q\n")
    check("New, TLSv1.2" in said, said[-500:])
    return "Reused, TLSv1.2" in said


@case(True)
def alpn_http_1_1(w):
    said = w.s_client("-alpn", "h2,http/1.1")
    check("ALPN protocol: http/1.1" in said, said[-500:])
    return "HTTP/1.1 200" in said


@case(False)
def alpn_that_is_not_spoken(w):
    return w.speaks("-alpn", "h2")


@case(False)
def plain_http(w):
    answer = Client(w.node.url.replace("https:", "http:")).call("GET", PATH)
    check(answer.status == 400 and "https://" in answer.json["detail"], f"{answer.status} {answer.body}")
    return False


@case(False)
def no_tls_at_all(w):
    with socket.create_connection(("127.0.0.1", w.port), timeout=15) as s:
        s.sendall(os.urandom(512))
        try:
            return b"HTTP" in s.recv(65536)
        except ConnectionResetError:
            return False


@case(False)
def a_handshake_that_is_never_ended(w):
    with socket.create_connection(("127.0.0.1", w.port), timeout=15) as s:
        s.sendall(b"\x16\x03\x01")
        check(s.recv(100) == b"", "the node said something")  # within http.header_timeout, else it times out
        return False


@case(False)
def the_command_without_a_certificate(w):
    code, _, err = harness.soma("status", "--server", w.node.url, env={"SOMA_CA_FILE": w.authority.cert})
    check("SOMA_CERT_FILE" in err, err)
    return code == 0


@case(False)
def the_command_that_trusts_others(w):
    code, _, err = harness.soma("status", "--server", w.node.url,
                                env={"SOMA_CA_FILE": w.agent.cert, "SOMA_CERT_FILE": w.agent.cert, "SOMA_KEY_FILE": w.agent.key})
    check("certificate" in err, err)
    return code == 0


@case(True)
def the_command_with_both(w):
    return harness.soma("status", "--server", w.node.url, env={
        "SOMA_CA_FILE": w.authority.cert, "SOMA_CERT_FILE": w.agent.cert, "SOMA_KEY_FILE": w.agent.key})[0] == 0


@case(False)
def the_command_beside_a_node_of_another_key(w):
    """Who took the node's port is not the node: the folder says which key it has."""
    endpoints = os.path.join(w.node.data, "run", "endpoints.json")
    with open(endpoints, encoding="utf-8") as file:
        told = file.read()
    with open(endpoints, "w", encoding="utf-8") as file:
        file.write(told.replace(w.files.cert, w.agent.cert))
    code, _, err = harness.soma("status", data=w.node.data, env={"SOMA_CERT_FILE": w.agent.cert, "SOMA_KEY_FILE": w.agent.key})
    with open(endpoints, "w", encoding="utf-8") as file:
        file.write(told)
    check("pinned" in err, err)
    return code == 0


@case(True)
def the_command_beside_its_node(w):
    """Whatever its address: the folder names the key."""
    return harness.soma("status", data=w.node.data, env={"SOMA_CERT_FILE": w.agent.cert, "SOMA_KEY_FILE": w.agent.key})[0] == 0


@case(True)
def streams_and_sockets(w):
    tls = w.context(w.agent)
    started = Client(w.node.url, tls=tls).call("POST", "/v1/sessions/start", {"prompt": "over TLS"}, "streamed")
    check(started.status == 202, started.body)
    session = started.json["session_id"]
    stream = Stream(w.node.url, f"/v1/sessions/{session}/stream", tls=tls)
    names = [name for _, name, _ in stream]
    check(names[-1] == "session.completed" and stream.complete, f"{names}, whole: {stream.complete}")
    far = Socket(w.node.url, f"/v1/sessions/{session}/ws", tls=tls)
    check(far.status == 101, far.head)
    check([m["event"] for m in far][-1] == "session.completed" and far.code == 1000, f"closed with {far.code}")
    return True


@case(True)
def large_bodies(w):
    client = Client(w.node.url, tls=w.context(w.agent))
    for size, status in ((60_000, 200), (900_000, 422)):  # of many records of TLS
        answer = client.call("POST", "/v1/remember", {"text": "x" * size}, headers={"Expect": "100-continue"})
        check(answer.status == status, f"{size} bytes: {answer.status} {answer.body[:300]}")
    described = client.call("GET", "/openapi.json")
    check(described.status == 200 and len(described.body) > 65_536 and described.json["paths"], f"{len(described.body)} bytes")
    return True


@case(True)
def chunks_and_trailers_without_end(w):
    for body in (b"1;", b"0\r\nA: "):
        with socket.create_connection(("127.0.0.1", w.port), timeout=15) as plain, \
                w.context(w.agent).wrap_socket(plain, server_hostname="127.0.0.1") as s:
            s.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + body + b"a" * 100_000)
            check(s.recv(65536).startswith(b"HTTP/1.1 431 "), "not refused")
    return w.asks(w.agent)


@case(False)
def one_more_than_may_be_connected(w):
    node = w.folder.node(*w.upstream.flags, "--postgres", harness.NO_POSTGRES, "--http-tls-cert-file", w.files.cert,
                         "--http-tls-key-file", w.files.key, "--http-max-connections", "2",
                         data=os.path.join(w.folder.path, "crowded")).wait_ready()
    first, second, third = (Client(node.url, tls=w.context()) for _ in range(3))
    check(all(c.call("GET", PATH).status == 200 for c in (first, second)), "two are not let in")
    answer = third.call("GET", PATH)
    check(answer.status == 503 and answer.json["code"] == "overloaded", f"{answer.status} {answer.body}")
    check(first.call("GET", PATH).status == 200, "who was there before is cut off")
    node.kill()
    return answer.status == 200


def model_over(w, name, certificate, *flags):
    """How an inference ends at a node whose model server shows this certificate."""
    with socket.create_server(("127.0.0.1", 0)) as s:
        port = s.getsockname()[1]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.cert, certificate.key)
    behind = urllib.parse.urlsplit(w.upstream.base_url).port
    with Gate([{"listen": port, "to": behind}], tls=context):
        node = w.folder.node("--slm-openai-base-url", f"https://127.0.0.1:{port}/v1", "--slm-local", "off", "--slm-embedding", "off",
                             "--postgres", harness.NO_POSTGRES, *flags, data=os.path.join(w.folder.path, name)).wait_ready()
        answer = Client(node.url).call("POST", "/v1/infer_sync", {"prompt": "over TLS"}, "one")
        node.kill()
    check(answer.status in (200, 503), f"{answer.status} {answer.body}")
    return answer.status == 200


@case(False)
def a_model_server_of_an_unknown_authority(w):
    return model_over(w, "unknown", w.authority.issue("model a"))


@case(False)
def a_model_server_of_another_name(w):
    return model_over(w, "misnamed", w.authority.issue("model b", ("DNS:models.test",)), "--slm-ca-file", w.authority.cert)


@case(False)
def an_expired_model_server(w):
    return model_over(w, "expired", w.authority.issue("model c", valid=(-9, -1)), "--slm-ca-file", w.authority.cert)


@case(True)
def a_model_server_of_a_named_authority(w):
    return model_over(w, "named", w.authority.issue("model d"), "--slm-ca-file", w.authority.cert)


@case(False)
def half_of_the_settings(w):
    started = []
    for flags in (("--http-tls-cert-file", w.files.cert), ("--http-tls-client-ca-file", w.trusted),
                  ("--http-tls-cert-file", w.files.cert, "--http-tls-key-file", w.agent.key),
                  ("--http-tls-cert-file", w.files.cert, "--http-tls-key-file", w.files.key, "--http-tls-client-names", "x"),
                  ("--http-tls-cert-file", w.files.cert, "--http-tls-key-file", w.files.key, "--http-tls-client-ca-file", "/none")):
        code, _, err = harness.soma("dev", "--listen", "127.0.0.1:0", "--memory-listen", "off", "--postgres", harness.NO_POSTGRES,
                                    *w.upstream.flags, *flags, data=os.path.join(w.folder.path, "half"))
        check("http.tls." in err, f"{flags}: {err}")
        started.append(code == 0)
    return any(started)


def metric(client, name):
    answer = client.call("GET", "/metrics")
    return sum(float(line.rsplit(" ", 1)[1]) for line in answer.body.splitlines() if line.startswith(name + "{"))


def rotate(w, rotations):
    """Certificates replaced under load: every request of old and new connections is answered."""
    tls = w.context(w.agent)
    failed, answered, end = [], [], threading.Event()

    def ask(again):
        client, n = Client(w.node.url, tls=tls), 0
        while not end.is_set():
            try:
                answer = client.call("POST", "/v1/remember", {"text": f"while certificates change {n}"})
                answered.append(answer.status)
                check(answer.status < 300, f"{answer.status} {answer.body[:200]}")
            except (harness.Failure, *harness.BROKEN) as error:
                failed.append(repr(error))
            n += 1
            if n % again == 0:
                client = Client(w.node.url, tls=tls)
    threads = [threading.Thread(target=ask, args=(again,)) for again in (1, 1, 5, 1_000_000)]
    watcher = Client(w.node.url, tls=tls)
    reads = metric(watcher, "soma_tls_reads_total")
    for thread in threads:
        thread.start()
    try:
        for n in range(rotations):
            pair = w.authority.issue(f"node {n}")
            pair.install(w.files.cert, w.files.key)
            wait_until("the new certificate is shown", 10, lambda p=pair: shown(w) == p.cert_der(), 0.1)
    finally:
        end.set()
        for thread in threads:
            thread.join(30)
    check(metric(watcher, "soma_tls_reads_total") >= reads + rotations, "certificates were not read again")
    check(not failed, f"{len(failed)} of {len(answered)} failed: {failed[:2]}")
    return len(answered)


def shown(w):
    """The certificate that a new connection sees."""
    with socket.create_connection(("127.0.0.1", w.port), timeout=15) as s:
        with w.context(w.agent).wrap_socket(s, server_hostname="127.0.0.1") as tls:
            return tls.getpeercert(binary_form=True)


def broken_rotation(w):
    """What cannot be read changes nothing but the log and a counter; the next good pair is taken."""
    watcher, before = Client(w.node.url, tls=w.context(w.agent)), shown(w)
    failures = metric(watcher, "soma_tls_read_failures_total")
    with open(w.files.key, encoding="ascii") as file:
        whole = file.read()
    with open(w.files.key, "w", encoding="ascii") as file:
        file.write("-----BEGIN PRIVATE KEY-----\nhalf")
    wait_until("the failure is counted", 10, lambda: shown(w) and metric(watcher, "soma_tls_read_failures_total") > failures, 0.2)
    check(shown(w) == before, "another certificate than before is shown")
    check("tls_not_read_again" in w.node.log() and "http.tls.key_file" in w.node.log(), "the log does not tell of it")
    pair = w.authority.issue("node mended")
    pair.install(w.files.cert, w.files.key)
    wait_until("the mended pair is shown", 10, lambda: shown(w) == pair.cert_der(), 0.2)


def run():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rotations", type=int, default=5)
    rotations = parser.parse_args().rotations
    with harness.Upstream({"otherwise": {"echo": True}}) as upstream, harness.Folder() as folder:
        world, right = World(folder, upstream), 0
        for function, lets_in in CASES:
            try:
                got = function(world)
            except Exception as failure:
                raise harness.Failure(f"{function.__name__}: {failure}") from failure
            check(got == lets_in, f"{function.__name__}: {'let in' if got else 'refused'}")
            right += 1
        began = time.monotonic()
        answered = rotate(world, rotations)
        print(f"{answered} requests, {answered / (time.monotonic() - began):.0f} a second, while certificates changed {rotations} times")
        broken_rotation(world)
        code, _ = world.node.terminate()
        check(code == 0, f"exit {code}")
        gate("S15", f"{right} cases", ">= 30", right >= 30)
        gate("S15.rotation", f"{rotations} rotations, 0 failed of {answered} requests", "0 failed", True)


if __name__ == "__main__":
    harness.main(run)
