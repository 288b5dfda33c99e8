"""Other people's clients, pointed at the daemon: the openai package, langchain-openai's embeddings class, and curl."""

import asyncio
import json
import os
import subprocess
import unittest

import numpy as np
from daemon import Daemon, reference, script

os.environ["LANGSMITH_TRACING"] = "false"

import openai  # noqa: E402
from langchain_openai import OpenAIEmbeddings  # noqa: E402

TEXTS = ["The cat watches the river.", "a dog", "Über die Brücke 🙂", 'quotes " and \\ and \n lines']


class HTTP(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon()
        cls.bits = reference(cls.daemon.unix, TEXTS)
        cls.openai = openai.OpenAI(base_url=cls.daemon.http + "/v1", api_key="none", max_retries=0)

    @classmethod
    def tearDownClass(cls):
        cls.openai.close()
        cls.daemon.stop()

    def floats(self, rows):
        """Rows of decimals as the bytes of float32."""
        return np.array(rows, dtype=np.float64).astype("<f4").tobytes()

    def test_the_openai_package_gets_the_bits(self):
        for options in ({}, {"encoding_format": "float"}):
            answer = self.openai.embeddings.create(model="any", input=TEXTS, **options)
            self.assertEqual(self.floats([each.embedding for each in answer.data]), self.bits)
            self.assertEqual([each.index for each in answer.data], [0, 1, 2, 3])
        one = self.openai.embeddings.create(model="any", input="a dog", dimensions=64)
        self.assertEqual(self.floats([one.data[0].embedding]), reference(self.daemon.unix, ["a dog"], dimensions=64))
        with script.Client(self.daemon.unix) as other:
            pieces = other.tokenize([b"a dog"])["texts"][0]["ids"]
        self.assertEqual((one.usage.prompt_tokens, one.usage.total_tokens), (len(pieces), len(pieces)))

    def test_the_asyncio_form_of_the_openai_package_gets_the_bits(self):
        async def run():
            async with openai.AsyncOpenAI(base_url=self.daemon.http + "/v1", api_key="none") as client:
                answers = await asyncio.gather(
                    *(client.embeddings.create(model="any", input=[text]) for text in TEXTS * 10))
                return [answer.data[0].embedding for answer in answers]

        self.assertEqual(self.floats(asyncio.run(run())), self.bits * 10)

    def test_the_openai_package_lists_the_model(self):
        with script.Client(self.daemon.unix) as other:
            name = other.info()["model"]
        self.assertEqual([model.id for model in self.openai.models.list()], [name])

    def test_the_openai_package_raises_the_right_errors(self):
        for wrong in ([], "", ["a", ""], [1, 2, 3], ["x"] * 2049):
            with self.assertRaises(openai.BadRequestError) as caught:
                self.openai.embeddings.create(model="any", input=wrong)
        self.assertEqual(caught.exception.code, "limits.max_texts_per_request")
        with self.assertRaises(openai.BadRequestError) as caught:
            self.openai.embeddings.create(model="any", input=[[1], [2]])
        self.assertEqual((caught.exception.code, caught.exception.param), ("token_ids_unsupported", "input"))
        with self.assertRaises(openai.NotFoundError):
            self.openai.models.retrieve("nobody")
        with Daemon("--queue-max-texts", "1") as daemon:
            small = openai.OpenAI(base_url=daemon.http + "/v1", api_key="none", max_retries=0)
            with self.assertRaises(openai.RateLimitError) as limited:
                small.embeddings.create(model="any", input=["a", "b"])
            self.assertEqual(limited.exception.code, "queue.max_texts")
            self.assertEqual(limited.exception.response.headers["retry-after"], "1")
            small.close()

    def test_langchain_embeds(self):
        embeddings = OpenAIEmbeddings(
            model="any", base_url=self.daemon.http + "/v1", api_key="none", check_embedding_ctx_length=False)
        self.assertEqual(self.floats(embeddings.embed_documents(TEXTS)), self.bits)
        self.assertEqual(self.floats([embeddings.embed_query("a dog")]), reference(self.daemon.unix, ["a dog"]))
        self.assertEqual(self.floats(asyncio.run(embeddings.aembed_documents(TEXTS))), self.bits)
        # More than one batch of the class, which is 1,000.
        many = [f"text {n}" for n in range(1500)]
        self.assertEqual(self.floats(embeddings.embed_documents(many)), reference(self.daemon.unix, many))

    def curl(self, path, body=None, *options):
        """Status and body of an answer."""
        arguments = ["curl", "-sS", "-w", "\n%{http_code}", *options, self.daemon.http + path]
        if body is not None:
            arguments += ["-H", "content-type: application/json", "--data-binary", "@-"]
        done = subprocess.run(arguments, input=body, capture_output=True, check=True, text=True, timeout=60)
        text, status = done.stdout.rsplit("\n", 1)
        return int(status), text

    def test_curl_gets_vectors_similarities_and_pieces(self):
        status, text = self.curl("/embed", json.dumps({"inputs": TEXTS}))
        self.assertEqual((status, self.floats(json.loads(text))), (200, self.bits))
        with script.Client(self.daemon.unix) as other:
            cosines = other.similarity([each.encode() for each in TEXTS], 1)
            pieces = other.tokenize([each.encode() for each in TEXTS])["texts"]
        sentences = {"source_sentence": TEXTS[0], "sentences": TEXTS[1:]}
        status, text = self.curl("/similarity", json.dumps({"inputs": sentences}))
        self.assertEqual((status, self.floats(json.loads(text))), (200, self.floats(cosines[0])))
        status, text = self.curl("/tokenize", json.dumps({"inputs": TEXTS}))
        found = json.loads(text)
        self.assertEqual(status, 200)
        self.assertEqual([[piece["id"] for piece in row] for row in found], [row["ids"] for row in pieces])
        self.assertEqual([[piece["stop"] for piece in row] for row in found], [row["ends"] for row in pieces])

    def test_curl_sends_a_large_body_and_asks_first(self):
        # Above a megabyte curl waits for 100 Continue.
        texts = ["the cat watches the river " * 700] * 100
        status, text = self.curl("/embed", json.dumps({"inputs": texts}), "--expect100-timeout", "30")
        self.assertEqual((status, self.floats(json.loads(text))), (200, reference(self.daemon.unix, texts[:1]) * 100))
        status, text = self.curl("/embed", json.dumps({"inputs": texts * 3}))
        self.assertEqual(status, 413)
        self.assertIn("http.max_body_bytes", text)

    def test_curl_describes_the_daemon(self):
        self.assertEqual(self.curl("/health"), (200, "ok\n"))
        status, text = self.curl("/info")
        self.assertEqual((status, json.loads(text)["model_type"]), (200, {"embedding": {"pooling": "sae"}}))
        self.assertEqual(self.curl("/v1/embeddings")[0], 405)
        self.assertEqual(self.curl("/nothing")[0], 404)


if __name__ == "__main__":
    unittest.main()
