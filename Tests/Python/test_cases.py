"""The cases that every client plays (proto-spec/cases.json), with the sync and the asyncio client; bits are those that
proto-spec/client.py gets, which shares no code with either."""

import asyncio
import base64
import dataclasses
import hashlib
import json
import secrets
import shutil
import tempfile
import unittest

import numpy as np
from daemon import ROOT, Daemon, script

import sae_client
from sae_client import Encoding, JobSpec, SAEError

CASES = json.loads((ROOT / "proto-spec" / "cases.json").read_text(encoding="utf-8"))
STREAMS = ("watch_job", "embed_stream")


def texts_of(case):
    texts = [text.encode() for text in case.get("texts", [])] + [bytes.fromhex(text) for text in case.get("hex", [])]
    for index, count in case.get("repeat", {}).items():
        texts[int(index)] *= count
    return texts * case.get("times", 1)


def options_of(case):
    options = {key: case[key] for key in ("dimensions", "truncate", "temperature", "if_generation") if key in case}
    if "encoding" in case:
        options["encoding"] = Encoding[case["encoding"]]
    return options


class JobRun:
    """The steps of a job, each a call of the client; `call` makes it."""

    def __init__(self, case, call, folder):
        self.call, self.target = call, folder / "target"
        self.lines = [line.encode() for line in case["lines"]] if "lines" in case else texts_of(case)
        self.data = b"".join(line + b"\n" for line in self.lines)
        self.digest = hashlib.sha256(self.data).digest()
        options = {key: case[key] for key in ("text_field", "fail_on_error") if key in case}
        self.spec = JobSpec(key=secrets.token_hex(8), **options, **options_of(case))
        self.id, self.last, self.vectors = "0" * 26, None, None

    def step(self, name):
        match name:
            case "create": self.made(self.call("create_job", self.spec))
            case "create another": self.call("create_job", dataclasses.replace(self.spec, truncate=True))
            case "submit": self.made(self.call("submit_job", self.data, self.spec))
            case "upload": assert self.call("put_job_input", self.id, self.data, 0) == len(self.data)
            case "upload late": self.call("put_job_input", self.id, self.data, 1)
            case "start": self.call("start_job", self.id, len(self.data), self.digest)
            case "start wrongly": self.call("start_job", self.id, len(self.data), bytes(32))
            case "get": assert self.call("job", self.id).id == self.id
            case "watch": self.last = self.call("watch_job", self.id)[-1]
            case "cancel": self.call("cancel_job", self.id)
            case "delete": self.call("delete_job", self.id)
            case "fetch":
                self.call("fetch_job", self.id, "vectors.npy", self.target)
                self.vectors = self.target.read_bytes()
            case _: raise AssertionError(f"no step {name}")

    def made(self, job):
        assert self.id in (job.id, "0" * 26), "another job for the same key"
        self.id = job.id


class Cases(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.mkdtemp(prefix="sae-test-")
        cls.addClassCleanup(shutil.rmtree, folder)
        cls.daemon = Daemon("--state-dir", folder, "--jobs-min-free-bytes", "0", folder=folder)
        cls.script = script.Client(cls.daemon.unix, timeout=60)

    @classmethod
    def tearDownClass(cls):
        cls.script.socket.close()
        cls.daemon.stop()

    def test_sync(self):
        with sae_client.Client(self.daemon.unix) as client:
            for case in CASES:
                with self.subTest(case["name"]):
                    def call(name, *texts, **options):
                        answer = getattr(client, name)(*texts, **options)
                        return list(answer) if name in STREAMS else answer

                    self.play(case, call)

    def test_asyncio(self):
        with asyncio.Runner() as runner:
            # Jobs need an owner, whom TCP without tokens has not.
            tcp, unix = sae_client.AsyncClient(self.daemon.tcp), sae_client.AsyncClient(self.daemon.unix)
            for case in CASES:
                with self.subTest(case["name"]):
                    client = unix if case["call"] == "job" else tcp

                    async def call(name, *texts, client=client, **options):
                        answer = getattr(client, name)(*texts, **options)
                        return [each async for each in answer] if name in STREAMS else await answer

                    self.play(case, lambda name, *texts, **options: runner.run(call(name, *texts, **options)))
            for each in (tcp, unix):
                runner.run(asyncio.sleep(0, each.close()))

    def play(self, case, call):
        expect = case["expect"]
        try:
            getattr(self, case["call"])(case, expect, call)
            status, limit = "OK", ""
        except SAEError as error:
            status, limit = error.code.name, error.limit
        self.assertEqual((status, limit), (expect["status"], expect.get("limit", "")))

    def embed(self, case, expect, call):
        self.rows(case, expect, call("embed", texts_of(case), timeout=60, want_pieces=True, **options_of(case)))

    def stream(self, case, expect, call):
        parts = call("embed_stream", texts_of(case), want_pieces=True, **options_of(case))
        self.assertEqual(sum(map(len, parts)), expect["rows"])
        if not parts:
            return
        first, errors, truncated = 0, [], []
        for part in parts:
            errors += [dataclasses.replace(error, index=error.index + first) for error in part.errors]
            truncated += [index + first for index in part.truncated]
            first += len(part)
        scales = None if parts[0].scales is None else np.concatenate([part.scales for part in parts])
        self.rows(case, expect, dataclasses.replace(
            parts[0], data=np.concatenate([part.data for part in parts]), errors=errors, truncated=truncated, scales=scales,
            pieces=[count for part in parts for count in part.pieces]))
        self.assertEqual({part.generation for part in parts}, {parts[0].generation})

    def rows(self, case, expect, answer):
        texts = texts_of(case)
        self.assertEqual(len(answer), expect["rows"])
        self.assertEqual(answer.dimensions, expect.get("dimensions", answer.dimensions))
        errors = [[error.index, error.code.name, error.limit] for error in answer.errors]
        self.assertEqual(errors, expect.get("errors", []))
        self.assertEqual(list(answer.truncated), expect.get("truncated", []))
        self.assertEqual(len(answer.pieces), expect["rows"])
        bad = {error.index for error in answer.errors}
        self.assertTrue(all((answer.pieces[row] == 0) or row not in bad for row in range(len(texts))))
        self.assertFalse(answer.data[sorted(bad)].any())
        if case.get("truncate") or case.get("temperature"):
            return  # what the script client cannot ask for; the Swift tests compare these with the engine
        good = [row for row in range(len(texts)) if row not in bad]
        rows = np.frombuffer(self.bits(case, [texts[row] for row in good]), dtype=np.uint8)
        data, scales = answer.data[good], answer.scales[good] if answer.scales is not None else None
        found = data.tobytes() + (scales.tobytes() if scales is not None else b"")
        self.assertEqual(found, rows.tobytes())
        if answer.encoding is Encoding.F32:
            self.assertLess(np.abs(np.linalg.norm(answer.vectors[good], axis=1) - 1).max(), 1e-5)

    def bits(self, case, texts):
        """In requests of at most 1,000 texts."""
        encoding, dimensions = case.get("encoding", "F32"), case.get("dimensions", 0)
        return b"".join(
            self.script.embed(texts[at : at + 1000], encoding, dimensions)[2] for at in range(0, len(texts), 1000))

    def similarity(self, case, expect, call):
        texts = texts_of(case)
        left = [text.encode() for text in case.get("left", [])]
        answer = call("similarity", left, texts) if left else call("similarity", texts)
        self.assertEqual(list(answer.matrix.shape), expect["shape"])
        rows = np.array(self.script.similarity(left + texts, len(left)), dtype=np.float32)
        self.assertEqual(answer.matrix.tobytes(), rows.tobytes())

    def tokenize(self, case, expect, call):
        texts = texts_of(case)
        answer = call("tokenize", texts)
        found = [[row, each.error.code.name, each.error.limit] for row, each in enumerate(answer) if each.error]
        self.assertEqual(found, expect["errors"])
        self.assertEqual(len(answer), expect["rows"])
        for each, other in zip(answer, self.script.tokenize(texts)["texts"], strict=True):
            self.assertEqual(list(each.ids), other.get("ids", []))
            self.assertEqual([base64.b64encode(piece).decode() for piece in each.pieces], other.get("pieces", []))
            self.assertEqual(list(each.spans), list(zip(other.get("begins", []), other.get("ends", []), strict=True)))

    def job(self, case, expect, call):
        run = JobRun(case, call, self.daemon.folder)
        try:
            for step in case["steps"]:
                run.step(step)
        finally:
            if run.last:
                self.assertEqual(
                    (run.last.state.name, run.last.rows_done, run.last.rows_failed),
                    (expect["state"], expect["rows"], expect["failed"]))
            self.assertEqual(run.last is None, "state" not in expect)
            self.assertEqual(run.vectors is None, "fetch" not in case["steps"])
            if run.vectors:
                # A text without a vector is a row of zeros in both.
                rows = call("embed", texts_of(case), timeout=60, **options_of(case)).data.tobytes()
                self.assertEqual(run.vectors[128:], rows)

    def health(self, case, expect, call):
        self.assertIs(call("health", case["service"]), expect["serving"])


if __name__ == "__main__":
    unittest.main()
