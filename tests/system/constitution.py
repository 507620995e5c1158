"""Constitutions for tests: a key of one's own, and bundles signed with it by the openssl command."""

import base64
import hashlib
import json
import os
import subprocess


class Signer:
    """An Ed25519 key pair in a folder; `public` is what constitution.trusted_keys takes."""

    def __init__(self, folder):
        self.private, self.public = os.path.join(folder, "signer.pem"), os.path.join(folder, "signer.pub.pem")
        run = lambda *args: subprocess.run(["openssl", *args], check=True, capture_output=True)
        run("genpkey", "-algorithm", "ed25519", "-out", self.private)
        run("pkey", "-in", self.private, "-pubout", "-out", self.public)

    def bundle(self, version, rules, issued_at="2026-01-01T00:00:00Z"):
        document = {"name": "Test constitution – für alle", "version": version, "rules": rules}
        canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
        path = self.private + ".in"
        with open(path, "wb") as file:
            file.write(canonical)
        done = subprocess.run(["openssl", "pkeyutl", "-sign", "-inkey", self.private, "-rawin", "-in", path],
                              check=True, capture_output=True)
        return {"version": version, "issued_at": issued_at, "document": document,
                "hash": hashlib.sha256(canonical).hexdigest(),
                "signature": {"algorithm": "EdDSA", "value": base64.b64encode(done.stdout).decode()}}
