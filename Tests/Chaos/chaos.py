"""The fault suite: mistreats real daemons and checks that they keep their promises. See scripts/chaos.sh."""

import argparse
import contextlib
import pathlib
import resource
import sys
import tempfile
import traceback

from rig import TEXTS, Encryption, Report, local_vectors

import encrypted
import hostile
import life
import many
import overload

from certificates import Certificates

CHECKS = {check.__name__: check for check in [
    many.idle, many.slow_readers, many.half_open, many.flood, many.too_many, many.descriptors, hostile.random_bytes,
    hostile.frame_fuzz, hostile.abuse, life.kill, life.sigterm, life.memory, life.peak, life.clock, overload.overload,
    overload.overload_http]}
# With TLS a connection over the limit is closed without a word, and descriptors, clocks and JSON are the same.
ENCRYPTED = {name: check for name, check in CHECKS.items() if name not in ("too_many", "descriptors", "clock", "overload_http")}
ENCRYPTED["cost"] = encrypted.cost


class Run(Report):
    """What a check needs to know beside its report."""

    def __init__(self, options, folder):
        super().__init__()
        self.seconds, self.connections, self.folder = options.seconds, options.connections, folder
        self.expected = local_vectors(TEXTS, folder)
        self.texts = str(pathlib.Path(folder) / "texts")
        pathlib.Path(self.texts).write_bytes(b"\n".join(b"%s %d" % (text, n) for n in range(500) for text in TEXTS))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=10, help="length of each check that lasts (default: 10)")
    parser.add_argument("--connections", type=int, default=10_000, help="idle connections (default: 10,000)")
    parser.add_argument("--tls", action="store_true", help="TLS for frames and HTTP; nobody uses the Unix socket")
    parser.add_argument("checks", nargs="*", help=" ".join(CHECKS) + "; with --tls: " + " ".join(ENCRYPTED))
    options = parser.parse_args()
    checks = ENCRYPTED if options.tls else CHECKS
    unknown = set(options.checks) - set(checks)
    if unknown:
        parser.error(f"no such check{' with --tls' * options.tls}: {' '.join(sorted(unknown))}")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard < options.connections + 1_000:
        parser.error(f"{options.connections} connections need more than the {hard} descriptors allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory(prefix="sae-chaos-") as folder, contextlib.ExitStack() as stack:
        if options.tls:
            files = stack.enter_context(Certificates())
            files.authority("ca")
            files.add("server", "ca", "DNS:localhost,IP:127.0.0.1")
            Encryption.begin(files.path("ca.pem"), ["--tls-cert", files.path("server.pem"), "--tls-key", files.path("server.key")])
        run = Run(options, folder)
        for name in options.checks or checks:
            run.name = name
            try:
                checks[name](run)
            except Exception:
                traceback.print_exc()
                run.check("it ran to its end", False, equal=True)
    print(f"{run.failures} failed" if run.failures else "all passed")
    return 1 if run.failures else 0


if __name__ == "__main__":
    sys.exit(main())
