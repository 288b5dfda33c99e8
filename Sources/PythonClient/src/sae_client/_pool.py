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
        self._connecting: asyncio.Task[None] | None = None
        #: Unary and streaming calls that wait for a connection with room, in the order in which they came.
        self._waiters: tuple[dict[asyncio.Future[None], None], ...] = ({}, {})
        self._failures = 0
        self._not_before = 0.0
        self._budget = RetryBudget()
        self._is_closed = False

    async def link(self, deadline: float, *, streaming: bool = False) -> Link:
        """The least loaded connection that has room, opened if need be; waits for it until `deadline`."""
        while True:
            if self._is_closed:
                raise SAEError(Status.CANCELLED, "the client is closed")
            self._links = [link for link in self._links if not link.is_closing]
            free = [link for link in self._links if link.has_room(streaming=streaming)]
            best = min(free, key=lambda link: link.load, default=None)
            # Who has a connection does not wait for a further one.
            if (best is None or best.load >= FULL) and len(self._links) < self._size and self._connecting is None:
                self._connecting = asyncio.create_task(self._connect())
            if best is not None:
                return best
            waiter = asyncio.get_running_loop().create_future()
            self._waiters[streaming][waiter] = None
            is_woken = False
            try:
                async with asyncio.timeout(deadline - time.monotonic()):
                    await waiter
                is_woken = True
            except TimeoutError:
                raise SAEError(Status.DEADLINE_EXCEEDED, "no connection within the deadline") from None
            finally:
                del self._waiters[streaming][waiter]
                if not is_woken:
                    self._wake_next()

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
            delay = self.pause(error, attempt)
            if time.monotonic() + delay >= deadline:
                raise error
            await asyncio.sleep(delay)
        raise AssertionError("unreachable")

    def pause(self, error: SAEError, attempt: int) -> float:
        """Seconds until a call is made again of which nothing was done; raises `error` where it is not."""
        self._budget.failed()
        if attempt + 1 == ATTEMPTS or not self._budget.allows:
            raise error
        return retry_delay(error, attempt)

    def close(self) -> None:
        self._is_closed = True
        if self._connecting is not None:
            self._connecting.cancel()
        self._wake()
        for link in self._links:
            link.close()
        self._links = []

    def _wake(self, error: SAEError | None = None) -> None:
        """Lets those who wait look again, or fails them."""
        for waiter in [*self._waiters[False], *self._waiters[True]]:
            if waiter.done():
                continue
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(error)

    def _wake_next(self) -> None:
        """A place is free: the next one of each kind looks again."""
        for waiters in self._waiters:
            if (waiter := next((each for each in waiters if not each.done()), None)) is not None:
                waiter.set_result(None)

    async def _connect(self) -> None:
        """Tries once to connect, not before the pause after a failure is over: 100 ms times 1.6^n up to 10 s, give or take a
        fifth."""
        error: SAEError | None = None
        try:
            await asyncio.sleep(max(0.0, self._not_before - time.monotonic()))
            async with asyncio.timeout(CONNECT_TIMEOUT):
                link = await Link.connect(self._endpoint, self._token, self._encryption)
        except ssl.SSLCertVerificationError as failure:
            error = SAEError(Status.UNAUTHENTICATED, f"the daemon does not prove its name: {failure}")
        except (OSError, WireError, Lost, SAEError) as failure:
            if isinstance(failure, SAEError) and failure.code is not Status.RESOURCE_EXHAUSTED:
                error = failure
            else:
                self._not_before = time.monotonic() + min(10.0, 0.1 * 1.6**self._failures) * random.uniform(0.8, 1.2)
                self._failures += 1
        except ValueError as failure:
            error = SAEError(Status.INVALID_ARGUMENT, f"there is no such place: {failure}")
        else:
            self._failures, self._not_before = 0, 0.0
            link.on_room = self._wake_next
            self._links.append(link)
        finally:
            self._connecting = None
        self._wake(error)
