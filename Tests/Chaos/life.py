"""Deaths, ends and limits of the daemon: kill -9, SIGTERM under load, too little memory, clocks that jump."""

import contextlib
import json
import os
import pathlib
import random
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

import rig
from rig import TEXTS, Beside, Daemon, Encryption, conversations, daemon, frame_of, greeted, resident_while, script

import sae_client

MESSAGE, END, GOAWAY = 3, 4, 8


def kill(run):
    """kill -9 and a new daemon in its place, ten times, under a client of the Python package that knows nothing of it."""
    folder = tempfile.mkdtemp(prefix="sae-chaos-")
    # The next daemon is where the last one was: at the same path, or with TLS at the same port.
    place = ["--listen", f"127.0.0.1:{_free_port()}"] if Encryption.ca else []
    target = Daemon(*place, folder=folder)
    dice, stop, seen, ready = random.Random(1), threading.Event(), {"good": 0, "wrong": 0, "failed": []}, []
    answered, expected = [], b"".join(run.expected)

    def calling():
        with sae_client.Client(target.endpoint, tls_ca=Encryption.ca) as client:
            while not stop.is_set():
                try:
                    data = client.embed(TEXTS).data.tobytes()
                    seen["good" if data == expected else "wrong"] += 1
                    answered.append(time.monotonic())
                except sae_client.SAEError as error:
                    seen["failed"].append(str(error))
    callers = [threading.Thread(target=calling) for _ in range(4)]
    for caller in callers:
        caller.start()
    for _ in range(10):
        time.sleep(dice.uniform(0.2, 0.6))
        target.kill()
        target = Daemon(*place, folder=folder)
        ready.append(time.monotonic())
    time.sleep(1.5)
    stop.set()
    for caller in callers:
        caller.join()
    target.stop()
    shutil.rmtree(folder)
    gaps = [min((moment - at for moment in answered if moment > at), default=float("inf")) for at in ready]
    run.check("calls answered over ten deaths", seen["good"], at_least=100)
    run.check("wrong answers", seen["wrong"], equal=0)
    run.check("failed calls", len(seen["failed"]), equal=0)
    run.check("longest time from ready to an answer", max(gaps), at_most=2.0, unit="s")
    if seen["failed"]:
        run.note("first failure", seen["failed"][0])


def _free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def sigterm(run):
    """SIGTERM, ten times, while connections send calls without a pause: none that was accepted may be lost."""
    sent = answered = refused = lost = broken = 0
    durations = []
    for turn in range(10):
        target = Daemon("--drain-lame-duck-ms", str([0, 300][turn % 2]))
        clients = [_Pusher(target.tcp if n % 2 else target.endpoint) for n in range(8)]
        time.sleep(0.5)
        begin = time.monotonic()
        target.process.terminate()
        for client in clients:
            client.thread.join(20)
        target.process.wait(30)
        durations.append(time.monotonic() - begin)
        broken += target.process.returncode != 0
        target._end()
        for client in clients:
            sent, answered, refused = sent + client.sent, answered + client.answered, refused + client.refused
            lost += client.lost
    run.note("calls sent; answered; refused to be repeated", f"{sent:,}; {answered:,}; {refused:,}")
    run.check("calls answered", answered, at_least=100)
    run.check("accepted calls that were lost", lost, equal=0)
    run.check("exits other than 0", broken, equal=0)
    run.check("longest drain", max(durations), at_most=5.0, unit="s")


class _Pusher:
    """Keeps eight calls in flight until the server says that it ends the connection, and accounts for each of them."""

    def __init__(self, endpoint):
        self.sent = self.answered = self.refused = self.lost = 0
        self.peer = greeted(endpoint)
        self.thread = threading.Thread(target=self._push)
        self.thread.start()

    def _push(self):
        stream, open_streams, last, draining = -1, set(), 2**31 - 1, False
        with self.peer:
            while True:
                while len(open_streams) < 8 and not draining:
                    stream += 2
                    try:
                        self.peer.sendall(conversations.embed(stream, TEXTS * 20))
                    except OSError:
                        draining = True
                        break
                    open_streams.add(stream)
                    self.sent += 1
                frame = frame_of(self.peer)
                if frame is None:
                    break
                header, payload = frame
                if header[1] == MESSAGE:
                    self.answered += 1
                    open_streams.discard(header[4])
                elif header[1] == END:
                    open_streams.discard(header[4])
                    self.refused += bool(header[2] & 4)
                    self.lost += not header[2] & 4
                elif header[1] == GOAWAY:
                    # The first says that it will end, and takes calls still; the second after which it was.
                    last = min(last, int(script.decode("GoAway", payload).get("last_stream_id", 0)))
                    draining = last < 2**31 - 1
                if draining and not open_streams:
                    break
        # What stands above the last stream id may be repeated elsewhere; what is at or below was accepted.
        self.lost += sum(number <= last for number in open_streams)
        self.refused += sum(number > last for number in open_streams)


def peak(run):
    """Large calls from 60 clients and floods of connections, then peace: what they took is given back."""
    with Daemon() as target:
        rig.bench(target.endpoint, run.texts, "--connections", 4, "--batch", 64, "--seconds", 1)
        base, end = target.resident, time.monotonic() + run.seconds
        request = conversations.embed(1, [b"word and " * 110] * 2_000)

        def asking():
            while time.monotonic() < end:
                try:
                    with greeted(target.endpoint) as peer:
                        peer.settimeout(30)
                        peer.sendall(request)
                        frame_of(peer)
                except OSError:
                    pass

        def flooding():
            while time.monotonic() < end:
                peers = []
                try:
                    for _ in range(500):
                        peers.append(greeted(target.tcp))
                except OSError:
                    pass
                for peer in peers:
                    peer.close()
        threads = [threading.Thread(target=asking) for _ in range(60)] + [threading.Thread(target=flooding) for _ in range(4)]
        high = max(resident_while(target, threads))
        run.note("resident memory before", base / 2**20, unit="MiB")
        run.note("at its peak", high / 2**20, unit="MiB")
        begin = time.monotonic()
        while target.resident > base + (16 << 20) and time.monotonic() < begin + 30:
            time.sleep(0.25)
        run.note("given back after", time.monotonic() - begin, unit="s")
        run.check("resident memory more, half a minute after", (target.resident - base) / 2**20, at_most=16.0, unit="MiB")
        run.check("the daemon lives", target.is_alive, equal=True)


def memory(run):
    """Large frames from 60 clients, with an address space that is small and fixed: the daemon refuses, and lives."""
    flags = ["--limits-max-buffer-bytes", str(32 << 20)]
    # The C library otherwise reserves 64 MiB of address space, which it may never use, for each of several threads: with TLS the
    # check then fails now and then.
    variables = {"MALLOC_ARENA_MAX": "1"} if Encryption.ca else {}
    with Daemon(*flags, **variables) as target:
        base = target.virtual
    room = base + (192 << 20)

    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (room, room))
    with Daemon(*flags, setup=limit, **variables) as target:
        rig.bench(target.endpoint, run.texts, "--connections", 4, "--batch", 64, "--seconds", 1)
        resident = target.resident
        beside = Beside(target, run.expected)
        end, outcomes = time.monotonic() + run.seconds, {}
        request = conversations.embed(1, [b"word and " * 110] * 2_000)

        def asking():
            while time.monotonic() < end and target.is_alive:
                try:
                    with greeted(target.endpoint) as peer:
                        peer.settimeout(30)
                        peer.sendall(request)
                        frame = frame_of(peer)
                        kind = "reset" if frame is None else "answered" if frame[0][1] == MESSAGE else \
                            script.STATUS[frame[0][7]]
                except OSError:
                    kind = "reset"
                outcomes[kind] = outcomes.get(kind, 0) + 1
        threads = [threading.Thread(target=asking) for _ in range(60)]
        peaks = resident_while(target, threads)
        seen = beside.stop()
        run.note("calls of 2 MB by outcome", json.dumps(outcomes))
        run.check("the daemon lives within its address space", target.is_alive, equal=True)
        run.check("calls answered or refused in words", outcomes.get("answered", 0) + outcomes.get("RESOURCE_EXHAUSTED", 0),
                  at_least=5)
        run.check("resident memory more, buffers being bound to 32 MiB", (max(peaks) - resident) / 2**20, at_most=128.0,
                  unit="MiB")
        run.check("wrong or failed calls beside", seen["wrong"] + len(seen["failed"]), equal=0)
        if seen["failed"]:
            run.note("first failure", seen["failed"][0])


def clock(run):
    """The wall clock goes a day back, two days on, and a year back, under load (libfaketime; the monotonic clock goes on)."""
    with tempfile.TemporaryDirectory(prefix="sae-chaos-") as folder, _faketime() as variables:
        stamp = pathlib.Path(folder) / "stamp"
        stamp.write_text("+0\n")
        with Daemon(FAKETIME_TIMESTAMP_FILE=str(stamp), FAKETIME_NO_CACHE="1", FAKETIME_DONT_FAKE_MONOTONIC="1",
                    **variables) as target:
            beside = Beside(target, run.expected)
            time.sleep(1)
            for step in ["-1d", "+1d", "-365d"]:
                stamp.write_text(step + "\n")
                time.sleep(1)
            with greeted(target.endpoint) as peer:
                peer.sendall(b"\0" * 28)
                frame_of(peer)
            daemon.eventually(lambda: target.events("protocol_error"))
            years = {event["time"][:4] for event in target.log}
            run.check("years in its log, so the steps were seen", len(years), at_least=2)
            seen = beside.stop()
        run.check("calls answered meanwhile", len(seen["latencies"]), at_least=50)
        run.check("wrong, refused or failed calls", seen["wrong"] + seen["refused"] + len(seen["failed"]), equal=0)
        run.check("longest call", max(seen["latencies"], default=float("inf")) * 1e3, at_most=500.0, unit="ms")
        run.check("longest /livez or /readyz", max(seen["probes"], default=float("inf")) * 1e3, at_most=500.0, unit="ms")


@contextlib.contextmanager
def _faketime():
    """The variables under which a program runs with libfaketime. Without the shared memory that the `faketime` command makes
    the library makes its own, and calls setenv for it, by which the Swift runtime loses the arguments."""
    with subprocess.Popen(["faketime", "-f", "+0", "sh", "-c", "env; exec sleep 600"], stdout=subprocess.PIPE, text=True,
                          start_new_session=True) as helper:
        try:
            found = {}
            while not {"FAKETIME_SHARED", "LD_PRELOAD"} <= set(found):
                name, _, value = helper.stdout.readline().strip().partition("=")
                found[name] = value
            yield {name: found[name].replace("libfaketime.so", "libfaketimeMT.so") for name in ("FAKETIME_SHARED", "LD_PRELOAD")}
        finally:
            os.killpg(helper.pid, signal.SIGTERM)
