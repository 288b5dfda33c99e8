"""Promotions under load: connections embed without pause while two generations of a library take turns. See
scripts/promotions.sh."""

import argparse
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time

import numpy

import rig
from rig import TEXTS, Daemon, Report, daemon, script

PIECES, DIMENSIONS = 32_000, 256


def sae(*arguments):
    """What a command prints."""
    return subprocess.run([os.environ["TEST_SAE"], *map(str, arguments)], stdout=subprocess.PIPE, check=True, text=True,
                          timeout=300).stdout.strip()


def new_generation(folder, texts, rule_count, seed):
    """Puts a generation into the library: rules for all neighbours in the texts, and for pairs at random that fill them up. The
    rules of all generations are the same, so that a library shares them; the vectors of their phrases are not. Its digest."""
    dice = random.Random(0)
    pairs = {pair for ids in texts for pair in zip(ids, ids[1:])}
    while len(pairs) < rule_count:
        pairs.add((dice.randrange(PIECES), dice.randrange(PIECES)))
    phrase_count = min(4_096, rule_count)
    rules, phrases = folder / "rules", folder / "phrases.npy"
    with rules.open("w") as file:
        file.write(f"phrases {phrase_count}\n")
        file.writelines(f"%{left} %{right} => add ${number % phrase_count} worth 1\n"
                        for number, (left, right) in enumerate(sorted(pairs)))
    numpy.save(phrases, numpy.random.default_rng(seed).standard_normal((phrase_count, DIMENSIONS)).astype(numpy.float32))
    return sae("rules", "import", rules, "--phrases", phrases, "--library", folder / "library")


def timed(body, *arguments):
    """Seconds that a call takes, the best of three: other work on the machine is no part of it."""
    def once():
        begin = time.monotonic()
        body(*arguments)
        return time.monotonic() - begin
    return min(once() for _ in range(3))


class Library:
    """A library whose generations a daemon is told to take."""

    def __init__(self, folder, count, rule_count):
        self.path = folder / "library"
        with Daemon() as target, script.Client(target.unix) as client:
            texts = [row["ids"] for row in client.tokenize(TEXTS)["texts"]]
            self.plain = target.resident
        self.digests = [new_generation(folder, texts, rule_count, seed) for seed in range(count)]
        sae("rules", "promote", self.digests[0], "--library", self.path)

    def promote(self, target, number):
        """Promotes a generation and has the daemon take it: seconds of the promotion and of the reload."""
        known, begin = len(target.events("reload")), time.monotonic()
        sae("rules", "promote", self.digests[number % len(self.digests)], "--library", self.path)
        between = time.monotonic()
        target.process.send_signal(signal.SIGHUP)
        if not daemon.eventually(lambda: len(target.events("reload")) > known, 60):
            raise AssertionError(f"no reload: {target.log[-1]}")
        return between - begin, time.monotonic() - between


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--promotions", type=int, default=50, help="(default: 50)")
    parser.add_argument("--seconds", type=int, default=50, help="of the load with promotions, and of that without (default: 50)")
    parser.add_argument("--rules", type=int, default=5_000, help="of each generation (default: 5,000)")
    parser.add_argument("--batch", type=int, default=16, help="texts in a request (default: 16)")
    options = parser.parse_args()
    run = Report()
    run.name = "promotions"
    with tempfile.TemporaryDirectory(prefix="sae-chaos-") as folder:
        folder = pathlib.Path(folder)
        lines = folder / "texts"
        # Few requests, so that each generation answers all of them.
        lines.write_bytes(b"\n".join(b"%s %d" % (text, n) for n in range(options.batch * 4) for text in TEXTS))
        library = Library(folder, 2, options.rules)

        def load(target, seconds):
            return rig.bench(target.unix, lines, "--connections", 8, "--batch", options.batch, "--seconds", seconds, "--verify")[0]

        run.check("open a library and list it", timed(sae, "rules", "list", "--library", library.path), at_most=1.0, unit="s")
        run.check("promote a generation, which is read and checked first",
                  timed(sae, "rules", "promote", library.digests[0], "--library", library.path), at_most=2.0, unit="s")
        run.note("library on disk", sum(file.stat().st_size for file in library.path.iterdir()) / 2**20, "MiB")

        with Daemon("--library", str(library.path)) as target:
            vectors = {}
            for number in range(2):
                library.promote(target, number)
                for seen in load(target, 1)["generations"]:
                    vectors[seen["generation"]] = seen["vectors"]
            run.check("generations with vectors of their own", len(set(vectors.values()) - {"incomplete"}), equal=2)
            run.note("resident memory more than without a library", (target.resident - library.plain) / 2**20, "MiB")
            files, resident = target.descriptors, []
            quiet = load(target, options.seconds)
            result, times = {}, []
            # The load warms up for a fifth of its time; promotions begin after that and are to end before it does.
            thread = threading.Thread(target=lambda: result.update(load(target, options.seconds)))
            begin, within = time.monotonic(), 0
            thread.start()
            for number in range(options.promotions):
                due = begin + options.seconds * (0.2 + 0.9 * number / options.promotions)
                time.sleep(max(0, due - time.monotonic()))
                times.append(library.promote(target, number))
                within += thread.is_alive()
                resident.append(target.resident)
            run.check("promotions while the load lasts", within, equal=options.promotions)
            thread.join()
            after = load(target, options.seconds)
            run.check("requests answered", result["requests"], at_least=options.promotions)
            run.check("refused, late or failed", result["refused"] + result["late"] + result["failed"], equal=0)
            run.check("answers that are not wholly of one generation", result["differing"], equal=0)
            seen = {entry["generation"]: entry["vectors"] for entry in result["generations"]}
            run.check("generations seen, and their vectors those of before", sum(seen.get(k) == v for k, v in vectors.items()),
                      equal=2)
            run.check("other generations seen", len(set(seen) - set(vectors)), equal=0)
            for name, row in [("before", quiet), ("with promotions", result), ("after", after)]:
                run.note(f"{name}: texts a second, p50, p99, longest in ms",
                         f"{row['texts_per_second']:,}, {row['p50_us'] / 1e3:.2f}, {row['p99_us'] / 1e3:.2f}, "
                         f"{row['maximum_us'] / 1e3:.1f}")
            run.check("p99 with promotions, as a multiple of the mean of before and after",
                      result["p99_us"] * 2 / (quiet["p99_us"] + after["p99_us"]), at_most=2.0)
            run.note("a promotion, median and longest", ", ".join(
                f"{rig.quantile([t[0] for t in times], share):.2f} s" for share in (0.5, 1)))
            run.note("a reload, median and longest", ", ".join(
                f"{rig.quantile([t[1] for t in times], share):.2f} s" for share in (0.5, 1)))
            run.check("descriptors left over", max(0, target.descriptors - files), equal=0)
            # The first promotions reach what two generations at once take; after those nothing may come on top.
            third = max(1, len(resident) // 3)
            run.check("resident memory, growth after the first third", (max(resident[third:]) / max(resident[:third]) - 1) * 100,
                      at_most=10.0, unit="%")
            run.note("resident memory at the end, and at its peak",
                     f"{target.resident / 2**20:.0f} MiB, {target.peak_resident / 2**20:.0f} MiB")
    print(f"{run.failures} failed" if run.failures else "all passed")
    return 1 if run.failures else 0


if __name__ == "__main__":
    sys.exit(main())
