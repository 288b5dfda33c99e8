"""Authorities and certificates for tests, made by openssl in a folder of their own: P-256, valid for two days."""

import os
import pathlib
import shutil
import subprocess
import tempfile


class Certificates:
    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="sae-test-"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.folder)

    def path(self, name):
        return str(self.folder / name)

    def openssl(self, *arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=30)

    def authority(self, name):
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                     "-keyout", self.path(name + ".key"), "-out", self.path(name + ".pem"), "-subj", "/CN=" + name)

    def add(self, name, authority, names):
        self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                     self.path(name + ".key"), "-out", self.path(name + ".csr"), "-subj", "/CN=" + name)
        pathlib.Path(self.path("ext")).write_text("subjectAltName=" + names)
        self.openssl("x509", "-req", "-in", self.path(name + ".csr"), "-CA", self.path(authority + ".pem"), "-CAkey",
                     self.path(authority + ".key"), "-days", "2", "-extfile", self.path("ext"), "-out", self.path(name + ".pem"))
        os.chmod(self.path(name + ".key"), 0o600)
