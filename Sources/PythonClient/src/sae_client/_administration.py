"""What an administrator asks of a daemon."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from ._pool import Pool
from ._portions import MALFORMED
from ._wire import Fields, Message, WireError

RELOAD, DRAIN = 30, 31

#: The longest grace of the protocol, in milliseconds: 49 days.
MAXIMUM_GRACE = 0xFFFF_FFFF


@dataclass(frozen=True)
class ReloadReport:
    """What a reload changed at the daemon. The generations are the same when the model is."""

    generation_before: int
    generation_after: int
    #: Keys of the settings that are in force with a new value.
    changed_settings: Sequence[str]
    #: Keys of the settings that were changed and need a restart.
    settings_for_restart: Sequence[str]


@dataclass(frozen=True)
class DrainReport:
    """What was open at the daemon when it began to drain."""

    streams: int
    connections: int


class AdministrationCalls:
    """The calls of `AsyncClient` that need the role admin: PERMISSION_DENIED is raised without it."""

    _pool: Pool

    async def reload(self, *, timeout: float = 60.0) -> ReloadReport:
        """Makes the daemon read its settings, tokens and model again, and serve by them from one request to the next.

        Needs the role admin. FAILED_PRECONDITION is raised with the reason where that fails; then everything is as it was.
        """
        fields = await self._answer(RELOAD, Fields(), timeout)
        changed, restart = ([key.decode("utf-8", "replace") for key in fields.every(field)] for field in (3, 4))
        return ReloadReport(fields.number(1), fields.number(2), changed, restart)

    async def drain(self, grace: float | None = None, *, timeout: float = 10.0) -> DrainReport:
        """Makes the daemon take leave: it tells its clients to go elsewhere, answers what is under way and then ends.

        Needs the role admin. Repeated, it changes nothing. `grace`: seconds for calls that are under way, to the millisecond,
        at most 49 days; None: what the daemon's settings say.
        """
        # 0 is the wire's word for the settings.
        milliseconds = 0 if grace is None else max(1, int(min(grace * 1_000, MAXIMUM_GRACE)))
        fields = await self._answer(DRAIN, Fields().number(1, milliseconds), timeout)
        return DrainReport(fields.number(1), fields.number(2))

    async def _answer(self, method: int, message: Fields, timeout: float) -> Message:
        try:
            return Message((await self._pool.call(method, message.encoded(), b"", time.monotonic() + timeout)).message)
        except WireError:
            raise MALFORMED from None
