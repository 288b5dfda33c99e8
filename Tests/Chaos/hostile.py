"""Bytes that are not the protocol, nearly the protocol, or the protocol used against the daemon."""

import random
import socket
import threading
import time

from rig import HELLO, ROOT, Beside, Daemon, Encryption, connect, conversations, daemon, greeted, quantile, resident_while, script

GOLDEN = [bytes.fromhex(path.read_text()) for path in sorted((ROOT / "proto-spec/vectors").glob("*.hex"))]
ENDS = (OSError, EOFError)


def random_bytes(run):
    """Noise, alone and after a HELLO, on the port for frames and on the one for HTTP."""
    with Daemon() as target:
        _attack(run, target, lambda dice: _noise(target, dice))


def frame_fuzz(run):
    """Golden frames with bytes changed, cut, repeated and put together anew, after a proper HELLO."""
    with Daemon("--limits-frame-timeout-ms", "2000") as target:
        _attack(run, target, lambda dice: _mutant(target, dice))


def abuse(run):
    """Calls opened and cancelled at once (Rapid Reset), floods of PING, large calls broken off."""
    with Daemon() as target:
        _attack(run, target, lambda dice: _abuse(target, dice))
        seen = sum(target.metric(f'sae_protocol_errors_total{{reason="{name}"}}') for name in ["control_flood"])
        run.check("floods of control frames ended", seen, at_least=1.0)


def _noise(target, dice):
    scheme, _, http = target.http.partition("://")
    places = [target.tcp, target.endpoint, {"http": "tcp://", "https": "tls://"}[scheme] + http]
    if Encryption.ca:
        # What is no handshake at all, on both ports.
        places += ["tcp://" + place[len("tls://"):] for place in places]
    where = dice.choice(places)
    with connect(where) as peer:
        if not where.endswith(http) and dice.random() < 0.5:
            peer.sendall(HELLO)
        peer.sendall(dice.choice([b"", b"GET /", b"POST /embed HTTP/1.1\r\nContent-Length: ", b"SAE1", b"\x16\x03\x01"])
                     + dice.randbytes(dice.choice([1, 27, 28, 100, 5_000])))
        _read(peer, dice)


def _mutant(target, dice):
    data = bytearray(b"".join(dice.choices(GOLDEN, k=dice.randint(1, 4))))
    for _ in range(dice.choice([0, 1, 1, 2, 8])):
        at = dice.randrange(len(data))
        kind = dice.randrange(5)
        if kind == 0:
            data[at] ^= 1 << dice.randrange(8)
        elif kind == 1:
            data[at:at + 4] = dice.choice([b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\1\0\0\0"])
        elif kind == 2:
            del data[at:at + dice.randint(1, 40)]
        elif kind == 3:
            data[at:at] = dice.randbytes(dice.randint(1, 40))
        else:
            data += data[at:at + 64]
        data = data or bytearray(1)
    # Over TCP, where nobody may drain or reload: some golden frames, and more of their mutants, ask for just that.
    with connect(target.tcp) as peer:
        if dice.random() < 0.9:
            # Without agreed checksums, so that what is changed goes further than the check of them.
            peer.sendall(HELLO)
        # In pieces, so that frames are met at every state of the reader.
        while data and dice.random() < 0.3:
            size = dice.randint(1, len(data))
            peer.sendall(data[:size])
            del data[:size]
        peer.sendall(data)
        _read(peer, dice)


def _abuse(target, dice):
    with greeted(dice.choice([target.tcp, target.endpoint])) as peer:
        kind = dice.randrange(4)
        if kind == 0:
            peer.sendall(b"".join(conversations.embed(2 * n + 1, [b"x y z"] * 50) + script.frame("CANCEL", stream=2 * n + 1)
                                  for n in range(400)))
        elif kind == 1:
            peer.sendall(script.frame("PING", attachment=b"12345678") * 8_000)
        elif kind == 2:
            peer.sendall(conversations.embed(1, [b"long text " * 300] * 500))
            return
        else:
            peer.sendall(conversations.embed(1, [b"long text " * 300] * 500)[:dice.randint(30, 1_000_000)])
            return
        _read(peer, dice)


def _read(peer, dice):
    """Takes what comes for a moment, or goes at once, or with a reset."""
    manner = dice.random()
    if manner < 0.2:
        return
    if manner < 0.3:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        return
    peer.settimeout(0.05)
    if manner < 0.6:
        peer.shutdown(socket.SHUT_WR)
    while peer.recv(65_536):
        pass


def _attack(run, target, once):
    """Does `once` for the time of a check, from four threads, beside a well-behaved client."""
    time.sleep(0.3)
    files = target.descriptors
    beside = Beside(target, run.expected)
    counts, end = [0] * 4, time.monotonic() + run.seconds

    def attacking(index):
        dice = random.Random(index)
        while time.monotonic() < end and target.is_alive:
            try:
                once(dice)
            except ENDS:
                pass
            counts[index] += 1
    threads = [threading.Thread(target=attacking, args=(index,)) for index in range(4)]
    memory = resident_while(target, threads)
    seen = beside.stop()
    run.note("connections that did so", sum(counts))
    run.check("the daemon lives", target.is_alive, equal=True)
    run.check("wrong or failed calls beside", seen["wrong"] + len(seen["failed"]), equal=0)
    run.check("calls answered beside", len(seen["latencies"]), at_least=20)
    run.check("p99 of a call beside", quantile(seen["latencies"], 0.99) * 1e3, at_most=200.0, unit="ms")
    run.check("resident memory at most", max(memory) / 2**20, at_most=300.0, unit="MiB")
    daemon.eventually(lambda: target.descriptors <= files)
    run.check("descriptors left over", max(0, target.descriptors - files), equal=0)
    daemon.eventually(lambda: target.metric("sae_buffer_bytes") == 0)
    run.check("buffer bytes left over", target.metric("sae_buffer_bytes"), equal=0.0)
    run.check("events of level error", len([event for event in list(target.log) if event.get("level") == "error"]), equal=0)
