"""TLS 1.3 on both ports: the Python client, curl, the openai package and bare sockets, with certificates made by openssl."""

import asyncio
import json
import os
import shutil
import socket
import ssl
import subprocess
import unittest
from unittest import mock

import httpx
import numpy as np
import openai
from certificates import Certificates
from daemon import Daemon, reference

from sae_client import AsyncClient, Client, SAEError, Status

TEXTS = ["The cat watches the river.", "a dog", "Über die Brücke 🙂"]


class TLS(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.files = Certificates()
        for name in ("ca", "clients"):
            cls.files.authority(name)
        cls.files.add("server", "ca", "DNS:localhost,IP:127.0.0.1")
        cls.files.add("client", "clients", "email:a@example.org")
        cls.server = ["--tls-cert", cls.files.path("server.pem"), "--tls-key", cls.files.path("server.key")]
        cls.daemon = Daemon(*cls.server, "--limits-handshake-timeout-ms", "500")
        cls.ca = cls.files.path("ca.pem")
        cls.bits = reference(cls.daemon.unix, TEXTS)

    @classmethod
    def tearDownClass(cls):
        cls.daemon.stop()
        shutil.rmtree(cls.files.folder)

    def floats(self, rows):
        return np.array(rows, dtype=np.float64).astype("<f4").tobytes()

    def curl(self, url, *options, body=None):
        """Exit status and body."""
        arguments = ["curl", "-sS", "--cacert", self.ca, *options, url]
        if body is not None:
            arguments += ["-H", "content-type: application/json", "--data-binary", "@-"]
        done = subprocess.run(arguments, input=body, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout

    def test_the_client_gets_the_bits(self):
        self.assertTrue(self.daemon.tcp.startswith("tls://"))
        many = [f"text {n} " + "x" * (n % 200) for n in range(2000)]
        with Client(self.daemon.tcp, tls_ca=self.ca) as client:
            self.assertEqual(client.embed(TEXTS).vectors.tobytes(), self.bits)
            self.assertEqual(client.embed(many, timeout=60).vectors.tobytes(), reference(self.daemon.unix, many))

        async def run():
            async with AsyncClient(self.daemon.tcp) as client:
                answers = await asyncio.gather(*(client.embed([text]) for text in TEXTS * 20))
                return b"".join(answer.vectors.tobytes() for answer in answers)

        with mock.patch.dict(os.environ, {"SAE_CLIENT_TLS_CA": self.ca}):
            self.assertEqual(asyncio.run(run()), self.bits * 20)

    def test_the_client_trusts_no_stranger(self):
        for ca in (None, self.files.path("clients.pem")):
            with Client(self.daemon.tcp, tls_ca=ca) as client, self.assertRaises(SAEError) as caught:
                client.embed(TEXTS, timeout=5)
            self.assertEqual(caught.exception.code, Status.UNAUTHENTICATED)

    def test_certificates_of_clients(self):
        with Daemon(*self.server, "--tls-client-ca", self.files.path("clients.pem")) as daemon:
            with Client(daemon.tcp, tls_ca=self.ca) as client, self.assertRaises(SAEError) as caught:
                client.embed(TEXTS, timeout=5)
            self.assertEqual(caught.exception.code, Status.UNAUTHENTICATED)
            own = {"tls_cert": self.files.path("client.pem"), "tls_key": self.files.path("client.key")}
            with Client(daemon.tcp, tls_ca=self.ca, **own) as client:
                self.assertEqual(client.embed(TEXTS).vectors.tobytes(), self.bits)
            self.assertNotEqual(self.curl(daemon.http + "/livez")[0], 0)
            shown = ("--cert", own["tls_cert"], "--key", own["tls_key"])
            self.assertEqual(self.curl(daemon.http + "/livez", *shown), (0, "ok\n"))

    def test_curl_gets_the_bits(self):
        body = json.dumps({"inputs": TEXTS})
        status, text = self.curl(self.daemon.http + "/embed", body=body)
        self.assertEqual((status, self.floats(json.loads(text))), (0, self.bits))
        # Two requests on one connection; large bodies and answers.
        url = self.daemon.http + "/livez"
        status, text = self.curl(url, url, "-w", "%{num_connects} ")
        self.assertEqual((status, text), (0, "ok\n1 ok\n0 "))
        many = ["the cat watches the river " * 70] * 1000
        status, text = self.curl(self.daemon.http + "/embed", body=json.dumps({"inputs": many}))
        self.assertEqual((status, self.floats(json.loads(text))), (0, reference(self.daemon.unix, many[:1]) * 1000))

    def test_curl_is_refused_below_tls_1_3_and_in_the_clear(self):
        self.assertEqual(self.curl(self.daemon.http + "/livez", "--tls-max", "1.2")[0], 35)
        self.assertNotEqual(self.curl(self.daemon.http.replace("https:", "http:") + "/livez")[0], 0)
        self.assertEqual(self.curl(self.daemon.http + "/livez", "--cacert", self.files.path("clients.pem"))[0], 60)

    def test_the_openai_package_gets_the_bits(self):
        trusting = httpx.Client(verify=ssl.create_default_context(cafile=self.ca))
        with openai.OpenAI(base_url=self.daemon.http + "/v1", api_key="none", http_client=trusting) as client:
            answer = client.embeddings.create(model="any", input=TEXTS)
        self.assertEqual(self.floats([each.embedding for each in answer.data]), self.bits)

    def test_half_a_handshake_is_ended(self):
        for place in (self.daemon.tcp, self.daemon.http):
            port = int(place.rsplit(":", 1)[1])
            for begun in (b"", b"\x16\x03\x01\x02\x00\x01"):
                with socket.create_connection(("127.0.0.1", port), timeout=10) as peer:
                    peer.sendall(begun)
                    self.assertEqual(peer.recv(100), b"")
        with Client(self.daemon.tcp, tls_ca=self.ca) as client:
            self.assertEqual(client.embed(TEXTS).vectors.tobytes(), self.bits)


if __name__ == "__main__":
    unittest.main()
