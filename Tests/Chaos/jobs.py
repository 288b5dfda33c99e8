"""A corpus job through kill -9 at random moments and at each step of a commit, and on a disk that fills up. See
scripts/chaos-jobs.sh."""

import argparse
import concurrent.futures
import contextlib
import hashlib
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import rig  # noqa: F401  puts the package and the tests' daemon on the path
from rig import ROOT, Report, daemon

from sae_client import Client, Encoding, JobSpec, SAEError

SPEC = JobSpec(key="chaos", encoding=Encoding.INT8)
KINDS = ("before", "after", "torn")


def texts(count):
    """Lines of words, each with its number; one in 997 has no vector."""
    dice = random.Random(9)
    words = "the a cat dog river old house music seven bridges watches paints server compiler morning paper".split()
    for number in range(count):
        yield b"\n" if number % 997 == 500 else f"{' '.join(dice.choices(words, k=9))} {number}\n".encode()


def start(folder, *flags, **variables):
    return daemon.Daemon("--state-dir", str(folder), "--jobs-min-free-bytes", "0", *flags, folder=folder, **variables)


def faulty(folder, library, *flags, **variables):
    """With the library that counts, and spoils, the steps in the folder of the jobs."""
    return start(folder, *flags, LD_PRELOAD=str(library), FAULT_FOLDER=str(folder / "jobs"), **variables)


def outcome(target, source, folder):
    """Submits the file, or finds the job, waits for it and fetches: each file's name, size and digest."""
    with Client(target.unix) as client:
        job = client.wait_for_job(client.submit_job(source, SPEC).id)
        found = {}
        for file in job.files:
            if file.name != "manifest.json":
                path = folder / "fetched"
                client.fetch_job(job.id, file.name, path)
                with open(path, "rb") as whole:
                    found[file.name] = (path.stat().st_size, hashlib.file_digest(whole, "sha256").hexdigest())
                path.unlink()
        return job, found


@contextlib.contextmanager
def submitting(endpoint, source):
    """Submits beside, and gives up at the end."""
    client = Client(endpoint)

    def submit():
        with contextlib.suppress(SAEError, concurrent.futures.CancelledError):
            client.submit_job(source, SPEC)
    thread = threading.Thread(target=submit)
    thread.start()
    try:
        yield client
    finally:
        client.close()
        thread.join()


def undisturbed(run, source, root):
    folder = root / "undisturbed"
    folder.mkdir()
    begin = time.monotonic()
    target = start(folder)
    job, files = outcome(target, source, folder)
    target.stop()
    run.check("rows of the undisturbed job", job.rows_done, equal=run.rows)
    run.note("it took", time.monotonic() - begin, "s")
    shutil.rmtree(folder)
    return files


def kills(run, source, root, expected):
    """kill -9 at random moments, from the first byte of the upload to the last step."""
    folder = root / "kills"
    folder.mkdir()
    dice, chunks, recovered = random.Random(4), 0, 0
    for number in range(run.kills):
        target = start(folder)
        with submitting(target.unix, source):
            time.sleep(dice.uniform(0.05, run.pause))
            target.kill()
        recovered += sum(event.get("event") == "job_recovered" for event in target.log)
    target = start(folder)
    with Client(target.unix) as client:
        chunks = max((job.rows_done for job in client.jobs()), default=0)
    job, files = outcome(target, source, folder)
    target.stop()
    run.note("rows committed before the last start", chunks)
    run.note("starts that had to cut off what was not committed", recovered)
    run.check(f"files the same after {run.kills} deaths at random moments", files == expected, equal=True)
    run.check("rows", job.rows_done, equal=run.rows)
    shutil.rmtree(folder)


def points(run, library, root):
    """Every step of a small job on the disk, in each of three ways."""
    source = root / "small"
    source.write_bytes(b"".join(texts(600)))
    flags = ("--jobs-chunk-rows", "200")
    folder = root / "counting"
    folder.mkdir()
    log = root / "steps"
    target = faulty(folder, library, *flags, FAULT_LOG=str(log))
    expected = outcome(target, source, folder)[1]
    target.stop()
    steps = log.read_text().split()
    run.note("steps of a job of three chunks on the disk", len(steps))
    same = died = 0
    for number in range(1, len(steps) + 1):
        for kind in KINDS:
            folder = root / "point"
            folder.mkdir()
            target = faulty(folder, library, *flags, FAULT_AT=str(number), FAULT_KIND=kind)
            with submitting(target.unix, source):
                died += daemon.eventually(lambda: target.process.poll() is not None, 30)
            target.kill()
            target = start(folder)
            same += outcome(target, source, folder)[1] == expected
            target.stop()
            shutil.rmtree(folder)
    run.check("deaths", died, equal=3 * len(steps))
    run.check("files the same after a death at each step, in front of it, behind it and half-way", same, equal=3 * len(steps))


def full_disk(run, source, root, expected):
    """A file system that somebody else fills in the midst of the job: it waits, says why, and goes on when there is room."""
    folder = root / "disk"
    folder.mkdir()
    size = source.stat().st_size + run.rows * 270 + (64 << 20)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], stderr=subprocess.DEVNULL)
    if mounted.returncode:
        return run.note("not run: no permission to mount a small file system", "skipped")
    ballast, target = folder / "ballast", None
    try:
        target = start(folder)
        with Client(target.unix) as client:
            job = client.submit_job(source, SPEC)
            daemon.eventually(lambda: client.job(job.id).rows_done > 0, 300)
            with open(ballast, "wb") as file, contextlib.suppress(OSError):
                while True:
                    file.write(bytes(1 << 20))
                    file.flush()
            run.check("the job says that the disk is full",
                      daemon.eventually(lambda: "full" in client.job(job.id).stall, 300), equal=True)
            run.note("rows committed by then", client.job(job.id).rows_done)
            ballast.unlink()
        run.check("files the same once there is room", outcome(target, source, root)[1] == expected, equal=True)
        target.stop()
    finally:
        if target is not None and target.process.poll() is None:
            target.kill()
        subprocess.run(["umount", "-l", str(folder)], check=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("checks", nargs="*", choices=["kills", "steps", "disk", []], help="only these: kills, steps, disk")
    options = parser.parse_args()
    checks = options.checks or ["kills", "steps", "disk"]
    run = Report()
    run.rows, run.kills = options.rows, options.kills
    root = pathlib.Path(tempfile.mkdtemp(prefix="sae-chaos-", dir=os.environ.get("TMPDIR"))).resolve()
    try:
        library = root / "fault.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(ROOT / "Tests/Chaos/fault.c")], check=True)
        if "steps" in checks:
            run.name = "steps"
            points(run, library, root)
        if checks != ["steps"]:
            source = root / "texts"
            with open(source, "wb") as file:
                file.writelines(texts(options.rows))
            run.name = "undisturbed"
            begin = time.monotonic()
            expected = undisturbed(run, source, root)
            run.pause = max(1.0, 1.5 * (time.monotonic() - begin) / options.kills)
        if "kills" in checks:
            run.name = "kills"
            kills(run, source, root, expected)
        if "disk" in checks:
            run.name = "full disk"
            full_disk(run, source, root, expected)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    print(f"{run.failures} failed" if run.failures else "all passed")
    return 1 if run.failures else 0


if __name__ == "__main__":
    sys.exit(main())
