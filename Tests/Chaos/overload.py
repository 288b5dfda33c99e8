"""Twice the load that the daemon can take."""

import asyncio
import json
import re
import threading
import time
import urllib.request

from rig import Beside, Daemon, bench, conversations, frame_of, greeted, quantile, script

TIMEOUT = 1_000


def overload(run):
    """An open loop at twice the sustainable rate. One worker, so that the load generator has processor time of its own."""
    with Daemon("--workers", "1") as target:
        closed = bench(target.endpoint, run.texts, "--connections", 16, "--batch", 64, "--seconds", 3)[0]
        sustained = closed["texts_per_second"] / 64
        run.note("sustainable, closed loop", sustained, "requests of 64 texts a second")
        base, memory, buffered, pauses, stop = target.resident, [], [], [], threading.Event()
        prober = _Prober(target)
        beside = Beside(target, run.expected, pause=0.02)

        def watching():
            asleep = time.monotonic()
            while not stop.wait(0.25):
                pauses.append(time.monotonic() - asleep - 0.25)
                memory.append(target.resident)
                buffered.append(target.metric("sae_buffer_bytes"))
                asleep = time.monotonic()
        watcher = threading.Thread(target=watching)
        watcher.start()
        seen = bench(target.endpoint, run.texts, "--connections", 16, "--batch", 64, "--seconds", run.seconds, "--timeout", TIMEOUT,
                     "--rate", int(2 * sustained))[0]
        stop.set()
        watcher.join()
        light, probed = beside.stop(), prober.stop()
        run.note("longest time that the machine let this test sleep too long", max(pauses) * 1e3, "ms")
        total = seen["requests"] + seen["refused"] + seen["late"] + seen["failed"]
        run.note("answered; refused; late; failed; unsent",
                 "; ".join(f"{seen[name]:,}" for name in ["requests", "refused", "late", "failed", "unsent"]))
        run.note("answered, of what was sustained", seen["requests"] / run.seconds / sustained * 100, "%")
        run.check("refused", seen["refused"] / total * 100, at_least=10.0, unit="%")
        run.check("failed", seen["failed"], equal=0)
        run.check("accepted and then late", seen["late"], at_most=total // 1_000)
        run.check("p99 of an accepted request", quantile(probed["accepted"], 0.99) * 1e3, at_most=float(TIMEOUT), unit="ms")
        run.check("p99 of a refusal", quantile(probed["refused"], 0.99) * 1e3, at_most=50.0, unit="ms")
        run.check("refusals seen one by one", len(probed["refused"]), at_least=10)
        run.check("refusals that are not REFUSED, a limit and a time in 10 to 1,000 ms", probed["incorrect"], equal=0)
        run.note("generator's own: p99 of a refusal; lag p99",
                 f"{seen['refused_p99_us'] / 1e3:.0f} ms; {seen['lag_p99_us'] / 1e3:.0f} ms")
        run.check("p99 of /livez and /readyz", quantile(light["probes"], 0.99) * 1e3, at_most=100.0, unit="ms")
        run.check("wrong or failed calls of a light client", light["wrong"] + len(light["failed"]), equal=0)
        run.note("resident memory over that time, from then to now", ", ".join(
            f"{size / 2**20:.0f}" for size in memory[::max(1, len(memory) // 10)]), "MiB")
        run.check("resident memory more than before, the buffers' limit being 128 MiB", (max(memory) - base) / 2**20,
                  at_most=160.0, unit="MiB")
        settled = memory[len(memory) // 3:]
        most = memory.index(max(memory))
        run.note("resident; buffered, where most is resident; in the mean",
                 f"{memory[most] / 2**20:.0f}; {buffered[most] / 2**20:.0f}; {sum(buffered) / len(buffered) / 2**20:.1f} MiB")
        spread = (max(settled) / min(settled) - 1) * 100
        if run.seconds >= 120:
            run.check("resident memory, highest over lowest after the first third", spread, at_most=10.0, unit="%")
        else:
            run.note("resident memory, highest over lowest after the first third (checked from 120 s)", spread, "%")


class _Prober:
    """Sends a request now and then on a connection of its own, and keeps how long an answer and a refusal take."""

    def __init__(self, target):
        self._target, self._stop = target, threading.Event()
        self.seen = {"accepted": [], "refused": [], "incorrect": 0}
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self):
        self._stop.set()
        self._thread.join()
        return self.seen

    def _run(self):
        stream = -1
        with greeted(self._target.endpoint) as peer:
            while not self._stop.wait(0.02):
                stream += 2
                request = conversations.embed(stream, [b"A man plays the guitar."] * 64, timeout=TIMEOUT * 1_000)
                begin = time.monotonic()
                peer.sendall(request)
                header, payload = frame_of(peer)
                took = time.monotonic() - begin
                if header[1] == 3:
                    self.seen["accepted"].append(took)
                    continue
                self.seen["refused"].append(took)
                status = script.decode("Status", payload)
                self.seen["incorrect"] += not (
                    script.STATUS[header[7]] == "RESOURCE_EXHAUSTED" and header[2] & 4 and status.get("limit")
                    and 10 <= status.get("retry_after_ms", 0) <= 1_000)


def overload_http(run):
    """More clients at once than a wait of `queue.max_wait_ms` has room for, whose answers as JSON take longer than their vectors."""
    with Daemon("--workers", "1") as target:
        seen = asyncio.run(_ask_all(target.http, 400, run.seconds))
        page = urllib.request.urlopen(target.http + "/metrics", timeout=20).read().decode()
        waited, count = (
            float(re.search(rf"(?m)^sae_queue_duration_seconds_{name} (\S+)$", page)[1]) for name in ["sum", "count"])
        total = sum(len(times) for times in seen.values())
        run.note("answered; refused", f"{len(seen.get(200, [])):,}; {len(seen.get(429, [])):,}")
        run.check("refused", len(seen.get(429, [])) / total * 100, at_least=10.0, unit="%")
        run.check("neither answered nor refused with a time in 10 to 1,000 ms", total - len(seen.get(200, [])) - len(seen.get(429, [])),
                  equal=0)
        run.check("mean wait in the queue by the daemon's own count, its limit being 250 ms", waited / count * 1e3, at_most=400.0,
                  unit="ms")


async def _ask_all(http, connections, seconds):
    """How long answers took, by status; 0: a refusal that does not say when to come again."""
    host, port = http.removeprefix("http://").split(":")
    texts = [f"A man plays the guitar number {n}." for n in range(64)]
    body = json.dumps({"input": texts, "encoding_format": "float"}).encode()
    request = ("POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nx-sae-timeout-ms: 10000\r\n"
               f"content-length: {len(body)}\r\n\r\n").encode() + body
    end, seen = time.monotonic() + seconds, {}

    async def ask():
        reader, writer = await asyncio.open_connection(host, port, limit=1 << 20)
        while time.monotonic() < end:
            begin = time.monotonic()
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            await reader.readexactly(int(re.search(r"\ncontent-length: (\d+)", head)[1]))
            status, pause = int(head.split()[1]), 0
            if status == 429:
                again = re.search(r"\nretry-after-ms: (\d+)", head)
                pause = int(again[1]) if again else 0
                status = 429 if 10 <= pause <= 1_000 else 0
            seen.setdefault(status, []).append(time.monotonic() - begin)
            await asyncio.sleep(pause / 1e3)
        writer.close()
    await asyncio.gather(*(ask() for _ in range(connections)))
    return seen
