"""Many connections: idle, slow, half open, flooding, more than there are descriptors for."""

import statistics
import threading
import time

from rig import Beside, Daemon, Encryption, bench, connect, conversations, daemon, greeted, quantile, rest_of


# Of an idle connection with TLS: what OpenSSL 3.0 itself keeps (7.6 of it the SSL structure, 2.0 the two ciphers).
OPENSSL_BYTES = 14 << 10


def idle(run):
    """10,000 connections that have said HELLO and nothing since."""
    count = run.connections
    with Daemon() as target:
        bench(target.endpoint, run.texts, "--connections", 8, "--batch", 64, "--seconds", 2)
        first = [greeted(target.tcp) for _ in range(50)]
        base, files = target.resident, target.descriptors
        peers = [greeted(target.tcp) for _ in range(count)]
        run.check("connections open", target.descriptors - files, equal=count)
        run.check("resident memory each", (target.resident - base) / count,
                  at_most=10_240.0 + OPENSSL_BYTES * bool(Encryption.ca), unit="bytes")
        run.note("processor time while they idle", _processor_share(target), "% of a core")
        beside = Beside(target, run.expected)
        time.sleep(2)
        seen = beside.stop()
        run.check("wrong or failed calls beside them", seen["wrong"] + len(seen["failed"]), equal=0)
        run.note("p50 of a call beside them", quantile(seen["latencies"], 0.5) * 1e6, "us")
        for peer in first + peers:
            peer.close()
        daemon.eventually(lambda: target.descriptors <= files - 50, 30)
        run.check("descriptors left when they go", target.descriptors, at_most=files - 50)


def slow_readers(run):
    """1,000 clients that have answers due and take a few bytes now and then, beside a fast one."""
    request = b"".join(conversations.embed(1 + 2 * n, [b"x y z"] * 8) for n in range(30))
    with Daemon() as target:
        def rate():
            return bench(target.endpoint, run.texts, "--connections", 1, "--batch", 16, "--seconds", 2)[0]["texts_per_second"]
        rate()
        alone, beside = [], []
        for _ in range(3):
            alone.append(rate())
            peers = [greeted(target.endpoint, receive_bytes=4_096) for _ in range(1_000)]
            for peer in peers:
                peer.sendall(request)
            stop = threading.Event()

            def sip():
                while not stop.wait(1):
                    for peer in peers:
                        peer.recv(16)
            reader = threading.Thread(target=sip)
            reader.start()
            # What they asked for is computed first: this is about answers that wait, not about work.
            daemon.eventually(lambda: target.metric("sae_queue_texts") == 0, 30)
            beside.append(rate())
            waiting = target.metric("sae_buffer_bytes")
            stop.set()
            reader.join()
            for peer in peers:
                peer.close()
            daemon.eventually(lambda: target.descriptors < 200)
        run.note("answers that wait for them in the daemon", waiting, "bytes")
        run.check("a fast client's rate beside them", statistics.median(beside) / statistics.median(alone) * 100,
                  at_least=80.0, unit="% of its rate alone")
        run.note("the same, of the best rounds", max(beside) / max(alone) * 100, "%")


def half_open(run):
    """Peers that never say HELLO, stop in the midst of one, or in the midst of a request, and stay. With TLS also some that
    never begin the handshake, or stop in it: nothing can be told to these."""
    parts = [b"", conversations.hello()[:20], conversations.hello() + conversations.embed(1, [b"a" * 3_000])[:500]]
    mute = [b"", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"] if Encryption.ca else []
    with Daemon("--limits-handshake-timeout-ms", "1500", "--limits-frame-timeout-ms", "1500") as target:
        beside = Beside(target, run.expected)
        daemon.eventually(lambda: target.descriptors > 0)
        time.sleep(0.5)
        files = target.descriptors
        begin = time.monotonic()
        peers = []
        for n in range(600):
            peers.append(connect(target.tcp if n % 2 else target.endpoint))
            peers[-1].sendall(parts[n % 3])
        mutes = [connect("tcp://" + target.tcp[6:]) for _ in range(100 * len(mute))]
        for n, peer in enumerate(mutes):
            peer.sendall(mute[n % 2])
        run.check("seconds until all are gone", _until(lambda: target.descriptors <= files, begin, 10), at_most=5.0)
        said = [rest_of(peer) for peer in peers]
        run.check("of 600 that were told why", sum(b"_timeout" in words for words in said), equal=600)
        _beside_is_well(run, beside.stop())


def flood(run):
    """Connections opened and dropped as fast as four threads can, with and without a HELLO."""
    with Daemon() as target:
        beside = Beside(target, run.expected)
        time.sleep(0.5)
        files, end, counts = target.descriptors, time.monotonic() + run.seconds, [0] * 4

        def opening(index):
            while time.monotonic() < end:
                try:
                    peer = connect(target.tcp if index % 2 else target.endpoint)
                    if index < 2:
                        peer.sendall(conversations.hello())
                    peer.close()
                    counts[index] += 1
                except OSError:
                    time.sleep(0.01)
        threads = [threading.Thread(target=opening, args=(index,)) for index in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        run.note("connections a second", sum(counts) / run.seconds)
        daemon.eventually(lambda: target.descriptors <= files)
        run.check("descriptors left over", max(0, target.descriptors - files), equal=0)
        _beside_is_well(run, beside.stop())


def too_many(run):
    """More connections than the limit: each over it is told so."""
    with Daemon("--max-connections", "300") as target:
        beside = Beside(target, run.expected)
        time.sleep(0.5)
        peers = [connect(target.tcp) for _ in range(600)]
        for peer in peers:
            peer.sendall(conversations.hello())
        said = [peer.recv(65_536) for peer in peers]
        run.check("greeted", sum(words[4:5] == b"\1" for words in said), equal=299)
        run.check("told max_connections", sum(words[4:5] == b"\10" and b"max_connections" in words for words in said), equal=301)
        _beside_is_well(run, beside.stop())


def descriptors(run):
    """A daemon that runs out of descriptors, and then has some again."""
    with Daemon(files=64) as target:
        beside = Beside(target, run.expected)
        time.sleep(1)
        usual = _processor_share(target)
        peers = [connect(target.unix) for _ in range(200)]
        daemon.eventually(lambda: target.descriptors >= 64, 5)
        run.check("descriptors of 64 in use", target.descriptors, at_least=64)
        run.check("processor time more while it cannot accept", _processor_share(target) - usual, at_most=10.0,
                  unit="% of a core")
        for peer in peers:
            peer.close()
        begin = time.monotonic()
        with greeted(target.endpoint):
            run.check("seconds until it accepts again", time.monotonic() - begin, at_most=2.0)
        seen = beside.stop()
        run.check("wrong or failed calls of an open connection", seen["wrong"] + len(seen["failed"]), equal=0)


def _processor_share(target):
    before = target.processor_seconds
    time.sleep(2)
    return (target.processor_seconds - before) / 2 * 100


def _until(condition, begin, seconds):
    daemon.eventually(condition, seconds)
    return time.monotonic() - begin


def _beside_is_well(run, seen):
    run.check("calls answered beside", len(seen["latencies"]), at_least=50)
    run.check("wrong or failed calls beside", seen["wrong"] + len(seen["failed"]), equal=0)
    run.check("p99 of a call beside", quantile(seen["latencies"], 0.99) * 1e3, at_most=100.0, unit="ms")
    if seen["failed"]:
        run.note("first failure", seen["failed"][0])
