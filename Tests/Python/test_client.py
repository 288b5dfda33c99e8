"""The Python client: with the real daemon, and with servers that play one scene each."""

import asyncio
import concurrent.futures
import contextlib
import os
import pathlib
import socket
import struct
import tempfile
import threading
import time
import unittest

import numpy as np
from daemon import Daemon, eventually, reference, script

from sae_client import AsyncClient, Client, SAEError, Status

HELLO = script.frame("HELLO", message=script.encode("Hello", {
    "version_min": 1, "version_max": 1, "software": "scene", "max_frame_bytes": 4194304, "initial_window": 1048576}))
SERVING = script.encode("HealthCheckResponse", {"status": "SERVING"})


def answer(stream):
    return script.frame("MESSAGE", flags=1, stream=stream, message=SERVING)


def end(stream, code, flags=0, **fields):
    message = script.encode("Status", fields)
    return script.frame("END", flags=flags, stream=stream, arg=script.STATUS.index(code), message=message)


class Scene:
    """A server that answers the n-th request it gets, over all connections, with what `lines[n]` makes of its stream id:
    bytes to send, or None to hang up. Keeps HELLOs and requests."""

    def __init__(self, *lines):
        self.lines = lines
        self.hellos, self.requests = [], []
        self.folder = tempfile.TemporaryDirectory()
        self.endpoint = "unix:" + self.folder.name + "/s"
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.endpoint[5:])
        self.listener.listen()
        self.open = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            self.open.append(peer)
            threading.Thread(target=self.play, args=(peer,), daemon=True).start()

    def play(self, peer):
        try:
            while True:
                head = self.exactly(peer, 28)
                header = script.HEADER.unpack(head)
                payload = self.exactly(peer, header[5])
                if header[1] == 1:
                    self.hellos.append(script.decode("Hello", payload))
                    peer.sendall(HELLO)
                elif header[1] == 2:
                    self.requests.append(header)
                    line = self.lines[len(self.requests) - 1](header[4])
                    if line is None:
                        peer.close()
                        return
                    peer.sendall(line)
        except (OSError, EOFError, struct.error):
            pass

    @staticmethod
    def exactly(peer, count):
        data = b""
        while len(data) < count:
            part = peer.recv(count - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()
        for peer in self.open:
            peer.close()
        self.folder.cleanup()


class Scenes(unittest.TestCase):
    def health(self, *lines, timeout=10.0, calls=1, **options):
        """What a call of Health.Check gives, and the scene."""
        with Scene(*lines) as scene, Client(scene.endpoint, **options) as client:
            results = []
            for _ in range(calls):
                try:
                    results.append(client.health(timeout=timeout))
                except SAEError as error:
                    results.append(error.code)
            return results[-1], scene

    def test_a_refusal_is_tried_again_after_the_time_it_names(self):
        begun = time.monotonic()
        result, scene = self.health(
            lambda s: end(s, "RESOURCE_EXHAUSTED", 4, limit="queue.max_texts", retry_after_ms=200),
            lambda s: end(s, "UNAVAILABLE", 4), answer)
        self.assertIs(result, True)
        self.assertEqual(len(scene.requests), 3)
        self.assertGreater(time.monotonic() - begun, 0.16 + 0.04)

    def test_a_refusal_is_tried_three_times_at_most(self):
        result, scene = self.health(*[lambda s: end(s, "UNAVAILABLE", 4)] * 9)
        self.assertEqual((result, len(scene.requests)), (Status.UNAVAILABLE, 3))

    def test_what_may_have_been_done_is_not_tried_again(self):
        for code, flags in [("INVALID_ARGUMENT", 0), ("DEADLINE_EXCEEDED", 0), ("INTERNAL", 0), ("UNAVAILABLE", 0),
                            ("RESOURCE_EXHAUSTED", 0), ("FAILED_PRECONDITION", 4)]:
            with self.subTest(code):
                result, scene = self.health(lambda s, code=code, flags=flags: end(s, code, flags), answer)
                self.assertEqual((result, len(scene.requests)), (Status[code], 1))

    def test_a_lost_connection_is_tried_again_once(self):
        result, scene = self.health(lambda s: None, answer)
        self.assertEqual((result, len(scene.hellos)), (True, 2))
        result, scene = self.health(lambda s: None, lambda s: None, answer)
        self.assertEqual((result, len(scene.requests)), (Status.UNAVAILABLE, 2))

    def test_a_job_that_is_gone_after_a_lost_answer_is_deleted(self):
        with Scene(lambda s: None, lambda s: end(s, "NOT_FOUND", 0), lambda s: end(s, "NOT_FOUND", 0)) as scene, \
                Client(scene.endpoint) as client:
            client.delete_job("job")
            with self.assertRaisesRegex(SAEError, "NOT_FOUND"):
                client.delete_job("none")
            self.assertEqual(len(scene.requests), 3)

    def test_retries_add_a_tenth_at_most(self):
        refuse = [lambda s: end(s, "UNAVAILABLE", 4)] * 99
        _, scene = self.health(*refuse, calls=20)
        # Five retries use the budget up; then each call is one attempt.
        self.assertLessEqual(len(scene.requests), 20 + 5)

    def test_a_streaming_call_that_is_refused_is_made_again(self):
        for code in ("UNAVAILABLE", "RESOURCE_EXHAUSTED"):
            job = script.encode("Job", {"id": "job", "state": "DONE"})
            with Scene(lambda s, code=code: end(s, code, 4),
                       lambda s: script.frame("MESSAGE", stream=s, message=job) + script.frame("END", stream=s)) as scene, \
                    Client(scene.endpoint) as client:
                self.assertEqual([each.id for each in client.watch_job("job")], ["job"])
                self.assertEqual((len(scene.requests), len(scene.hellos)), (2, 1))

    def test_a_streaming_call_that_was_answered_in_part_is_not_made_again(self):
        job = script.encode("Job", {"id": "job", "state": "RUNNING"})
        with Scene(lambda s: script.frame("MESSAGE", stream=s, message=job) + end(s, "RESOURCE_EXHAUSTED", 4), answer) as scene, \
                Client(scene.endpoint) as client:
            with self.assertRaisesRegex(SAEError, "RESOURCE_EXHAUSTED"):
                list(client.watch_job("job"))
            self.assertEqual(len(scene.requests), 1)

    def stream_scene(self, *lines):
        """A scene that answers the n-th message of streaming calls as `lines` say; what they were is in `heard`."""
        heard = []

        class Hearing(Scene):
            def play(self, peer):
                with contextlib.suppress(OSError, EOFError):
                    while True:
                        header = script.HEADER.unpack(self.exactly(peer, 28))
                        payload = self.exactly(peer, header[5])
                        if header[1] == 1:
                            peer.sendall(HELLO)
                        elif header[1] == 2:
                            self.requests.append(script.decode("EmbedRequest", payload[: header[6]]))
                        elif header[1] == 3:
                            heard.append(payload)
                            peer.sendall(lines[min(len(heard), len(lines)) - 1](header[4]))
                        elif header[1] == 4:
                            peer.sendall(script.frame("END", stream=header[4]))

        return Hearing(), heard

    def vectors(self, stream):
        message = script.encode("EmbedResponse", {"count": 256, "dimensions": 1, "generation": 5})
        return script.frame("MESSAGE", stream=stream, message=message, attachment=bytes(1024))

    def test_what_was_said_of_a_refused_call_is_said_again(self):
        scene, heard = self.stream_scene(lambda s: end(s, "RESOURCE_EXHAUSTED", 4), self.vectors)
        with scene, Client(scene.endpoint) as client:
            parts = list(client.embed_stream([f"text {n // 256}" for n in range(1024)]))
            self.assertEqual([len(part) for part in parts], [256] * 4)
        # What was sent to the call that was refused, and then all of it and the rest to the other, in order.
        self.assertEqual((len(scene.requests), [payload[-1:] for payload in heard[-4:]]), (2, [b"0", b"1", b"2", b"3"]))
        self.assertGreater(len(heard), 4)

    def test_a_stream_whose_generation_goes_is_begun_anew_only_if_nothing_was_answered(self):
        scene, heard = self.stream_scene(lambda s: end(s, "ABORTED"), self.vectors)
        with scene, Client(scene.endpoint) as client:
            self.assertEqual([part.generation for part in client.embed_stream(["a dog"] * 256)], [5])
            self.assertEqual((len(scene.requests), heard[0]), (2, heard[1]))
        scene, heard = self.stream_scene(self.vectors, lambda s: end(s, "ABORTED"))
        with scene, Client(scene.endpoint) as client:
            stream = client.embed_stream(["a dog"] * 512)
            self.assertEqual(next(stream).generation, 5)
            with self.assertRaisesRegex(SAEError, "ABORTED"):
                next(stream)
            self.assertEqual(len(scene.requests), 1)

    def test_a_stream_goes_on_elsewhere_with_its_generation(self):
        scene, heard = self.stream_scene(lambda s: self.vectors(s) + end(s, "UNAVAILABLE"), self.vectors)
        with scene, Client(scene.endpoint) as client:
            parts = list(client.embed_stream([f"text {n // 256}" for n in range(3 * 256)]))
            self.assertEqual([part.generation for part in parts], [5] * 3)
        self.assertEqual([each.get("if_generation", "0") for each in scene.requests], ["0", "5"])
        self.assertEqual([payload[-1:] for payload in heard[-2:]], [b"1", b"2"])

    def test_who_has_a_connection_does_not_wait_for_another(self):
        class Narrow(Scene):
            def play(self, peer):
                if peer is self.open[0]:
                    super().play(peer)

        with Narrow(*[lambda s: b""] * 32, answer) as scene, Client(scene.endpoint) as client:
            pool = concurrent.futures.ThreadPoolExecutor(32)
            for _ in range(32):
                pool.submit(client.info, timeout=60)
            self.assertTrue(eventually(lambda: len(scene.requests) == 32))
            self.assertIs(client.health(timeout=5), True)
            # A second one was tried, and nobody greets there.
            self.assertTrue(eventually(lambda: len(scene.open) == 2))
            client.close()
            pool.shutdown()

    def test_a_draining_daemon_gets_no_new_calls_and_answers_the_old_ones(self):
        goodbye = script.frame("GOAWAY", message=script.encode("GoAway", {"last_stream_id": 1, "reason": "draining"}))
        result, scene = self.health(lambda s: goodbye + answer(s), answer, calls=2)
        self.assertEqual((result, len(scene.hellos)), (True, 2))
        below = script.frame("GOAWAY", message=script.encode("GoAway", {"reason": "draining"}))
        result, scene = self.health(lambda s: below, answer)
        self.assertEqual((result, len(scene.requests)), (True, 2))

    def test_a_goaway_with_a_code_is_the_calls_failure(self):
        goodbye = script.frame("GOAWAY", arg=13, message=script.encode("GoAway", {"reason": "bad_frame"}))
        result, scene = self.health(lambda s: goodbye, answer)
        self.assertEqual((result, len(scene.requests)), (Status.INTERNAL, 1))

    def test_bytes_that_are_not_the_protocol_are_an_error(self):
        flipped = bytearray(script.frame("MESSAGE", flags=1, stream=1, message=SERVING, crc=True))
        flipped[-1] ^= 1
        for line in (b"HTTP/1.1 400 Bad Request\r\n\r\n" + bytes(40), bytes(flipped), answer(1)[:8] + b"\xff" * 20):
            result, _ = self.health(lambda s, line=line: line)
            self.assertEqual(result, Status.INTERNAL)
        result, _ = self.health(lambda s: script.frame("MESSAGE", flags=1, stream=s, message=SERVING, crc=True))
        self.assertIs(result, True)

    def test_a_deadline_ends_a_call_that_nobody_answers_and_tells_the_daemon(self):
        begun = time.monotonic()
        result, scene = self.health(lambda s: b"", timeout=0.2)
        self.assertEqual(result, Status.DEADLINE_EXCEEDED)
        self.assertLess(time.monotonic() - begun, 5)
        self.assertLessEqual(scene.requests[0][7], 200_000)
        self.assertGreater(scene.requests[0][7], 50_000)

    def test_an_echo_is_given(self):
        heard = []

        class Echo(Scene):
            def play(self, peer):
                self.exactly(peer, 28 + script.HEADER.unpack(self.exactly(peer, 28))[5] - 28)
                peer.sendall(HELLO + script.frame("PING", attachment=b"12345678"))
                heard.append(self.exactly(peer, 36))

        with Echo() as scene, Client(scene.endpoint) as client:
            with self.assertRaises(SAEError):
                client.health(timeout=1)
            self.assertTrue(eventually(lambda: heard))
        # The request comes first or second.
        self.assertIn(heard[0][4], (2, 7))

    def test_the_token_of_the_file_is_sent(self):
        with tempfile.NamedTemporaryFile("w") as file:
            file.write("sae_secret\n")
            file.flush()
            _, scene = self.health(answer, token_file=file.name)
        self.assertEqual(scene.hellos[0]["token"], "sae_secret")


class Streams(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon()

    @classmethod
    def tearDownClass(cls):
        cls.daemon.stop()

    def test_what_cannot_be_meant_is_said_by_name(self):
        with Client(self.daemon.unix) as client:
            with self.assertRaises(SAEError) as caught:
                client.similarity([], ["a dog"])
            self.assertEqual((caught.exception.code, caught.exception.message), (Status.INVALID_ARGUMENT, "no left text is given"))
            for call in (client.embed, lambda texts: list(client.embed_stream(texts)), client.tokenize, client.similarity):
                with self.assertRaisesRegex(TypeError, "a text must be str or bytes, not NoneType"):
                    call(["a dog", None])

    def test_a_stream_of_any_length_comes_back_in_order(self):
        for count in (0, 1, 256, 257, 3_000):
            texts = [f"sentence {n} of many" for n in range(count)]
            expected = b"".join(reference(self.daemon.unix, texts[at : at + 1_000]) for at in range(0, count, 1_000))
            with self.subTest(count), Client(self.daemon.unix) as client:
                parts = list(client.embed_stream(iter(texts)))
                self.assertEqual((sum(map(len, parts)), b"".join(each.data.tobytes() for each in parts)), (count, expected))

            async def run(texts=texts):
                async def each():
                    for text in texts:
                        yield text

                async with AsyncClient(self.daemon.tcp) as client:
                    return b"".join([part.data.tobytes() async for part in client.embed_stream(each())])

            self.assertEqual(asyncio.run(run()), expected)

    def test_who_takes_nothing_is_asked_for_no_more_than_a_few_chunks(self):
        asked = []
        with Client(self.daemon.unix) as client:
            stream = client.embed_stream(asked.append(n) or "a dog" for n in range(10_000_000))
            self.assertEqual(len(next(stream)), 256)
            stream.close()
        self.assertEqual(len(asked), 4 * 256)
        self.assertTrue(eventually(lambda: self.daemon.metric('sae_streams{transport="unix"}') == 0))

    def test_more_streams_than_the_daemon_takes_at_once_wait_for_their_turn(self):
        texts = [f"sentence {n}" for n in range(600)]

        async def run(daemon):
            async with AsyncClient(daemon.unix, pool=2) as client:
                async def one():
                    return b"".join([part.data.tobytes() async for part in client.embed_stream(texts)])

                return await asyncio.gather(*(one() for _ in range(12)))

        with Daemon("--limits-max-streaming-per-connection", "1") as daemon:
            self.assertEqual(set(asyncio.run(run(daemon))), {reference(daemon.unix, texts)})
            self.assertEqual(daemon.metric('sae_connections_total{transport="unix"}'), 3)

    def test_a_stream_goes_on_with_a_daemon_that_was_restarted(self):
        texts = [f"sentence {n}" for n in range(4_000)]
        with tempfile.TemporaryDirectory() as folder:
            daemon = Daemon(folder=folder)
            with Client(daemon.unix) as client:
                stream = client.embed_stream(texts)
                parts = [next(stream)]
                daemon.kill()
                with Daemon(folder=folder) as second:
                    parts += stream
                    expected = b"".join(reference(second.unix, texts[at : at + 1_000]) for at in range(0, 4_000, 1_000))
            self.assertEqual(b"".join(each.data.tobytes() for each in parts), expected)


class WithDaemon(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon()

    @classmethod
    def tearDownClass(cls):
        cls.daemon.stop()

    def test_info_tells_the_model(self):
        with Client(self.daemon.unix) as client:
            info = client.info()
        with script.Client(self.daemon.unix) as client:
            other = client.info()
        self.assertEqual((info.model, str(info.generation)), (other["model"], other["generation"]))
        self.assertEqual(len(info.generation_digest), 32)
        self.assertEqual((info.dimensions, info.state), (256, "serving"))
        self.assertEqual(info.limits["limits.max_texts_per_request"], 2_048)

    def test_many_threads_share_a_client(self):
        texts = [[f"sentence {thread} of {n}" for n in range(20)] for thread in range(64)]
        expected = [reference(self.daemon.unix, each) for each in texts]
        with Client(self.daemon.unix) as client, concurrent.futures.ThreadPoolExecutor(64) as pool:
            for _ in range(3):
                found = list(pool.map(lambda each: client.embed(each).data.tobytes(), texts))
                self.assertEqual(found, expected)
        self.assertLessEqual(self.daemon.metric('sae_connections_total{transport="unix"}'), 64 + 3 + 4)

    def test_many_tasks_share_a_client(self):
        async def run():
            async with AsyncClient(self.daemon.tcp) as client:
                answers = await asyncio.gather(*(client.embed([f"text {n}"]) for n in range(300)))
                return b"".join(each.data.tobytes() for each in answers)

        self.assertEqual(asyncio.run(run()), reference(self.daemon.unix, [f"text {n}" for n in range(300)]))

    def test_strings_and_bytes_are_the_same_text_and_one_text_is_a_mistake(self):
        with Client(self.daemon.unix) as client:
            self.assertEqual(client.embed(["Über 🙂"]).data.tobytes(), client.embed(["Über 🙂".encode()]).data.tobytes())
            self.assertEqual(len(client.embed(iter(["a", "b"]))), 2)
            with self.assertRaises(TypeError):
                client.embed("a dog")
            with self.assertRaises(SAEError) as caught:
                client.embed(["a", "", "b"], strict=True)
            self.assertEqual(caught.exception.code, Status.INVALID_ARGUMENT)
            self.assertIn("text 1", str(caught.exception))

    def test_data_is_not_copied(self):
        with Client(self.daemon.unix) as client:
            answer = client.embed(["a dog"])
            self.assertIsInstance(answer.data.base.base if answer.data.base is not None else None, (bytes, np.ndarray))
            self.assertIs(answer.vectors.base if answer.vectors.base is not None else answer.vectors, answer.data.base)

    def test_a_cancelled_task_cancels_its_request(self):
        texts = ["".join(chr(97 + (n * m) % 26) for m in range(3000)) for n in range(600)]

        async def run(daemon):
            async with AsyncClient(daemon.unix) as client:
                tasks = [asyncio.create_task(client.embed(texts, timeout=60)) for _ in range(4)]
                await asyncio.to_thread(eventually, lambda: daemon.metric("sae_request_texts_count") >= 4)
                for task in tasks:
                    task.cancel()
                results = await asyncio.gather(*tasks, return_exceptions=True)
                assert (await client.embed(["x"])).errors == ()
                return results

        with Daemon("--workers", "1") as daemon:
            results = asyncio.run(run(daemon))
            self.assertTrue(any(isinstance(each, asyncio.CancelledError) for each in results), results)
            self.assertTrue(eventually(lambda: daemon.metric("sae_queue_texts") == 0))
            self.assertGreater(daemon.metric('sae_texts_dropped_total{reason="cancel"}'), 0)

    def test_the_client_finds_a_daemon_that_comes_later_and_one_that_was_restarted(self):
        with tempfile.TemporaryDirectory() as folder, Client(f"unix:{folder}/s") as client:
            with self.assertRaises(SAEError) as caught:
                client.health(timeout=0.3)
            self.assertEqual(caught.exception.code, Status.DEADLINE_EXCEEDED)
            late = concurrent.futures.ThreadPoolExecutor(1).submit(client.embed, ["a dog"], timeout=30)
            first = Daemon(folder=folder)
            bits = late.result().data.tobytes()
            first.kill()
            second = Daemon(folder=folder)
            self.assertEqual(client.embed(["a dog"]).data.tobytes(), bits)
            second.stop()

    def test_a_small_daemon_gets_small_requests(self):
        flags = ["--limits-max-frame-bytes", "65536", "--limits-max-texts-per-request", "100",
                 "--limits-max-connection-output-bytes", "300000"]
        texts = [f"sentence number {n} " * 40 for n in range(1000)]
        with Daemon(*flags) as daemon, Client(daemon.unix) as client:
            found = client.embed(texts, timeout=60)
            self.assertEqual(found.data.tobytes(), client.embed(texts[:500], timeout=60).data.tobytes()
                             + client.embed(texts[500:], timeout=60).data.tobytes())
            self.assertEqual(found.data.tobytes()[: 50 * 1024], reference(daemon.unix, texts[:50]))
            self.assertEqual(daemon.metric('sae_refusals_total{limit="limits.max_connection_output_bytes"}'), 0)

    def test_a_closed_client_says_so(self):
        client = Client(self.daemon.unix)
        client.embed(["a"])
        client.close()
        client.close()
        with self.assertRaises(SAEError) as caught:
            client.embed(["a"])
        self.assertEqual(caught.exception.code, Status.CANCELLED)

    def test_where_is_checked(self):
        for endpoint in ("", "http://a:1", "tcp://a", "unix:", "tcp://a:b", "127.0.0.1:7733"):
            if endpoint:
                with self.assertRaises(ValueError):
                    Client(endpoint)
        os.environ["SAE_CLIENT_CONNECT"] = self.daemon.unix
        try:
            with Client() as client:
                self.assertIs(client.health(), True)
        finally:
            del os.environ["SAE_CLIENT_CONNECT"]

    def test_no_log_of_the_daemon_has_a_text(self):
        with Client(self.daemon.unix) as client:
            client.embed(["canary-5e1f"])
        self.assertFalse(any("canary-5e1f" in str(event) for event in self.daemon.log))


if __name__ == "__main__":
    unittest.main()
