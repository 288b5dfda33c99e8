"""Twice the load that the daemon can take."""

import threading
import time

from rig import Beside, Daemon, bench, conversations, frame_of, greeted, quantile, script

TIMEOUT = 1_000


def overload(run):
    """An open loop at twice the sustainable rate. One worker, so that the load generator has processor time of its own."""
    with Daemon("--workers", "1") as target:
        closed = bench(target.endpoint, run.texts, "--connections", 16, "--batch", 64, "--seconds", 3)[0]
        sustained = closed["texts_per_second"] / 64
        run.note("sustainable, closed loop", sustained, "requests of 64 texts a second")
        base, memory, stop = target.resident, [], threading.Event()
        prober = _Prober(target)
        beside = Beside(target, run.expected, pause=0.02)

        def watching():
            while not stop.wait(0.25):
                memory.append(target.resident)
        watcher = threading.Thread(target=watching)
        watcher.start()
        seen = bench(target.endpoint, run.texts, "--connections", 16, "--batch", 64, "--seconds", run.seconds, "--timeout", TIMEOUT,
                     "--rate", int(2 * sustained))[0]
        stop.set()
        watcher.join()
        light, probed = beside.stop(), prober.stop()
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
