"""The cases that every client plays (proto-spec/cases.json), with the sync and the asyncio client; bits are those that
proto-spec/client.py gets, which shares no code with either."""

import asyncio
import base64
import json
import unittest

import numpy as np
from daemon import ROOT, Daemon, script

import sae_client
from sae_client import Encoding, SAEError

CASES = json.loads((ROOT / "proto-spec" / "cases.json").read_text(encoding="utf-8"))


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


class Cases(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon()
        cls.script = script.Client(cls.daemon.unix, timeout=60)

    @classmethod
    def tearDownClass(cls):
        cls.script.socket.close()
        cls.daemon.stop()

    def test_sync(self):
        with sae_client.Client(self.daemon.unix) as client:
            for case in CASES:
                with self.subTest(case["name"]):
                    self.play(case, lambda name, *texts, **options: getattr(client, name)(*texts, **options))

    def test_asyncio(self):
        with asyncio.Runner() as runner:
            client = sae_client.AsyncClient(self.daemon.tcp)
            for case in CASES:
                with self.subTest(case["name"]):
                    self.play(
                        case, lambda name, *texts, **options: runner.run(getattr(client, name)(*texts, **options)))
            runner.run(asyncio.sleep(0, client.close()))

    def play(self, case, call):
        expect = case["expect"]
        try:
            getattr(self, case["call"])(case, expect, call)
            status, limit = "OK", ""
        except SAEError as error:
            status, limit = error.code.name, error.limit
        self.assertEqual((status, limit), (expect["status"], expect.get("limit", "")))

    def embed(self, case, expect, call):
        texts = texts_of(case)
        answer = call("embed", texts, timeout=60, want_pieces=True, **options_of(case))
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

    def health(self, case, expect, call):
        self.assertIs(call("health", case["service"]), expect["serving"])


if __name__ == "__main__":
    unittest.main()
