"""Corpus jobs by the package, against real daemons: files, restarts, kill -9 at each step of a commit, a disk that is full."""

import asyncio
import concurrent.futures
import contextlib
import hashlib
import io
import json
import os
import pathlib
import resource
import shutil
import subprocess
import tempfile
import threading
import unittest

import numpy as np
from daemon import ROOT, Daemon, eventually, reference

from sae_client import AsyncClient, Client, Encoding, JobSpec, JobState, SAEError, Status


def lines(count):
    """Texts, some of which have no vector."""
    return [b"" if n % 97 == 13 else b"The cat number %d watches the river near house %d." % (n, n * 7919 % 1009) for n in range(count)]


def with_jobs(folder, *flags, **others):
    return Daemon("--state-dir", str(folder), "--jobs-min-free-bytes", "0", *flags, folder=folder, **others)


class Files(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="sae-test-"))
        cls.daemon = with_jobs(cls.folder, "--jobs-chunk-rows", "64")
        cls.client = Client(cls.daemon.unix)

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        cls.daemon.stop()
        shutil.rmtree(cls.folder)

    def fetched(self, job, file):
        target = self.folder / "target"
        self.client.fetch_job(job.id, file, target)
        return target.read_bytes()

    def run_job(self, data, spec=JobSpec()):
        job = self.client.wait_for_job(self.client.submit_job(data, spec).id)
        self.assertIs(job.state, JobState.DONE)
        return job

    def test_array_files_of_each_encoding_are_what_embed_gives(self):
        texts = lines(500)
        for encoding in Encoding:
            job = self.run_job(b"\n".join(texts), JobSpec(encoding=encoding, dimensions=64))
            self.assertEqual((job.rows_done, job.rows_failed), (500, 6))
            array = np.load(io.BytesIO(self.fetched(job, "vectors.npy")))
            expected = reference(self.daemon.unix, texts, encoding.name, 64)
            scales = expected[array.nbytes:]
            self.assertEqual(array.tobytes(), expected[: array.nbytes])
            if encoding is Encoding.INT8:
                self.assertEqual(np.load(io.BytesIO(self.fetched(job, "scales.npy"))).tobytes(), scales)
            errors = [json.loads(line) for line in self.fetched(job, "errors.jsonl").splitlines()]
            self.assertEqual([error["row"] for error in errors], [n for n in range(500) if n % 97 == 13])
            self.assertEqual({error["error"]["code"] for error in errors}, {"INVALID_ARGUMENT"})

    def test_json_lines_in_and_out(self):
        rows = [b'{"id":"a","body":"a cat"}', b'{"body":"a dog","body":"a \\u00fc"}', b"no object", b'{"id":"d","body":7}',
                b'{"text":"other"}', b'{"body":"", "id":"\\"<&"}', b'{"body":"last","more":{"body":"inner"}}']
        job = self.run_job(b"\n".join(rows), JobSpec(text_field="body", json_output=True))
        out = [json.loads(line) for line in self.fetched(job, "rows.jsonl").splitlines()]
        self.assertEqual([row["row"] for row in out], list(range(7)))
        self.assertEqual([row.get("id") for row in out], ["a", None, None, "d", None, '"<&', None])
        self.assertEqual(["error" in row for row in out], [False, False, True, True, True, True, False])
        vectors = np.array([row["embedding"] for row in out if "error" not in row], dtype=np.float32)
        self.assertEqual(vectors.tobytes(), reference(self.daemon.unix, ["a cat", "a ü", "last"]))
        self.assertEqual(job.rows_failed, 4)

    def test_an_empty_input_gives_an_array_without_rows(self):
        job = self.run_job(b"")
        self.assertEqual(np.load(io.BytesIO(self.fetched(job, "vectors.npy"))).shape, (0, 256))

    def test_an_upload_goes_on_with_what_is_on_disk(self):
        data = b"\n".join(lines(300))
        job = self.client.create_job(JobSpec(key="halves"))
        self.assertEqual(self.client.put_job_input(job.id, data[:1_000], 0), 1_000)
        with self.assertRaises(SAEError) as caught:
            self.client.put_job_input(job.id, data, 0)
        self.assertEqual((caught.exception.code, caught.exception.limit_value), (Status.FAILED_PRECONDITION, 1_000))
        self.assertEqual(self.client.job(job.id).input_bytes, 1_000)
        for size, digest in ((len(data), bytes(32)), (1_000, bytes(32))):
            with self.assertRaises(SAEError) as caught:
                self.client.start_job(job.id, size, digest)
            self.assertIs(caught.exception.code, Status.DATA_LOSS)
        done = self.client.wait_for_job(self.client.submit_job(data, JobSpec(key="halves")).id)
        self.assertEqual((done.id, done.rows_done), (job.id, 300))
        # The same once more changes nothing; the same key for something else is refused.
        self.assertEqual(self.client.submit_job(data, JobSpec(key="halves")).id, job.id)
        with self.assertRaises(SAEError) as caught:
            self.client.create_job(JobSpec(key="halves", truncate=True))
        self.assertIs(caught.exception.code, Status.ALREADY_EXISTS)

    def test_a_bad_row_fails_a_job_that_asks_for_it(self):
        job = self.client.submit_job(b"a cat\n\na dog\n", JobSpec(fail_on_error=True))
        with self.assertRaisesRegex(SAEError, "row 1: the text is empty"):
            self.client.wait_for_job(job.id)
        with self.assertRaises(SAEError) as caught:
            self.client.fetch_job(job.id, "vectors.npy", self.folder / "none")
        self.assertIs(caught.exception.code, Status.NOT_FOUND)

    def test_jobs_are_listed_cancelled_and_deleted(self):
        job = self.client.create_job()
        self.assertEqual(self.client.jobs()[0].id, job.id)
        with self.assertRaises(SAEError) as caught:
            self.client.delete_job(job.id)
        self.assertIs(caught.exception.code, Status.FAILED_PRECONDITION)
        self.assertIs(self.client.cancel_job(job.id).state, JobState.CANCELLED)
        self.assertIs(self.client.cancel_job(job.id).state, JobState.CANCELLED)
        self.assertEqual([each.state for each in self.client.watch_job(job.id)], [JobState.CANCELLED])
        self.client.delete_job(job.id)
        for call in (self.client.job, self.client.cancel_job, self.client.delete_job, self.client.wait_for_job):
            with self.assertRaises(SAEError) as caught:
                call(job.id)
            self.assertIs(caught.exception.code, Status.NOT_FOUND)
        self.assertFalse((self.folder / "jobs" / job.id).exists())

    def test_a_running_job_is_cancelled_at_its_next_chunk(self):
        job = self.client.submit_job(b"\n".join(lines(200_000)))
        self.assertTrue(eventually(lambda: self.client.job(job.id).rows_done > 0))
        self.client.cancel_job(job.id)
        with self.assertRaises(SAEError) as caught:
            self.client.wait_for_job(job.id)
        self.assertIs(caught.exception.code, Status.CANCELLED)
        self.assertLess(self.client.job(job.id).rows_done, 200_000)
        self.assertEqual(sorted(path.name for path in (self.folder / "jobs" / job.id).iterdir()), ["input", "job.json"])

    def test_asyncio(self):
        async def main():
            async with AsyncClient(self.daemon.unix) as client:
                jobs = await asyncio.gather(*(client.submit_job(b"text %d\n" % n) for n in range(5)))
                done = await asyncio.gather(*(client.wait_for_job(job.id) for job in jobs))
                self.assertEqual({job.rows_done for job in done}, {1})
                self.assertTrue(await client.health("sae.v1.Jobs"))
        asyncio.run(main())

    def test_limits(self):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="sae-test-"))
        with with_jobs(folder, "--jobs-max-per-owner", "2", "--jobs-max-input-bytes", "1000") as daemon, Client(daemon.unix) as client:
            first = client.create_job()
            client.create_job()
            with self.assertRaises(SAEError) as caught:
                client.create_job()
            self.assertEqual((caught.exception.code, caught.exception.limit), (Status.RESOURCE_EXHAUSTED, "jobs.max_per_owner"))
            with self.assertRaises(SAEError) as caught:
                client.put_job_input(first.id, bytes(1_001), 0)
            self.assertEqual((caught.exception.code, caught.exception.limit), (Status.RESOURCE_EXHAUSTED, "jobs.max_input_bytes"))
            client.cancel_job(first.id)
            before = {job.id for job in client.jobs()}
            with self.assertRaises(SAEError) as caught:
                client.submit_job(bytes(1_001))
            self.assertEqual((caught.exception.code, caught.exception.limit), (Status.RESOURCE_EXHAUSTED, "jobs.max_input_bytes"))
            self.assertEqual({job.id for job in client.jobs()}, before)
        shutil.rmtree(folder)


class Sweeps(unittest.TestCase):
    """Jobs that nobody comes for. Sweeps are as often as jobs.retention_ms, where that is under an hour."""

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="sae-test-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def is_gone(self, client, job):
        with contextlib.suppress(SAEError):
            client.job(job.id)
            return False
        return not (self.folder / "jobs" / job.id).exists()

    def deleted(self, daemon):
        return {event["job"]: event["reason"] for event in daemon.log if event.get("event") == "job_deleted"}

    def test_ended_jobs_go_after_their_retention_and_others_stay(self):
        with with_jobs(self.folder) as daemon, Client(daemon.unix) as client:
            done = client.wait_for_job(client.submit_job(b"a cat\n").id)
            cancelled = client.cancel_job(client.create_job().id)
            waiting = client.create_job()
        with with_jobs(self.folder, "--jobs-retention-ms", "300") as daemon, Client(daemon.unix) as client:
            later = client.wait_for_job(client.submit_job(b"a dog\n").id)
            for job in (done, cancelled, later):
                self.assertTrue(eventually(lambda: self.is_gone(client, job)))
            self.assertEqual([job.id for job in client.jobs()], [waiting.id])
            self.assertTrue(eventually(lambda: set(self.deleted(daemon)) == {done.id, cancelled.id, later.id}))
            self.assertIn("jobs.retention_ms", self.deleted(daemon)[done.id])
            self.assertEqual(daemon.metric('sae_jobs{state="done"}'), 0)
            self.assertEqual(daemon.metric('sae_jobs{state="uploading"}'), 1)
        self.assertEqual([path.name for path in (self.folder / "jobs").iterdir() if path.is_dir()], [waiting.id])

    def test_an_upload_goes_when_nothing_was_added_for_a_day_restarts_included(self):
        def age(job, hours):
            path = self.folder / "jobs" / job.id / "input"
            os.utime(path, (path.stat().st_atime, path.stat().st_mtime - hours * 3_600))
        with with_jobs(self.folder) as daemon, Client(daemon.unix) as client:
            idle, slow, fresh = (client.create_job() for _ in range(3))
            for job in (idle, slow):
                client.put_job_input(job.id, b"a cat\n", 0)
        age(idle, 25)
        age(slow, 23)
        with with_jobs(self.folder, "--jobs-retention-ms", "200") as daemon, Client(daemon.unix) as client:
            self.assertTrue(eventually(lambda: self.is_gone(client, idle)))
            self.assertTrue(eventually(lambda: idle.id in self.deleted(daemon)))
            self.assertIn("24 hours", self.deleted(daemon)[idle.id])
            # Who goes on begins a new day.
            client.put_job_input(slow.id, b"a dog\n", 6)
            age(slow, 23)
            age(fresh, 25)
            self.assertTrue(eventually(lambda: self.is_gone(client, fresh)))
            self.assertEqual([(job.id, job.input_bytes) for job in client.jobs()], [(slow.id, 12)])
            with self.assertRaises(SAEError) as caught:
                client.put_job_input(idle.id, b"a dog\n", 6)
            self.assertIs(caught.exception.code, Status.NOT_FOUND)


class Restarts(unittest.TestCase):
    """What a daemon that dies, kill -9, has told its clients."""

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="sae-test-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def record(self, job):
        return json.loads((self.folder / "jobs" / job.id / "job.json").read_text())

    def test_a_cancellation_that_was_answered_holds(self):
        # One chunk is all of it, and the job looks at a cancellation behind it: the daemon is dead long before.
        with with_jobs(self.folder, "--workers", "1", "--jobs-chunk-rows", "1000000") as daemon, Client(daemon.unix) as client:
            job = client.submit_job(b"\n".join(lines(150_000)))
            self.assertTrue(eventually(lambda: client.job(job.id).state is JobState.RUNNING))
            self.assertIs(client.cancel_job(job.id).state, JobState.RUNNING)
            daemon.kill()
        self.assertEqual(self.record(job)["phase"], JobState.RUNNING)
        with with_jobs(self.folder) as daemon, Client(daemon.unix) as client:
            self.assertIs(client.job(job.id).state, JobState.CANCELLED)
            self.assertEqual([each.state for each in client.watch_job(job.id)], [JobState.CANCELLED])
            self.assertEqual(sorted(path.name for path in (self.folder / "jobs" / job.id).iterdir()), ["input", "job.json"])
            self.assertEqual(daemon.metric('sae_job_rows_total{outcome="ok"}'), 0)

    def test_a_job_taken_up_again_shows_what_is_committed_while_it_waits(self):
        flags = ("--jobs-chunk-rows", "64", "--workers", "1")
        data = b"\n".join(lines(60_000))
        with with_jobs(self.folder, *flags, "--jobs-concurrency", "2") as daemon, Client(daemon.unix) as client:
            jobs = [client.submit_job(data, JobSpec(encoding=Encoding.INT8)) for _ in range(2)]
            self.assertTrue(eventually(lambda: all(client.job(job.id).rows_done >= 640 for job in jobs)))
            told = client.job(jobs[1].id)
            daemon.kill()
        journal = (self.folder / "jobs" / jobs[1].id / "journal").stat().st_size // 80
        with with_jobs(self.folder, *flags) as daemon, Client(daemon.unix) as client:
            waiting = client.job(jobs[1].id)
            self.assertIs(waiting.state, JobState.QUEUED)
            self.assertEqual(waiting.rows_done, 64 * journal)
            self.assertGreaterEqual(waiting.rows_done, told.rows_done)
            self.assertGreaterEqual(waiting.input_done, told.input_done)
            self.assertEqual(waiting.rows_failed, sum(line == b"" for line in lines(64 * journal)))
            # Its partial files go with its cancellation, though it does not run.
            self.assertIs(client.cancel_job(waiting.id).state, JobState.CANCELLED)
            self.assertEqual(sorted(path.name for path in (self.folder / "jobs" / waiting.id).iterdir()), ["input", "job.json"])


class PathInputs(unittest.TestCase):
    """Inputs that are files of the daemon's machine."""

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="sae-test-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.root, self.other = self.folder / "root", self.folder / "other"
        for path in (self.root / "in", self.other):
            path.mkdir(parents=True)
        self.data = b"\n".join(lines(500))
        (self.root / "in" / "texts").write_bytes(self.data)
        (self.folder / "secret").write_bytes(b"secret\n")

    def daemon(self, *flags):
        return with_jobs(self.folder, "--jobs-input-roots", f"{self.other}, {self.root}", "--workers", "1", *flags)

    def vectors(self, client, job):
        client.fetch_job(job.id, "vectors.npy", self.folder / "target")
        return (self.folder / "target").read_bytes()

    def test_the_files_are_those_of_an_upload(self):
        with self.daemon() as daemon, Client(daemon.unix) as client:
            here = client.create_job(JobSpec(key="k", path="in/texts"))
            self.assertIs(here.state, JobState.QUEUED)
            here = client.wait_for_job(here.id)
            there = client.wait_for_job(client.submit_job(self.data).id)
            self.assertEqual((here.rows_done, here.rows_failed, here.input_bytes), (500, 6, len(self.data)))
            self.assertEqual(self.vectors(client, here), self.vectors(client, there))
            client.fetch_job(here.id, "manifest.json", self.folder / "target")
            manifest = json.loads((self.folder / "target").read_bytes())
            self.assertEqual(manifest["input"]["sha256"], hashlib.sha256(self.data).hexdigest())
            # The same key and path is the same job; the bytes are the owner's, and stay.
            self.assertEqual(client.create_job(JobSpec(key="k", path="in/texts")).id, here.id)
            with self.assertRaises(SAEError) as caught:
                client.put_job_input(here.id, b"x", 0)
            self.assertIs(caught.exception.code, Status.FAILED_PRECONDITION)
            client.delete_job(here.id)
        self.assertEqual((self.root / "in" / "texts").read_bytes(), self.data)

    def test_nothing_is_opened_but_regular_files_below_a_root(self):
        (self.root / "link").symlink_to(self.folder / "secret")
        (self.root / "inside").symlink_to(self.root / "in" / "texts")
        (self.root / "out").symlink_to(self.folder)
        os.mkfifo(self.root / "fifo")
        hostile = ["../secret", "in/../../secret", "in/../in/texts", "./in/texts", "in/./texts", "in//texts", "in/texts/", "/in/texts",
                   str(self.folder / "secret"), str(self.root / "in" / "texts"), "/etc/passwd", "/proc/self/environ", "/dev/zero", "link",
                   "inside", "out/secret", "out/root/in/texts", "fifo", "in", ".", "..", "missing", "in/missing", "in/texts/more",
                   "x" * 300, "in/" * 1_000 + "texts"]
        with self.daemon() as daemon, Client(daemon.unix) as client:
            told = set()
            for path in hostile:
                with self.subTest(path=path[:40]), self.assertRaises(SAEError) as caught:
                    client.create_job(JobSpec(path=path))
                told.add((caught.exception.code, caught.exception.message))
            # One answer for all, whether there is something or not.
            self.assertEqual({code for code, _ in told}, {Status.PERMISSION_DENIED})
            self.assertEqual(len(told), 1)
            for path in ("in/texts\0", "x" * 4_097):
                with self.assertRaises(SAEError) as caught:
                    client.create_job(JobSpec(path=path))
                self.assertIs(caught.exception.code, Status.INVALID_ARGUMENT)
            self.assertEqual(client.jobs(), [])
        with with_jobs(self.folder, "--jobs-input-roots", "/proc,/dev") as daemon, Client(daemon.unix) as client:
            for path in ("self/environ", "null", "stdin", "fd/0"):
                with self.assertRaises(SAEError) as caught:
                    client.create_job(JobSpec(path=path))
                self.assertIs(caught.exception.code, Status.PERMISSION_DENIED)
        with with_jobs(self.folder) as daemon, Client(daemon.unix) as client:
            with self.assertRaises(SAEError) as caught:
                client.create_job(JobSpec(path="in/texts"))
            self.assertIs(caught.exception.code, Status.PERMISSION_DENIED)

    def test_a_file_that_changes_fails_its_job(self):
        path = self.root / "big"
        for change in ("longer", "another", "gone", "after a restart"):
            with self.subTest(change):
                path.write_bytes(b"\n".join(lines(40_000)))
                with self.daemon("--jobs-chunk-rows", "64") as daemon, Client(daemon.unix) as client:
                    job = client.create_job(JobSpec(path="big", encoding=Encoding.INT8))
                    self.assertTrue(eventually(lambda: client.job(job.id).rows_done > 0))
                    if change == "after a restart":
                        daemon.kill()
                    elif change == "longer":
                        with path.open("ab") as file:
                            file.write(b"more\n")
                    elif change == "another":
                        (self.root / "new").write_bytes(path.read_bytes())
                        (self.root / "new").rename(path)
                    else:
                        path.unlink()
                    if change != "after a restart":
                        self.assert_failed(client, job, "input")
                if change == "after a restart":
                    os.utime(path, (0, 0))
                    with self.daemon() as daemon, Client(daemon.unix) as client:
                        self.assert_failed(client, job, "the input has changed since the job was made")

    def assert_failed(self, client, job, words):
        with self.assertRaisesRegex(SAEError, words):
            client.wait_for_job(job.id)
        self.assertIs(client.job(job.id).state, JobState.FAILED)
        client.delete_job(job.id)

    def test_the_command_takes_a_path(self):
        with self.daemon() as daemon:
            command = [os.environ["TEST_SAE"], "corpus", "submit", "in/texts", "--remote", "--output", str(self.folder / "out.npy"),
                       "--connect", daemon.unix]
            subprocess.run(command, check=True, capture_output=True, timeout=60)
        self.assertEqual(np.load(self.folder / "out.npy").shape, (500, 256))

    def test_a_relative_root_does_not_start(self):
        command = [os.environ["TEST_SAE"], "serve", "--check-config", "--jobs-input-roots", "corpora"]
        result = subprocess.run(command, capture_output=True, text=True, timeout=60)
        self.assertIn(result.returncode, (64, 78))
        self.assertIn("jobs.input_roots", result.stderr)


class Faults(unittest.TestCase):
    """The steps of a job on the disk, by a library that is loaded before the C library; the program knows nothing of it."""

    @classmethod
    def setUpClass(cls):
        cls.root = pathlib.Path(tempfile.mkdtemp(prefix="sae-test-")).resolve()
        cls.library = cls.root / "fault.so"
        subprocess.run(
            ["cc", "-shared", "-fPIC", "-o", str(cls.library), str(ROOT / "Tests/Chaos/fault.c")], check=True, timeout=60)
        cls.data = b"\n".join(lines(600))
        folder = cls.root / "undisturbed"
        folder.mkdir()
        cls.log = cls.root / "steps"
        with cls.faulty(folder, FAULT_LOG=str(cls.log)) as daemon:
            cls.expected = cls.outcome(daemon, folder)
        cls.steps = cls.log.read_text().split()

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.root)

    @classmethod
    def faulty(cls, folder, *flags, **variables):
        variables = {"FAULT_FOLDER": str(folder / "jobs"), **variables}
        return with_jobs(folder, "--jobs-chunk-rows", "100", *flags, LD_PRELOAD=str(cls.library), **variables)

    @classmethod
    def outcome(cls, daemon, folder):
        """Submits, however often that takes, and fetches."""
        with Client(daemon.unix) as client:
            job = client.wait_for_job(client.submit_job(cls.data, JobSpec(key="k", encoding=Encoding.INT8)).id)
            files = {}
            for file in job.files:
                if file.name != "manifest.json":
                    client.fetch_job(job.id, file.name, folder / file.name)
                    files[file.name] = (folder / file.name).read_bytes()
        return files

    def submit(self, client):
        with contextlib.suppress(SAEError, concurrent.futures.CancelledError):
            client.submit_job(self.data, JobSpec(key="k", encoding=Encoding.INT8))

    def test_there_are_steps(self):
        self.assertGreater(self.steps.count("fdatasync"), 6 * 3)
        self.assertEqual(set(self.expected), {"vectors.npy", "scales.npy", "errors.jsonl"})

    def test_steps_elsewhere_are_none(self):
        folder, log = self.root / "jobs", self.root / "none"
        folder.mkdir()
        with self.faulty(folder, FAULT_FOLDER=str(self.root / "jo"), FAULT_LOG=str(log), FAULT_AT="1", FAULT_KIND="before") as daemon:
            self.assertEqual(self.outcome(daemon, folder), self.expected)
        self.assertFalse(log.exists())

    def test_a_daemon_that_dies_at_any_step_leaves_what_the_next_one_makes_the_same_file_of(self):
        # scripts/chaos-jobs.sh takes every step in each way.
        kinds = ("before", "after", "torn")
        chosen = [(number, kinds[number // 3 % 3]) for number in range(1, len(self.steps) + 1, 3)]
        for number, kind in chosen:
            with self.subTest(step=f"{number} {self.steps[number - 1]}", kind=kind):
                folder = self.root / f"{number}{kind}"
                folder.mkdir()
                target = self.faulty(folder, FAULT_AT=str(number), FAULT_KIND=kind)
                client = Client(target.unix)
                submitting = threading.Thread(target=self.submit, args=(client,))
                submitting.start()
                self.assertTrue(eventually(lambda: target.process.poll() is not None), "the step did not come")
                client.close()
                submitting.join()
                target.kill()
                with with_jobs(folder) as daemon:
                    self.assertEqual(self.outcome(daemon, folder), self.expected)
                shutil.rmtree(folder)

    def test_files_that_may_not_grow_hold_a_job_up_and_no_more(self):
        # A limit of the kernel's, as a quota is; nothing stands between the daemon and it.
        def limit(target, size):
            resource.prlimit(target.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        folder = self.root / "limit"
        folder.mkdir()
        with with_jobs(folder, "--jobs-chunk-rows", "100") as daemon, Client(daemon.unix) as client:
            limit(daemon, 20_000)
            # The input does not fit: refused, and nothing of it counts as safe.
            with self.assertRaisesRegex(SAEError, "the input cannot be written"):
                client.put_job_input(client.create_job(JobSpec(key="input")).id, self.data, 0)
            self.assertEqual(client.jobs()[0].input_bytes, 0)
            limit(daemon, 60_000)
            # It fits, and so do two chunks of vectors of 256 bytes.
            job = client.submit_job(self.data, JobSpec(key="k", encoding=Encoding.INT8))
            self.assertTrue(eventually(lambda: "cannot be written" in client.job(job.id).stall))
            self.assertEqual(client.job(job.id).rows_done, 200)
            self.assertEqual(daemon.metric('sae_job_stalled{reason="disk"}'), 1)
            # Others do not notice.
            self.assertFalse(client.embed([b"a cat"]).errors)
            # It looks again every 10 s, and after a restart at once; what is committed stays so.
            daemon.kill()
            self.assertEqual((folder / "jobs" / job.id / "journal").stat().st_size, 2 * 80)
        with with_jobs(folder) as daemon, Client(daemon.unix) as client:
            self.assertEqual(self.outcome(daemon, folder), self.expected)
            self.assertEqual(daemon.metric('sae_job_rows_total{outcome="error"}') + daemon.metric('sae_job_rows_total{outcome="ok"}'), 400)

    def test_a_disk_that_is_full_for_a_while_holds_a_job_up_and_no_more(self):
        # The first commit is behind the steps that make and start the job.
        first = self.steps.index("fdatasync")
        for kind in ("enospc", "eio"):
            with self.subTest(kind=kind):
                folder = self.root / kind
                folder.mkdir()
                with self.faulty(folder, "--log-level", "debug", FAULT_AT=str(first + 3), FAULT_KIND=kind, FAULT_COUNT="1") as daemon:
                    with Client(daemon.unix) as client:
                        job = client.submit_job(self.data, JobSpec(key="k", encoding=Encoding.INT8))
                        self.assertTrue(eventually(lambda: client.job(job.id).stall != ""))
                        self.assertEqual(daemon.metric('sae_job_stalled{reason="disk"}'), 1)
                    self.assertEqual(self.outcome(daemon, folder), self.expected)
                    self.assertEqual(daemon.metric('sae_job_stalled{reason="disk"}'), 0)


if __name__ == "__main__":
    unittest.main()
