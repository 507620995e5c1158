"""A node that speaks TLS and asks its clients for certificates; and clients of it."""

import os
import shutil
import ssl
import subprocess
import urllib.parse

import harness
from certificates import Authority, Pair
from harness import Client

NAME, SPIFFE = "agent.test", "spiffe://test/agents/one"
PATH = "/v1/admin/status"


class World:
    """A node that asks clients for certificates of `authority`, none of them revoked, with a name that it knows."""

    def __init__(self, folder, upstream):
        self.folder, self.upstream = folder, upstream
        self.authority = Authority(folder.path + "/authority")
        self.files = Pair(folder.path + "/node.pem", folder.path + "/node.key")
        self.authority.issue("node").install(self.files.cert, self.files.key)
        self.trusted, self.lists = folder.path + "/trusted.pem", folder.path + "/lists.pem"
        shutil.copy(self.authority.cert, self.trusted)
        self.list_revoked(self.authority)
        self.agent = self.issue("agent")
        self.node = folder.node(
            *upstream.flags, "--postgres", harness.NO_POSTGRES, "--http-tls-cert-file", self.files.cert,
            "--http-tls-key-file", self.files.key, "--http-tls-client-ca-file", self.trusted,
            "--http-tls-client-crl-file", self.lists, "--http-tls-client-names", f"{NAME},{SPIFFE}").wait_ready()
        self.port = urllib.parse.urlsplit(self.node.url).port

    def list_revoked(self, *authorities):
        with open(self.lists + ".new", "w", encoding="ascii") as out:
            for authority in authorities:
                with open(authority.crl, encoding="ascii") as file:
                    out.write(file.read())
        os.replace(self.lists + ".new", self.lists)

    def issue(self, name, names=(f"DNS:{NAME}",), by=None, **more):
        return (by or self.authority).issue(name, names, **more)

    def context(self, pair=None, **limits):
        context = ssl.create_default_context(cafile=self.authority.cert)
        if pair:
            context.load_cert_chain(pair.cert, pair.key)
        for name, value in limits.items():
            setattr(context, name, value)
        return context

    def asks(self, pair, **limits):
        """Whether a request of this client is answered; a refusal is the node's, by an alert."""
        try:
            return Client(self.node.url, tls=self.context(pair, **limits), timeout=15).call("GET", PATH).status == 200
        except ssl.SSLCertVerificationError:
            raise
        except (ssl.SSLError, ConnectionError):
            return False

    def s_client_command(self, *flags):
        return ["openssl", "s_client", "-connect", f"127.0.0.1:{self.port}", "-CAfile", self.authority.cert,
                "-cert", self.agent.cert, "-key", self.agent.key, *flags]

    def s_client(self, *flags, say=f"GET {PATH} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n"):
        """What openssl's client printed."""
        done = subprocess.run(self.s_client_command("-ign_eof", *flags), input=say.encode(), capture_output=True,
                              timeout=30, check=False)
        return (done.stdout + done.stderr).decode(errors="replace")

    def speaks(self, *flags):
        return "HTTP/1.1 200" in self.s_client(*flags)
