"""The Python client's calls beside embedding and jobs: Trace, Health.Watch, Reload and Drain."""

import asyncio
import concurrent.futures
import contextlib
import itertools
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time
import types
import unittest
from unittest import mock

from daemon import Daemon, eventually, reference, script
from test_client import Scene, end

from sae_client import AsyncClient, Client, DrainReport, SAEError, ServingStatus, Status

TEXT = "Über die Brücke 🙂 watches the cat."


def state(stream, name):
    return script.frame("MESSAGE", stream=stream, message=script.encode("HealthCheckResponse", {"status": name}))


class Traces(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon("--limits-max-trace-bytes", "100")

    @classmethod
    def tearDownClass(cls):
        cls.daemon.stop()

    def test_a_trace_is_what_the_command_prints_and_another_client_gets(self):
        with script.Client(self.daemon.unix) as client:
            message, expected = client.call("Trace", "TraceRequest", {}, TEXT.encode())
        answer = script.decode("TraceResponse", message)
        with Client(self.daemon.unix) as client:
            traces = [client.trace(TEXT), client.trace(TEXT.encode())]

        async def run():
            async with AsyncClient(self.daemon.tcp) as client:
                return await client.trace(TEXT)

        for trace in [*traces, asyncio.run(run())]:
            self.assertEqual(trace.json, expected)
            self.assertEqual((trace.schema, str(trace.generation)), (answer["schema"], answer["generation"]))
        printed = subprocess.run([os.environ["TEST_SAE"], "trace", TEXT, "--json"], capture_output=True, check=True, timeout=60)
        self.assertEqual(expected, printed.stdout.removesuffix(b"\n"))

    def test_a_text_that_cannot_be_traced_is_an_error(self):
        with Client(self.daemon.unix) as client:
            for text, limit in (("", ""), ("x" * 101, "limits.max_trace_bytes")):
                with self.assertRaises(SAEError) as caught:
                    client.trace(text)
                self.assertEqual((caught.exception.code, caught.exception.limit), (Status.INVALID_ARGUMENT, limit))


class HealthUpdates(unittest.TestCase):
    def test_a_service_is_watched_until_the_daemon_drains(self):
        with Daemon("--drain-lame-duck-ms", "60000") as daemon, Client(daemon.unix) as client:
            states = [client.health_updates(service) for service in ("", "sae.v1.Embedding")]
            self.assertEqual([next(each) for each in states], [ServingStatus.SERVING] * 2)
            self.assertIs(next(client.health_updates("nobody")), ServingStatus.SERVICE_UNKNOWN)
            client.drain()
            self.assertEqual([next(each) for each in states], [ServingStatus.NOT_SERVING] * 2)
            daemon.kill()

    def test_a_watch_goes_on_over_a_connection_that_is_lost(self):
        # The second loss comes before anything was said.
        lines = (lambda s: state(s, "SERVING") + end(s, "UNAVAILABLE"), lambda s: None,
                 lambda s: state(s, "NOT_SERVING") + script.frame("END", stream=s))
        with Scene(*lines) as scene, Client(scene.endpoint) as client:
            self.assertEqual(list(client.health_updates()), [ServingStatus.SERVING, ServingStatus.NOT_SERVING])
            self.assertEqual((len(scene.requests), len(scene.hellos)), (3, 2))

    def test_a_watch_that_was_silent_for_long_goes_on_after_a_loss(self):
        job = script.encode("Job", {"id": "job", "state": "RUNNING"})
        for told, watch in ((lambda s: state(s, "SERVING"), Client.health_updates),
                            (lambda s: script.frame("MESSAGE", stream=s, message=job), lambda client: client.watch_job("job"))):
            late = [0.0]
            clock = types.SimpleNamespace(monotonic=lambda late=late: time.monotonic() + late[0])
            with self.subTest(watch), mock.patch("sae_client._conversation.time", clock), \
                    Scene(told, lambda s: None, told) as scene, Client(scene.endpoint) as client:
                updates = watch(client)
                first = next(updates)
                late[0] = 600.0
                scene.open[0].shutdown(socket.SHUT_RDWR)
                self.assertEqual((next(updates), len(scene.requests)), (first, 3))

    def test_a_watch_is_given_up_when_no_connection_holds_in_a_minute(self):
        # Each look at the clock is 5 s after the one before; an attempt has three, so that none seems to hold for 15 s.
        clock = types.SimpleNamespace(monotonic=itertools.count(time.monotonic(), 5).__next__)
        with Scene(*[lambda s: None] * 12, lambda s: script.frame("END", stream=s)) as scene, \
                mock.patch("sae_client._conversation.time", clock), Client(scene.endpoint) as client:
            with self.assertRaisesRegex(SAEError, "UNAVAILABLE"):
                next(client.health_updates())
            self.assertGreater(len(scene.requests), 1)

    def test_another_failure_ends_a_watch(self):
        with Scene(lambda s: state(s, "SERVING") + end(s, "PERMISSION_DENIED")) as scene, Client(scene.endpoint) as client:
            states = client.health_updates()
            self.assertIs(next(states), ServingStatus.SERVING)
            with self.assertRaisesRegex(SAEError, "PERMISSION_DENIED"):
                next(states)
            self.assertEqual(len(scene.requests), 1)

    def test_a_watch_finds_a_daemon_that_was_restarted(self):
        async def run(folder):
            daemon = Daemon(folder=folder)
            async with AsyncClient(daemon.unix) as client, contextlib.aclosing(client.health_updates()) as states:
                heard = [await anext(states)]
                daemon.kill()
                with await asyncio.to_thread(Daemon, folder=folder):
                    return [*heard, await anext(states)]

        with tempfile.TemporaryDirectory() as folder:
            self.assertEqual(asyncio.run(run(folder)), [ServingStatus.SERVING] * 2)

    def test_who_looks_no_longer_is_told_no_more(self):
        with Daemon() as daemon, Client(daemon.unix) as client:
            states = client.health_updates()
            next(states)
            self.assertEqual(daemon.metric('sae_streams{transport="unix"}'), 1)
            states.close()
            self.assertTrue(eventually(lambda: daemon.metric('sae_streams{transport="unix"}') == 0))


class Reloads(unittest.TestCase):
    def setUp(self):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="sae-test-"))
        self.addCleanup(shutil.rmtree, folder)
        self.file = folder / "sae.toml"

    def write(self, texts, workers):
        self.file.write_text(f"[limits]\nmax_texts_per_request = {texts}\n[workers]\ncount = {workers}\n")

    def test_what_changed_is_told_and_why_not(self):
        self.write(2_048, 1)
        with Daemon("--config", str(self.file)) as daemon, Client(daemon.unix) as client:
            generation = client.info().generation
            report = client.reload()
            self.assertEqual((report.generation_before, report.generation_after), (generation, generation))
            self.assertEqual((report.changed_settings, report.settings_for_restart), ([], []))
            self.write(7, 2)
            report = client.reload()
            self.assertEqual(report.changed_settings, ["limits.max_texts_per_request"])
            self.assertEqual(report.settings_for_restart, ["workers.count"])
            self.file.write_text("[limits]\nmax_texts_per_request = many\n")
            with self.assertRaises(SAEError) as caught:
                client.reload()
            self.assertIs(caught.exception.code, Status.FAILED_PRECONDITION)
            self.assertIn("sae.toml", caught.exception.message)
            info = client.info()
            self.assertEqual((info.limits["limits.max_texts_per_request"], info.generation, info.workers), (7, generation, 1))

    def test_nobody_without_the_role_reloads_or_drains(self):
        with Daemon() as daemon, Client(daemon.tcp) as client:
            for call, name in ((client.reload, "Reload"), (client.drain, "Drain")):
                with self.assertRaisesRegex(SAEError, f"{name} needs the role admin") as caught:
                    call()
                self.assertIs(caught.exception.code, Status.PERMISSION_DENIED)
            self.assertIs(client.health(), True)


class Drains(unittest.TestCase):
    def test_a_daemon_answers_what_is_under_way_and_ends(self):
        texts = ["".join(chr(97 + (n * m) % 26) for m in range(3_000)) for n in range(400)]
        with Daemon("--workers", "1") as daemon, Client(daemon.unix) as client, Client(daemon.unix) as other, \
                concurrent.futures.ThreadPoolExecutor(1) as pool:
            expected = reference(daemon.unix, texts)
            count = daemon.metric("sae_request_texts_count")
            answer = pool.submit(other.embed, texts, timeout=60)
            self.assertTrue(eventually(lambda: daemon.metric("sae_request_texts_count") > count))
            report = client.drain(60)
            self.assertFalse(answer.done())
            self.assertEqual(report.connections, 2)
            self.assertIn(report.streams, (1, 2))  # the texts, and the call itself
            self.assertEqual(answer.result().data.tobytes(), expected)
            self.assertEqual(daemon.process.wait(30), 0)
            daemon.stop()

    def test_the_grace_is_the_callers_else_the_settings(self):
        async def run(place, *grace):
            async with AsyncClient(place) as client:
                return await client.drain(*grace)

        # A stream that nobody ends: only a grace does.
        for grace in ((0.0,), (0.2,), ()):
            with self.subTest(grace), Daemon("--drain-grace-ms", "60000" if grace else "100") as daemon, \
                    Client(daemon.unix) as client:
                stream = client.embed_stream(["a dog"] * 100_000)
                next(stream)
                self.assertEqual(asyncio.run(run(daemon.unix, *grace)).connections, 2)
                self.assertIsNotNone(daemon.process.wait(30))
                daemon.stop()

    def test_what_is_sent_is_milliseconds_and_zero_is_for_the_settings(self):
        graces = {None: {}, 0: {"grace_ms": 1}, -1: {"grace_ms": 1}, 1.5: {"grace_ms": 1_500}, 1e99: {"grace_ms": 2**32 - 1}}
        heard = []

        class Hearing(Scene):
            def play(self, peer):
                with contextlib.suppress(OSError, EOFError):
                    while True:
                        header = script.HEADER.unpack(self.exactly(peer, 28))
                        payload = self.exactly(peer, header[5])
                        if header[1] == 2:
                            heard.append((header[3], script.decode("DrainRequest", payload)))
                            message = script.encode("DrainResponse", {"streams": 3, "connections": 2})
                            peer.sendall(script.frame("MESSAGE", flags=1, stream=header[4], message=message))
                        else:
                            peer.sendall(script.frame("HELLO", message=script.encode("Hello", {
                                "version_min": 1, "version_max": 1, "max_frame_bytes": 65536, "initial_window": 65536})))

        with Hearing() as scene, Client(scene.endpoint) as client:
            self.assertEqual([client.drain(grace) for grace in graces], [DrainReport(3, 2)] * len(graces))
        self.assertEqual(heard, [(31, request) for request in graces.values()])


if __name__ == "__main__":
    unittest.main()
