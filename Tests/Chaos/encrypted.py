"""What TLS costs."""

import statistics

from rig import Daemon, bench

ROUNDS = 5


def cost(run):
    """The same load through a port with TLS and through one without, in turn."""
    with Daemon() as encrypted, Daemon(is_encrypted=False) as plain:
        for name, connections, batch in [("one text at a time", 1, 1), ("8 connections, 64 texts a request", 8, 64)]:
            def measured(target):
                return bench(target.tcp, run.texts, "--connections", connections, "--batch", batch, "--seconds", 2)[0]
            pairs = [(measured(encrypted), measured(plain)) for _ in range(ROUNDS)]
            for field, unit in [("p50_us", "us"), ("texts_per_second", "texts a second")]:
                tls, without = (statistics.median(pair[side][field] for pair in pairs) for side in (0, 1))
                run.note(f"{name}: with TLS; without; ratio", f"{tls:,.0f}; {without:,.0f}; {tls / without:.2f}", unit)
            run.check(f"{name}: late, refused or failed", sum(one[kind] for pair in pairs for one in pair
                                                              for kind in ("late", "refused", "failed")), equal=0)
