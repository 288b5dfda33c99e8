"""What the checks share: a daemon that is watched, a well-behaved client beside, misbehaving peers, and the report."""

import json
import multiprocessing
import os
import pathlib
import re
import resource
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "Tests/Python"), str(ROOT / "proto-spec"), str(ROOT / "Sources/PythonClient/src")]

import client as script  # noqa: E402
import conversations  # noqa: E402
import daemon  # noqa: E402

HELLO = conversations.hello()
TEXTS = [b"A man is playing a guitar on the stage.", b"The stock market fell sharply on Monday.",
         "Shares lost value — 3 % at the start of the week, so 株 and Aktien.".encode(), b"How do I reset my password?"]


class Encryption:
    """TLS of all daemons and clients of a run; `ca` is None where it is off."""

    ca, flags, context = None, [], None

    @classmethod
    def begin(cls, ca, flags=()):
        """`ca`: file of the authority that the clients trust; `flags`: the daemon's. Once a process."""
        cls.ca, cls.flags, cls.context = ca, list(flags), ssl.create_default_context(cafile=ca)
        handler = urllib.request.HTTPSHandler(context=cls.context)
        urllib.request.install_opener(urllib.request.build_opener(handler))


class Daemon(daemon.Daemon):
    """A daemon as an operator runs it: with the waiting limit at its default."""

    def __init__(self, *flags, files=None, is_encrypted=True, **others):
        """`files` is the limit of its descriptors; as many as there may be unless told."""
        def limit():
            resource.setrlimit(resource.RLIMIT_NOFILE, (files, files) if files else resource.getrlimit(resource.RLIMIT_NOFILE))
        encryption = Encryption.flags if is_encrypted else []
        super().__init__("--queue-max-wait-ms", "250", *encryption, *flags, setup=others.pop("setup", limit), **others)

    @property
    def endpoint(self):
        """Where clients go: the Unix socket, or in a run with TLS the port."""
        return self.tcp if Encryption.ca else self.unix

    @property
    def pid(self):
        return self.process.pid

    def _status(self, name):
        """A number of /proc's status; 0 of a daemon that is dead."""
        found = re.search(rf"^{name}:\s+(\d+)", pathlib.Path(f"/proc/{self.pid}/status").read_text(), re.M)
        return int(found[1]) if found else 0

    @property
    def resident(self):
        """Bytes."""
        return self._status("VmRSS") * 1024

    @property
    def peak_resident(self):
        """Bytes."""
        return self._status("VmHWM") * 1024

    @property
    def virtual(self):
        """Bytes of address space."""
        return self._status("VmSize") * 1024

    @property
    def threads(self):
        return self._status("Threads")

    @property
    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    @property
    def processor_seconds(self):
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def is_alive(self):
        # Asks the kernel, and does not wait for the process: its number stays its own.
        return self.resident > 0

    def events(self, name):
        return [event for event in list(self.log) if event.get("event") == name]


class Report:
    """Prints each figure beside its bound, and knows whether all held."""

    def __init__(self):
        self.name, self.failures, self.rows = "", 0, []

    def check(self, what, figure, at_most=None, at_least=None, equal=None, unit=""):
        bounds = [(at_most, "<=", lambda b: figure <= b), (at_least, ">=", lambda b: figure >= b),
                  (equal, "==", lambda b: figure == b)]
        bound, sign, holds = next(entry for entry in bounds if entry[0] is not None)
        good = holds(bound)
        self.failures += not good
        self._print("pass" if good else "FAIL", what, figure, unit, f"(bound: {sign} {_shown(bound)})")

    def note(self, what, figure, unit=""):
        self._print("note", what, figure, unit, "")

    def _print(self, verdict, what, figure, unit, bound):
        print(f"{verdict}  {self.name:<16} {what}: {_shown(figure)}{' ' + unit if unit else ''} {bound}".rstrip(), flush=True)


def _shown(figure):
    return f"{figure:,.3g}" if isinstance(figure, float) and abs(figure) < 1_000 else \
        f"{figure:,.0f}" if isinstance(figure, (int, float)) and not isinstance(figure, bool) else str(figure)


def quantile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")


def connect(endpoint, receive_bytes=None, timeout=10):
    """A connected socket, after the handshake of tls://; retried while a Unix listener's backlog is full."""
    end = time.monotonic() + timeout
    while True:
        is_unix = endpoint.startswith("unix:")
        peer = socket.socket(socket.AF_UNIX if is_unix else socket.AF_INET)
        try:
            if receive_bytes:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
            peer.settimeout(max(0.1, end - time.monotonic()))
            peer.connect(endpoint[5:] if is_unix else (endpoint[6:].rsplit(":", 1)[0], int(endpoint.rsplit(":", 1)[1])))
            is_encrypted = endpoint.startswith("tls:")
            if is_encrypted:
                # Or HELLO waits for the acknowledgement of the handshake's last word.
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return Encryption.context.wrap_socket(peer, server_hostname="127.0.0.1") if is_encrypted else peer
        except BlockingIOError:
            peer.close()
            if time.monotonic() > end:
                raise
            time.sleep(0.002)
        except BaseException:
            peer.close()
            raise


def frame_of(peer):
    """Header fields and payload of the next frame; None at the end."""
    try:
        head = exactly(peer, 28)
        header = script.HEADER.unpack(head)
        return header, exactly(peer, header[5])
    except (EOFError, ConnectionError, ssl.SSLError):
        return None


def rest_of(peer):
    """All that comes until the end, whichever end that is."""
    data = bytearray()
    try:
        while part := peer.recv(65_536):
            data += part
    except (ConnectionError, ssl.SSLError):
        pass
    return bytes(data)


def exactly(peer, count):
    data = bytearray()
    while len(data) < count:
        part = peer.recv(min(262_144, count - len(data)))
        if not part:
            raise EOFError
        data += part
    return bytes(data)


def greeted(endpoint, **options):
    """A connection whose HELLO is answered."""
    peer = connect(endpoint, **options)
    peer.sendall(HELLO)
    answer = frame_of(peer)
    if answer is None or answer[0][1] != 1:
        peer.close()
        raise ConnectionError("no HELLO" if answer is None else str(answer))
    return peer


def bench(endpoint, texts, *flags):
    """The JSON lines of `sae bench`."""
    trust = ["--tls-ca", Encryption.ca] if endpoint.startswith("tls:") else []
    run = subprocess.run([os.environ["TEST_SAE"], "bench", texts, "--connect", endpoint, *trust, *map(str, flags)],
                         stdout=subprocess.PIPE, check=True, timeout=900)
    return [json.loads(line) for line in run.stdout.splitlines()]


def local_vectors(texts, folder, *flags):
    """The rows' bytes as the engine gives them in a process of its own, without the daemon; `flags` of `sae embed`."""
    lines, out = pathlib.Path(folder) / "lines", pathlib.Path(folder) / "local.npy"
    lines.write_bytes(b"\n".join(texts) + b"\n")
    subprocess.run([os.environ["TEST_SAE"], "embed", "--input", str(lines), "--output", str(out), *map(str, flags)],
                   check=True, timeout=120)
    data = out.read_bytes()
    body = data[10 + int.from_bytes(data[8:10], "little"):]
    size = len(body) // len(texts)
    return [body[at:at + size] for at in range(0, len(body), size)]


class Beside:
    """A well-behaved client, in a process of its own, that embeds and asks for liveness and readiness all the time."""

    def __init__(self, target, expected, pause=0.005):
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_beside, args=(target.endpoint, Encryption.ca, target.http, b"".join(expected), pause, theirs), daemon=True)
        self._process.start()
        self._pipe.recv()

    def stop(self):
        """What it saw: `latencies` and `probes` in seconds, `wrong` answers, `refused`, `failed`."""
        self._pipe.send("stop")
        seen = self._pipe.recv() if self._pipe.poll(60) else None
        self._process.join(5)
        return seen or {"latencies": [], "probes": [], "wrong": 0, "refused": 0, "failed": ["it hangs"]}


class _Client(script.Client):
    """The one of proto-spec, also over TLS."""

    @staticmethod
    def connect(endpoint, timeout):
        return connect(endpoint, timeout=timeout)


def _beside(endpoint, ca, http, expected, pause, pipe):
    if ca:
        Encryption.begin(ca)
    seen = {"latencies": [], "probes": [], "wrong": 0, "refused": 0, "failed": []}
    client, next_probe = None, 0.0
    pipe.send("begun")
    while not pipe.poll():
        begin = time.monotonic()
        try:
            client = client or _Client(endpoint, crc=False)
            data = client.embed(TEXTS)[2]
            seen["latencies"].append(time.monotonic() - begin)
            seen["wrong"] += data != expected
        except script.Failure as failure:
            if str(failure).startswith("RESOURCE_EXHAUSTED") and "max_connections" not in str(failure):
                seen["refused"] += 1
            else:
                seen["failed"].append(str(failure))
                client = None
        except OSError as failure:
            seen["failed"].append(repr(failure))
            client = None
        if begin >= next_probe:
            next_probe = begin + 0.1
            for route in ("/livez", "/readyz"):
                begin = time.monotonic()
                try:
                    good = urllib.request.urlopen(http + route, timeout=5).status == 200
                except (OSError, urllib.error.URLError):
                    good = False
                seen["probes"].append(time.monotonic() - begin if good else float("inf"))
        time.sleep(pause)
    pipe.recv()
    pipe.send(seen)


def resident_while(target, threads):
    """Starts the threads; the daemon's resident bytes every 50 ms until all have ended."""
    seen = []
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        seen.append(target.resident)
        time.sleep(0.05)
    return seen
