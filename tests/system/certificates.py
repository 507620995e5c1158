"""Authorities and certificates for tests, made by the openssl command."""

import datetime
import os
import ssl
import subprocess
import threading

CONFIG = """
[ca]
default_ca = this
[this]
database = {folder}/index.txt
serial = {folder}/serial
crlnumber = {folder}/crlnumber
new_certs_dir = {folder}
certificate = {folder}/ca.pem
private_key = {folder}/ca.key
default_md = sha256
default_crl_days = 7
policy = any
unique_subject = no
copy_extensions = none
[any]
commonName = supplied
"""
BOTH = "serverAuth,clientAuth"
HERE = ("IP:127.0.0.1", "DNS:localhost")


def openssl(*args):
    done = subprocess.run(["openssl", *args], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"openssl {' '.join(args)}: {done.stderr}")


def _moment(days):
    at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)
    return at.strftime("%y%m%d%H%M%SZ")


class Pair:
    """The files of a certificate, with what leads to its authority, and of its key."""

    def __init__(self, cert, key):
        self.cert, self.key = cert, key

    def cert_der(self):
        with open(self.cert, encoding="ascii") as file:
            return ssl.PEM_cert_to_DER_cert(file.read().split("-----END")[0] + "-----END CERTIFICATE-----\n")

    def install(self, cert, key):
        """Takes the place of another pair, one file after the other, each at once."""
        for source, target in ((self.cert, cert), (self.key, key)):
            with open(source, "rb") as file, open(target + ".new", "wb") as out:
                out.write(file.read())
            os.replace(target + ".new", target)


class Authority:
    """Signs certificates. `by`: the authority that signed this one's."""

    def __init__(self, folder, name="Test authority", by=None):
        self.folder, self.name, self.by = folder, name, by
        self.cert, self.crl = os.path.join(folder, "ca.pem"), os.path.join(folder, "crl.pem")
        self._lock = threading.Lock()
        os.makedirs(folder)
        for file, text in (("index.txt", ""), ("serial", "1000\n"), ("crlnumber", "01\n"), ("ca.cnf", CONFIG.format(folder=folder))):
            with open(os.path.join(folder, file), "w", encoding="ascii") as out:
                out.write(text)
        if by:
            pair = by.issue(name, (), extensions=("basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign"))
            os.rename(pair.cert, self.cert)
            os.rename(pair.key, os.path.join(folder, "ca.key"))
        else:
            openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                    "-subj", f"/CN={name}", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
                    "-keyout", os.path.join(folder, "ca.key"), "-out", self.cert)
        self.list_revoked()

    def issue(self, name, names=HERE, valid=(-1, 10), usage=BOTH, key="ec", extensions=()):
        """A certificate with these alternative names, valid from and until so many days from now."""
        base = os.path.join(self.folder, name.replace("/", "-").replace(" ", "-"))
        made = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256") if key == "ec" else ("-newkey", key)
        openssl("req", "-new", *made, "-nodes", "-subj", f"/CN={name}", "-keyout", base + ".key", "-out", base + ".csr")
        with open(base + ".ext", "w", encoding="ascii") as out:
            out.write("\n".join(["[e]", *(extensions or ("basicConstraints=CA:FALSE",)),
                                 *([f"extendedKeyUsage={usage}"] if usage and not extensions else []),
                                 *([f"subjectAltName={','.join(names)}"] if names else [])]))
        with self._lock:
            openssl("ca", "-config", os.path.join(self.folder, "ca.cnf"), "-batch", "-notext", "-in", base + ".csr",
                    "-out", base + ".pem", "-startdate", _moment(valid[0]), "-enddate", _moment(valid[1]),
                    "-extensions", "e", "-extfile", base + ".ext")
        if self.by:
            with open(base + ".pem", "a", encoding="ascii") as out, open(self.cert, encoding="ascii") as own:
                out.write(own.read())
        return Pair(base + ".pem", base + ".key")

    def revoke(self, pair):
        openssl("ca", "-config", os.path.join(self.folder, "ca.cnf"), "-revoke", pair.cert)
        self.list_revoked()

    def list_revoked(self):
        openssl("ca", "-config", os.path.join(self.folder, "ca.cnf"), "-gencrl", "-out", self.crl + ".new")
        os.replace(self.crl + ".new", self.crl)
