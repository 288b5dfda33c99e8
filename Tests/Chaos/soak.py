"""A mixed soak: every kind of call, with cancels, disconnects and reloads at random; every vector compared bit for bit with
what the engine gives without the daemon, and memory, descriptors and threads watched. See scripts/soak.sh."""

import argparse
import collections
import random
import resource
import signal
import sys
import tempfile
import threading
import time

from rig import TEXTS, Daemon, Report, conversations, daemon, frame_of, greeted, local_vectors, script

MESSAGE, END, CREDIT, GOAWAY = 3, 4, 6, 8
LINES = [b"%s %d" % (text, n) for n in range(300) for text in TEXTS]


class Client:
    """Does one thing after the other, at random but the same each time for the same seed."""

    def __init__(self, target, vectors, seed, end):
        self.target, self.vectors, self.dice, self.end = target, vectors, random.Random(seed), end
        self.counts, self.wrong, self.failures = collections.Counter(), 0, []
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        while time.monotonic() < self.end:
            try:
                self._connection()
            except Exception as failure:
                self.failures.append(repr(failure))
                time.sleep(0.1)

    def _connection(self):
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
                    call = conversations.stream(stream, [[LINES[i] for i in chosen], [LINES[chosen[0]]]], flags=1)
                    peer.sendall(call)
                    self._embedded(peer, stream, [chosen, chosen[:1]], ends=True)
                    continue
                else:
                    peer.sendall(call)
                self._embedded(peer, stream, [chosen])

    def _embedded(self, peer, stream, expected, ends=False):
        """Reads to the terminal frame of a stream."""
        number = -1
        while True:
            header, payload = frame_of(peer) or (None, b"")
            if header and header[1] == CREDIT:
                continue
            number += 1
            if header is None or header[1] == GOAWAY or header[4] != stream:
                raise AssertionError(f"not the answer: {header}")
            if header[1] == END:
                code = script.STATUS[header[7]]
                self.counts[code] += 1
                if code not in ("OK", "CANCELLED", "RESOURCE_EXHAUSTED"):
                    raise AssertionError(code)
                return
            data = payload[header[6]:]
            good = number < len(expected) and data == b"".join(self.vectors[index] for index in expected[number])
            self.wrong += not good
            self.counts["answered"] += 1
            if not ends or header[2] & 1:
                return


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("minutes", nargs="?", type=float, default=1.0)
    minutes = parser.parse_args().minutes
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    run = Report()
    run.name = "soak"
    with tempfile.TemporaryDirectory(prefix="sae-soak-") as folder, Daemon() as target:
        vectors = local_vectors(LINES, folder)
        begin, dice, samples = time.monotonic(), random.Random(0), []
        files = target.descriptors
        clients = [Client(target, vectors, seed, begin + minutes * 60) for seed in range(8)]
        reloads, next_reload = 0, begin + 1
        while any(client.thread.is_alive() for client in clients):
            time.sleep(0.25)
            samples.append((target.resident, target.descriptors, target.threads))
            if not target.is_alive:
                break
            if time.monotonic() > next_reload:
                target.process.send_signal(signal.SIGHUP)
                reloads, next_reload = reloads + 1, time.monotonic() + dice.uniform(1, 10)
        run.check("the daemon lives", target.is_alive, equal=True)
        counts = sum((client.counts for client in clients), collections.Counter())
        failures = [failure for client in clients for failure in client.failures]
        run.note("minutes", minutes)
        run.note("outcomes", ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items())))
        run.check("answers compared with the vectors of the engine in a process of its own", counts["answered"], at_least=100)
        run.check("answers that differ in a bit", sum(client.wrong for client in clients), equal=0)
        run.check("calls that ended in any other way", len(failures), equal=0)
        if failures:
            run.note("first", failures[0])
        daemon.eventually(lambda: len(target.events("reload")) == reloads, 10)
        run.check(f"reloads that succeeded, of {reloads}", len(target.events("reload")), equal=reloads)
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
    print(f"{run.failures} failed" if run.failures else "all passed")
    return 1 if run.failures else 0


if __name__ == "__main__":
    sys.exit(main())
