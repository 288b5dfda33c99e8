"""Connections to one daemon, and when a call is tried again."""

from __future__ import annotations

import asyncio
import random
import ssl
import time

from ._link import Endpoint, Link, Lost
from ._types import SAEError, Status
from ._wire import Frame, WireError

#: Calls in flight on the least loaded connection before another one is opened.
FULL = 32
CONNECT_TIMEOUT = 5.0
ATTEMPTS = 3


class RetryBudget:
    """Lets retries add at most a tenth to the load: a failure costs a token, a success gives a tenth of one [gRPC A6]."""

    def __init__(self) -> None:
        self.tokens = 10.0

    @property
    def allows(self) -> bool:
        return self.tokens > 5

    def failed(self) -> None:
        self.tokens = max(0.0, self.tokens - 1)

    def succeeded(self) -> None:
        self.tokens = min(10.0, self.tokens + 0.1)


def retry_delay(error: SAEError | None, attempt: int) -> float:
    """Seconds before attempt `attempt + 1`: what the daemon says, else 50 ms times 2^n up to 1 s; give or take a fifth."""
    wanted = error.retry_after if error is not None else 0.0
    return (wanted or min(1.0, 0.05 * 2**attempt)) * random.uniform(0.8, 1.2)


class Pool:
    def __init__(self, endpoint: Endpoint, token: str, size: int, encryption: ssl.SSLContext | None = None) -> None:
        self._endpoint = endpoint
        self._encryption = encryption
        self._token = token
        self._size = size
        self._links: list[Link] = []
        self._connecting = asyncio.Lock()
        self._failures = 0
        self._not_before = 0.0
        self._budget = RetryBudget()
        self._is_closed = False

    async def link(self, deadline: float) -> Link:
        """The least loaded connection, opened if need be; waits for it until `deadline`."""
        if (link := self._usable()) is not None:
            return link
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                async with self._connecting:
                    return self._usable() or await self._connect()
        except TimeoutError:
            raise SAEError(Status.DEADLINE_EXCEEDED, "no connection within the deadline") from None

    async def call(self, method: int, message: bytes, attachment: bytes, deadline: float) -> Frame:
        """The answer of a call that may be repeated: tried again where nothing was done, and once where the connection
        was lost under it."""
        was_lost = False
        for attempt in range(ATTEMPTS):
            error: SAEError | None = None
            try:
                link = await self.link(deadline)
                answer = await link.call(method, message, attachment, deadline - time.monotonic())
                self._budget.succeeded()
                return answer
            except SAEError as failure:
                failure.follows_loss = was_lost
                if not failure.is_refused or failure.code not in (Status.UNAVAILABLE, Status.RESOURCE_EXHAUSTED):
                    raise
                error = failure
            except Lost as lost:
                error = SAEError(Status.UNAVAILABLE, str(lost))
                if was_lost:
                    raise error from lost
                was_lost = True
            self._budget.failed()
            delay = retry_delay(error, attempt)
            is_last = attempt + 1 == ATTEMPTS or not self._budget.allows
            if is_last or time.monotonic() + delay >= deadline:
                raise error
            await asyncio.sleep(delay)
        raise AssertionError("unreachable")

    def close(self) -> None:
        self._is_closed = True
        for link in self._links:
            link.close()
        self._links = []

    def _usable(self) -> Link | None:
        if self._is_closed:
            raise SAEError(Status.CANCELLED, "the client is closed")
        self._links = [link for link in self._links if not link.is_closing]
        best = min(self._links, key=lambda link: link.load, default=None)
        return best if best is not None and (best.load < FULL or len(self._links) >= self._size) else None

    async def _connect(self) -> Link:
        """Connects, again and again with growing pauses (100 ms times 1.6^n up to 10 s, give or take a fifth)."""
        while True:
            await asyncio.sleep(max(0.0, self._not_before - time.monotonic()))
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT):
                    link = await Link.connect(self._endpoint, self._token, self._encryption)
            except ssl.SSLCertVerificationError as error:
                raise SAEError(Status.UNAUTHENTICATED, f"the daemon does not prove its name: {error}") from None
            except (OSError, WireError, Lost, SAEError) as error:
                if isinstance(error, SAEError) and error.code is not Status.RESOURCE_EXHAUSTED:
                    raise
                pause = min(10.0, 0.1 * 1.6**self._failures) * random.uniform(0.8, 1.2)
                self._failures += 1
                self._not_before = time.monotonic() + pause
                continue
            self._failures = 0
            self._not_before = 0.0
            if self._is_closed:
                link.close()
                raise SAEError(Status.CANCELLED, "the client is closed")
            self._links.append(link)
            return link
