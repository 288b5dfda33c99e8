"""What the daemon costs on top of the engine, by processor time and by rate. See scripts/overhead.sh."""

import argparse
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile

from rig import Daemon, Report, bench

ROUNDS = 5


def spent(body):
    """What `body` gives, and the processor seconds of the processes that it ran."""
    def seconds():
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime
    before = seconds()
    return body(), seconds() - before


def engine(texts, threads):
    """The row of the bench in process."""
    command = [os.environ["TEST_SAE"], "bench", str(texts), "--threads", str(threads)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def served(target, texts, batch, connections, seconds):
    """The row of the bench, and processor seconds a request: the daemon's and the client's. Both count the warm-up."""
    def so_far():
        return target.processor_seconds, target.metric('sae_requests_total{method="Embed",transport="unix",code="OK"}')
    before = so_far()
    row, client = spent(lambda: bench(target.endpoint, texts, "--connections", connections, "--batch", batch, "--seconds", seconds)[0])
    daemon, count = (after - earlier for after, earlier in zip(so_far(), before))
    return row, daemon / count, client / count


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("texts", type=pathlib.Path, help="file of texts, one a line")
    parser.add_argument("--seconds", type=float, default=2, help="of each measurement (default: 2)")
    options = parser.parse_args()
    run = Report()
    run.name = "overhead"
    text, busy, one, rates, idle, costs = [], [], [], {1: [], 0: []}, [], {size: [] for size in (1, 64, 256)}
    with tempfile.TemporaryDirectory(prefix="sae-overhead-") as folder:
        texts = pathlib.Path(folder) / "texts"
        texts.write_bytes(b"".join(options.texts.read_bytes().splitlines(keepends=True)[:20_000]))
        cores = os.cpu_count()
        with Daemon() as every, Daemon("--workers", "1") as single:
            for _ in range(ROUNDS):
                alone = engine(texts, 1)
                text.append(alone["processor_us_per_text"])
                full = engine(texts, cores)
                busy.append(full["processor_us_per_text"])
                for size, rows in costs.items():
                    row, daemon, client = served(every, texts, size, 8, options.seconds)
                    rows.append((daemon * 1e6, client * 1e6))
                    if size == 64:
                        rates[0].append(row["texts_per_second"] / full["texts_per_second"])
                row = served(single, texts, 64, 8, options.seconds)[0]
                rates[1].append(row["texts_per_second"] / alone["texts_per_second"])
                row, daemon, client = served(every, texts, 1, 1, options.seconds)
                idle.append(row["p50_us"])
                one.append((daemon * 1e6, client * 1e6))
    median = {size: [statistics.median(row[side] for row in rows) for side in (0, 1)] for size, rows in costs.items()}
    # A text costs more processor time where every core is busy, as daemon and client keep them: two of them are often two threads of one.
    engine_us = statistics.median(busy)
    over = statistics.median(rows[0] - 64 * cost for rows, cost in zip(costs[64], busy))
    slope = (median[256][0] - median[64][0]) / 192
    run.note("load averages", " ".join(f"{load:.1f}" for load in os.getloadavg()))
    run.note("engine alone, processor time a text: on one core; on all of them", f"{statistics.median(text):.2f}; {engine_us:.2f}", "us")
    for size, (daemon, client) in median.items():
        run.note(f"8 connections x {size}: daemon's processor time a request; a text; client's a request",
                 f"{daemon:.1f}; {daemon / size:.2f}; {client:.1f}", "us")
    run.note("1 connection x 1: daemon's processor time a request; client's",
             "; ".join(f"{statistics.median(row[side] for row in one):.1f}" for side in (0, 1)), "us")
    run.check("daemon on top of the engine, a request of 64 texts (15 and 1 a text)", over, at_most=79.0, unit="us")
    run.note("of it a text, by requests of 64 and 256; a request", f"{slope - engine_us:.2f}; {over - 64 * (slope - engine_us):.1f}", "us")
    run.check("engine's processor time by the daemon's, requests of 64", 64 * engine_us / median[64][0], at_least=0.8)
    run.check("rate, 64 a request, one worker by one thread in process", statistics.median(rates[1]), at_least=0.8)
    run.note("rate, 64 a request, all cores by all cores in process; the client is on them, too", statistics.median(rates[0]))
    run.check("p50 of one text through the Unix socket", statistics.median(idle), at_most=100, unit="us")
    print(f"{run.failures} failed" if run.failures else "all passed")
    return 1 if run.failures else 0


if __name__ == "__main__":
    sys.exit(main())
