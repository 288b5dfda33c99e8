"""A mixed soak: Embed, EmbedStream with several chunks in flight, Similarity, Tokenize, Trace, HTTP, watches of health, and jobs, with
cancels, disconnects, reloads and promotions at random. Two generations of a library take turns; every answer is compared bit for bit
with that of the generation which it names, made without the daemon or, for Similarity and Tokenize, by it at rest. Memory,
descriptors and threads are watched. See scripts/soak.sh."""

import argparse
import base64
import collections
import json
import pathlib
import random
import resource
import signal
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

from promotions import Library, sae
from rig import TEXTS, Daemon, Report, conversations, daemon, frame_of, greeted, local_vectors, script

from sae_client import Client as PackageClient
from sae_client import JobSpec, SAEError, Status

MESSAGE, END, CREDIT, GOAWAY = 3, 4, 6, 8
LINES = [b"%s %d" % (text, n) for n in range(300) for text in TEXTS]
#: Methods whose answers at rest are those to expect: number, request, attachment.
FIXED = {
    "Similarity": (3, script.encode("SimilarityRequest", {"lengths": [len(text) for text in TEXTS]}), b"".join(TEXTS)),
    "Tokenize": (4, script.encode("TokenizeRequest", {"lengths": [len(text) for text in TEXTS], "want_spans": True}), b"".join(TEXTS)),
    "Trace": (5, b"", TEXTS[0]),
}


class Expected:
    """What each generation answers, by its id."""

    def __init__(self, target, library, folder):
        self.vectors, self.fixed, self.differing = {}, {}, []
        for number, digest in enumerate(library.digests):
            library.promote(target, number)
            of = ["--library", library.path, "--generation", digest]
            with script.Client(target.unix, crc=False) as client:
                generation = int(client.info()["generation"])
            self.vectors[generation] = local_vectors(LINES, folder, *of)
            with greeted(target.unix) as peer:
                for place, (name, call) in enumerate(FIXED.items()):
                    peer.sendall(fixed_call(2 * place + 1, call))
                    header, payload = frame_of(peer)
                    self.fixed[name, generation] = payload
                    if name == "Trace" and json.loads(payload[header[6]:]) != json.loads(sae("trace", "--json", *of, TEXTS[0].decode())):
                        self.differing.append(f"the trace of {generation:x} is not the local one")


def fixed_call(stream, call):
    method, message, attachment = call
    return script.frame("REQUEST", 1, method, stream, 0, message, attachment)


class Worker:
    """Does one thing after the other until the end; what fails is kept."""

    def __init__(self, target, expected, end):
        self.target, self.expected, self.end = target, expected, end
        self.counts, self.wrong, self.failures, self.generations = collections.Counter(), 0, [], set()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        while time.monotonic() < self.end:
            try:
                self.work()
            except Exception as failure:
                self.failures.append(f"{type(self).__name__}: {failure!r}")
                time.sleep(0.1)

    def compare(self, kind, generation, found, wanted):
        self.counts[f"{kind} answered"] += 1
        self.generations.add(generation)
        self.wrong += found != wanted


class Caller(Worker):
    """Frames, at random but the same each time for the same seed."""

    def __init__(self, *others, seed):
        self.dice = random.Random(seed)
        super().__init__(*others)

    def work(self):
        with greeted(self.dice.choice([self.target.tcp, self.target.unix])) as peer:
            peer.settimeout(20)
            stream = -1
            for _ in range(self.dice.randint(1, 200)):
                if time.monotonic() > self.end:
                    return
                stream += 2
                kind = self.dice.random()
                chosen = self.dice.sample(range(len(LINES)), self.dice.choice([1, 4, 64, 200]))
                call = conversations.embed(stream, [LINES[index] for index in chosen])
                if kind < 0.03:
                    peer.sendall(call[:self.dice.randint(1, len(call))])
                    self.counts["disconnected"] += 1
                    return
                if kind < 0.15:
                    peer.sendall(call + script.frame("CANCEL", stream=stream))
                    self.counts["cancelled"] += 1
                elif kind < 0.25:
                    # Up to nine chunks before the first answer.
                    cuts = sorted(self.dice.sample(range(1, 200), self.dice.randint(0, 8)))
                    chunks = [part for part in (chosen[a:b] for a, b in zip([0, *cuts], [*cuts, 200])) if part]
                    peer.sendall(conversations.stream(stream, [[LINES[i] for i in chunk] for chunk in chunks], flags=1))
                    self._embedded(peer, stream, chunks, is_stream=True)
                    continue
                elif kind < 0.40:
                    self._fixed(peer, stream, self.dice.choice(list(FIXED)))
                    continue
                else:
                    peer.sendall(call)
                self._embedded(peer, stream, [chosen])

    def _fixed(self, peer, stream, name):
        peer.sendall(fixed_call(stream, FIXED[name]))
        header, payload = self._answer(peer, stream)
        if header[1] == MESSAGE:
            message = script.decode(f"{name}Response", payload[:header[6]])
            generation = int(message["generation"])
            self.compare(name, generation, payload, self.expected.fixed.get((name, generation)))

    def _answer(self, peer, stream, is_stream=False):
        """The next frame of a stream that is no CREDIT."""
        while True:
            header, payload = frame_of(peer) or (None, b"")
            if header is None or header[1] == GOAWAY or header[4] != stream:
                raise AssertionError(f"not the answer: {header}")
            if header[1] == CREDIT:
                continue
            if header[1] == END:
                code = script.STATUS[header[7]]
                self.counts[code] += 1
                # A stream may outlive its generation: three reloads.
                if code not in ("OK", "CANCELLED", "RESOURCE_EXHAUSTED") and not (is_stream and code == "ABORTED"):
                    raise AssertionError(code)
            return header, payload

    def _embedded(self, peer, stream, expected, is_stream=False):
        """Reads to the terminal frame of a call of Embed or EmbedStream, which one generation answers."""
        named = set()
        for number in range(len(expected) + 1):
            header, payload = self._answer(peer, stream, is_stream)
            if header[1] == END:
                if is_stream and header[7] == 0 and number != len(expected):
                    raise AssertionError(f"{number} answers for {len(expected)} chunks")
                return
            generation = int(script.decode("EmbedResponse", payload[:header[6]])["generation"])
            named.add(generation)
            if number == len(expected) or len(named) > 1 or generation not in self.expected.vectors:
                raise AssertionError(f"an answer too many, or of another generation: {named}")
            rows = b"".join(self.expected.vectors[generation][index] for index in expected[number])
            self.compare("EmbedStream" if is_stream else "Embed", generation, payload[header[6]:], rows)
            if not is_stream or header[2] & 1:
                return


class Browser(Worker):
    """HTTP: the answers name no generation, and are of one."""

    dice = random.Random(1)

    def work(self):
        chosen = self.dice.sample(range(len(LINES)), 8)
        body = json.dumps({"input": [LINES[index].decode() for index in chosen], "model": "sae", "encoding_format": "base64"})
        request = urllib.request.Request(
            f"{self.target.http}/v1/embeddings", body.encode(), {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                rows = b"".join(base64.b64decode(row["embedding"]) for row in json.load(answer)["data"])
        except urllib.error.HTTPError as error:
            error.close()
            if error.code != 429:
                raise
            self.counts["RESOURCE_EXHAUSTED"] += 1
            return
        wanted = [b"".join(vectors[index] for index in chosen) for vectors in self.expected.vectors.values()]
        self.counts["HTTP answered"] += 1
        self.wrong += rows not in wanted


class Watcher(Worker):
    """Watches the health for a while, in which it does not change."""

    dice = random.Random(2)

    def work(self):
        with greeted(self.target.unix) as peer:
            peer.sendall(script.frame("REQUEST", 1, 11, 1, 0, script.encode("HealthCheckRequest", {})))
            _, payload = frame_of(peer)
            if script.decode("HealthCheckResponse", payload).get("status") != "SERVING":
                raise AssertionError("it does not serve")
            peer.settimeout(self.dice.uniform(0.1, 3))
            try:
                raise AssertionError(f"another word of a daemon that serves: {frame_of(peer)}")
            except TimeoutError:
                self.counts["watches"] += 1


class Submitter(Worker):
    """Jobs, each of the generation that served when it was made."""

    def work(self):
        target = pathlib.Path(self.target.folder) / "fetched.npy"
        with PackageClient(self.target.unix) as client:
            try:
                job = client.wait_for_job(client.submit_job(b"\n".join(LINES) + b"\n", JobSpec()).id)
            except SAEError as error:
                if error.code is not Status.RESOURCE_EXHAUSTED:
                    raise
                self.counts["RESOURCE_EXHAUSTED"] += 1
                return
            client.fetch_job(job.id, "vectors.npy", target)
            self.compare("job", job.generation, target.read_bytes()[128:], b"".join(self.expected.vectors[job.generation]))
            client.delete_job(job.id)


class Streamer(Worker):
    """The Python client's streams."""

    def work(self):
        with PackageClient(self.target.tcp) as client:
            first = 0
            try:
                for part in client.embed_stream(LINES):
                    wanted = b"".join(self.expected.vectors[part.generation][first : first + len(part)])
                    self.compare("embed_stream", part.generation, part.data.tobytes(), wanted)
                    first += len(part)
            except SAEError as error:
                if error.code not in (Status.RESOURCE_EXHAUSTED, Status.ABORTED):
                    raise
                self.counts[error.code.name] += 1
                return
            if first != len(LINES):
                raise AssertionError(f"{first} vectors for {len(LINES)} texts")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("minutes", nargs="?", type=float, default=1.0)
    minutes = parser.parse_args().minutes
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    run = Report()
    run.name = "soak"
    with tempfile.TemporaryDirectory(prefix="sae-soak-") as name:
        folder = pathlib.Path(name)
        library = Library(folder, 2, 2_000)
        with Daemon("--library", str(library.path), "--state-dir", name, "--jobs-min-free-bytes", "0") as target:
            soak(run, target, library, folder, minutes)
    print(f"{run.failures} failed" if run.failures else "all passed")
    return 1 if run.failures else 0


def soak(run, target, library, folder, minutes):
    expected = Expected(target, library, folder)
    run.check("generations with vectors of their own", len({b"".join(rows) for rows in expected.vectors.values()}), equal=2)
    run.check("traces at rest that are not the local ones", len(expected.differing), equal=0)
    begin, dice, samples = time.monotonic(), random.Random(0), []
    files, known = target.descriptors, len(target.events("reload"))
    others = (target, expected, begin + minutes * 60)
    workers = [Caller(*others, seed=seed) for seed in range(8)]
    workers += [kind(*others) for kind in (Browser, Watcher, Submitter, Streamer)]
    reloads, promotions, next_reload = 0, 0, begin + 1
    while any(worker.thread.is_alive() for worker in workers):
        time.sleep(0.25)
        samples.append((target.resident, target.descriptors, target.threads))
        if not target.is_alive:
            break
        if time.monotonic() > next_reload:
            if dice.random() < 0.5:
                promotions += 1
                library.promote(target, promotions)
            else:
                target.process.send_signal(signal.SIGHUP)
                daemon.eventually(lambda: len(target.events("reload")) > known + reloads, 60)
            reloads, next_reload = reloads + 1, time.monotonic() + dice.uniform(1, 10)
    run.check("the daemon lives", target.is_alive, equal=True)
    counts = sum((worker.counts for worker in workers), collections.Counter())
    failures = [failure for worker in workers for failure in worker.failures]
    run.note("minutes", minutes)
    run.note("outcomes", ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items())))
    for kind in ("Embed", "EmbedStream", *FIXED, "HTTP", "job", "embed_stream"):
        run.check(f"answers of {kind} compared", counts[f"{kind} answered"], at_least=1 if kind == "job" else 10)
    run.check("watches", counts["watches"], at_least=1)
    run.check("answers that differ in a bit", sum(worker.wrong for worker in workers), equal=0)
    run.check("generations named", len(set().union(*(worker.generations for worker in workers))), equal=2)
    run.check("calls that ended in any other way", len(failures), equal=0)
    if failures:
        run.note("first", failures[0])
    run.note("promotions", promotions)
    run.check(f"reloads that succeeded, of {reloads}", len(target.events("reload")) - known, equal=reloads)
    half = samples[len(samples) // 2:]
    third = max(1, len(half) // 3)
    growth = (max(size for size, _, _ in half[-third:]) / max(size for size, _, _ in half[:third]) - 1) * 100
    run.check("resident memory, growth within the second half", growth, at_most=10.0, unit="%")
    run.note("resident memory at the end", half[-1][0] / 2**20, "MiB")
    run.check("threads, growth within the second half", half[-1][2] - half[0][2], at_most=1)
    daemon.eventually(lambda: target.descriptors <= files)
    run.check("descriptors left over", max(0, target.descriptors - files), equal=0)
    daemon.eventually(lambda: target.metric("sae_buffer_bytes") == 0)
    run.check("buffer bytes left over", target.metric("sae_buffer_bytes"), equal=0.0)


if __name__ == "__main__":
    sys.exit(main())
