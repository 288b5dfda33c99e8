"""Corpus jobs over restarts of daemons that serve another generation of a rule library."""

import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest
from itertools import pairwise

import numpy as np
from daemon import Daemon, eventually, reference, script
from test_jobs import lines, with_jobs

from sae_client import Client, Encoding, JobSpec, JobState, SAEError, Status


class Generations(unittest.TestCase):
    """A job goes on with the rules of the library that it began with, or fails and says so."""

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="sae-test-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.library = self.folder / "library"
        with Daemon() as daemon, script.Client(daemon.unix) as client:
            pairs = sorted({pair for row in client.tokenize(lines(50))["texts"] for pair in pairwise(row.get("ids", []))})
        rules = "".join(f"%{left} %{right} => add ${number} worth 1\n" for number, (left, right) in enumerate(pairs))
        (self.folder / "rules").write_text(f"phrases {len(pairs)}\n{rules}")
        self.digests = [self.generation(seed, len(pairs)) for seed in range(2)]

    def sae(self, *arguments):
        command = [os.environ["TEST_SAE"], "rules", *map(str, arguments), "--library", str(self.library)]
        return subprocess.run(command, capture_output=True, check=True, text=True, timeout=60).stdout.strip()

    def generation(self, seed, count):
        vectors = np.random.default_rng(seed).standard_normal((count, 256)).astype(np.float32)
        np.save(self.folder / "phrases.npy", vectors)
        return self.sae("import", self.folder / "rules", "--phrases", self.folder / "phrases.npy")

    def daemon(self, *flags):
        return with_jobs(self.folder, "--library", str(self.library), "--jobs-chunk-rows", "64", "--workers", "1", *flags)

    def begun(self, data):
        """A job under the first generation, killed in its midst, and the reference of what it is to become."""
        self.sae("promote", self.digests[0])
        with self.daemon() as daemon, Client(daemon.unix) as client:
            expected = reference(daemon.unix, data.split(b"\n")[:2_000], "INT8")[:2_000 * 256]
            job = client.submit_job(data, JobSpec(encoding=Encoding.INT8))
            self.assertTrue(eventually(lambda: client.job(job.id).rows_done > 0))
            job = client.job(job.id)
            daemon.kill()
        self.assertLess(job.rows_done, 2_000)
        self.sae("promote", self.digests[1])
        return job, expected

    def test_it_goes_on_with_its_generation_when_another_serves(self):
        job, expected = self.begun(b"\n".join(lines(40_000)))
        with self.daemon() as daemon, Client(daemon.unix) as client:
            self.assertNotEqual(client.info().generation, job.generation)
            done = client.wait_for_job(job.id)
            self.assertEqual((done.rows_done, done.generation), (40_000, job.generation))
            client.fetch_job(job.id, "vectors.npy", self.folder / "target")
            events = [event for event in daemon.log if event.get("event") == "job_generation"]
            self.assertEqual([event["job"] for event in events], [job.id])
        rows = np.load(self.folder / "target")
        self.assertEqual(rows[:2_000].tobytes(), expected)
        # The last rows, which only the second daemon has computed, are the first generation's, too.
        self.sae("promote", self.digests[0])
        last = lines(40_000)[-2_000:]
        with self.daemon() as daemon:
            self.assertEqual(rows[-2_000:].tobytes(), reference(daemon.unix, last, "INT8")[:2_000 * 256])
        self.sae("promote", self.digests[1])
        with self.daemon() as daemon:
            self.assertNotEqual(rows[-2_000:].tobytes(), reference(daemon.unix, last, "INT8")[:2_000 * 256])

    def test_prune_keeps_what_a_job_needs(self):
        job, expected = self.begun(b"\n".join(lines(40_000)))
        # Two more promotions: neither serving nor the one before is the job's.
        count = len((self.folder / "rules").read_text().splitlines()) - 1
        self.sae("promote", self.generation(2, count))
        command = [os.environ["TEST_SAE"], "rules", "prune", "--keep", "0", "--library", str(self.library)]
        run = lambda *more: subprocess.run([*command, *map(str, more)], capture_output=True, text=True, timeout=60)
        # A folder that is not there, or a record that cannot be read, may hide a job: nothing goes.
        self.assertEqual(run("--state-dir", self.folder / "nowhere").returncode, 66)
        record = self.folder / "jobs" / job.id / "job.json"
        whole = record.read_bytes()
        record.write_bytes(whole[:100])
        damaged = run("--state-dir", self.folder)
        self.assertEqual(damaged.returncode, 65)
        self.assertRegex(damaged.stderr, f"{job.id}/job.json: not the record of a job.*--no-state-dir")
        record.write_bytes(whole)
        self.assertEqual(run("--no-state-dir", "--dry-run").stdout.split(), [self.digests[0]])
        kept = run("--state-dir", self.folder)
        self.assertEqual((kept.returncode, kept.stdout), (0, ""), kept.stderr)
        self.assertIn(f"{self.digests[0][:12]} stays: {job.id} began with it", kept.stderr)
        with self.daemon() as daemon, Client(daemon.unix) as client:
            self.assertEqual(client.wait_for_job(job.id).generation, job.generation)
            client.fetch_job(job.id, "vectors.npy", self.folder / "target")
        self.assertEqual(np.load(self.folder / "target")[:2_000].tobytes(), expected)
        # The job is done and needs it no longer.
        self.assertEqual(run("--state-dir", self.folder).stdout.split(), [self.digests[0]])

    def test_a_record_whose_digest_is_none_stops_no_daemon(self):
        job, _ = self.begun(b"\n".join(lines(40_000)))
        record = self.folder / "jobs" / job.id / "job.json"
        record.write_text(record.read_text().replace(self.digests[0], "abcd"))
        with self.daemon() as daemon, Client(daemon.unix) as client:
            self.assertTrue(client.wait_for_job(client.submit_job(b"a cat\n").id).generation)
            self.assertEqual([event["job"] for event in daemon.log if event.get("event") == "job_failed"], [job.id])

    def test_it_fails_when_its_generation_is_nowhere_any_more(self):
        job, _ = self.begun(b"\n".join(lines(40_000)))
        shutil.rmtree(self.library)
        self.sae("promote", self.generation(2, len((self.folder / "rules").read_text().splitlines()) - 1))
        with self.daemon() as daemon, Client(daemon.unix) as client:
            with self.assertRaisesRegex(SAEError, f"generation {job.generation:x}.*neither model.path nor model.library.*submit it again") as caught:
                client.wait_for_job(job.id)
            self.assertIs(caught.exception.code, Status.FAILED_PRECONDITION)
            self.assertEqual((client.job(job.id).state, client.job(job.id).files), (JobState.FAILED, []))
            self.assertTrue(client.wait_for_job(client.submit_job(b"a cat\n").id).generation)


if __name__ == "__main__":
    unittest.main()
