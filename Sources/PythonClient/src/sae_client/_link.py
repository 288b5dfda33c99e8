"""One connection to the daemon, on an asyncio event loop."""

from __future__ import annotations

import asyncio
import ssl as _ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from ._stream import Stream
from ._types import SAEError, Status
from ._wire import (
    ACK,
    CANCEL,
    CREDIT,
    END,
    GOAWAY,
    HELLO,
    LAST,
    MAXIMUM_STREAM,
    MESSAGE,
    PING,
    REQUEST,
    Decoder,
    Frame,
    Message,
    ServerHello,
    WireError,
    client_hello,
    failure,
    frame,
    status,
)

#: Silence with calls open before a PING, and how long its echo may take, in seconds.
PING_AFTER = 30.0
PING_WAIT = 20.0


class Lost(Exception):
    """The connection died under a call: nobody knows how far it came."""


@dataclass(frozen=True)
class Endpoint:
    """`tcp://HOST:PORT`, `tls://HOST:PORT` or `unix:PATH`."""

    host: str = ""
    port: int = 0
    path: str = ""
    is_encrypted: bool = False

    @staticmethod
    def parse(text: str) -> Endpoint:
        if text.startswith("unix:") and len(text) > 5:
            return Endpoint(path=text[5:])
        try:
            parts = urlsplit(text)
            if parts.scheme in ("tcp", "tls") and parts.hostname and parts.port and not parts.path.strip("/"):
                return Endpoint(parts.hostname, parts.port, is_encrypted=parts.scheme == "tls")
        except ValueError:
            pass
        raise ValueError(f"{text!r} is no endpoint: write tcp://HOST:PORT, tls://HOST:PORT or unix:PATH")


def encryption(ca: str | None, certificate: str | None, key: str | None) -> _ssl.SSLContext:
    """TLS 1.3 with a daemon that proves its name by an authority in `ca` (None: one that the system trusts)."""
    context = _ssl.SSLContext(_ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = _ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["sae/1"])
    if ca is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(ca)
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    return context


class Link(asyncio.Protocol):
    """A connection after its handshake: calls out, answers back, in any order."""

    def __init__(self, token: str) -> None:
        self._token = token
        self._loop = asyncio.get_running_loop()
        self._decoder = Decoder()
        self._transport: asyncio.Transport | None = None
        self._calls: dict[int, asyncio.Future[Frame]] = {}
        self._streams: dict[int, Stream] = {}
        self._next_stream = 1
        self._hello: asyncio.Future[ServerHello] = self._loop.create_future()
        self._may_write = asyncio.Event()
        self._may_write.set()
        self._last_heard = time.monotonic()
        self._timer: asyncio.TimerHandle | None = None
        #: No new calls: the daemon goes, or the ids are used up.
        self.is_closing = False
        self.server = ServerHello("", 0, 0, {})
        #: Called when there is room for another call.
        self.on_room: Callable[[], None] = lambda: None

    @staticmethod
    async def connect(endpoint: Endpoint, token: str, ssl: _ssl.SSLContext | None = None) -> Link:
        """Connects and shakes hands; raises OSError, WireError or the SAEError of a GOAWAY."""
        loop = asyncio.get_running_loop()
        link = Link(token)
        if endpoint.path:
            await loop.create_unix_connection(lambda: link, endpoint.path)
        else:
            await loop.create_connection(lambda: link, endpoint.host, endpoint.port, ssl=ssl)
        try:
            link.server = await link._hello
        except BaseException:
            link.close()
            raise
        return link

    @property
    def load(self) -> int:
        return len(self._calls) + len(self._streams)

    def has_room(self, *, streaming: bool) -> bool:
        limits = self.server.limits
        if self.load >= limits.get("limits.max_streams_per_connection", 128):
            return False
        return not streaming or len(self._streams) < limits.get("limits.max_streaming_per_connection", 8)

    def open(self, method: int, message: bytes, *, takes_messages: bool) -> Stream:
        """Begins a streaming call, in which the client sends messages, too, or none."""
        if self.is_closing or self._transport is None:
            raise SAEError(Status.UNAVAILABLE, "the connection closes", is_refused=True)
        number, self._next_stream = self._next_stream, self._next_stream + 2
        self.is_closing = self._next_stream > MAXIMUM_STREAM
        flags = 0 if takes_messages else LAST
        self._transport.write(frame(REQUEST, flags=flags, method=method, stream=number, message=message))
        stream = Stream(number, self.server.initial_window, self._send, lambda: self._forget(number))
        self._streams[number] = stream
        self._watch()
        return stream

    def _send(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _forget(self, number: int) -> None:
        self._streams.pop(number, None)
        self.on_room()
        if self.is_closing and not self.load:
            self.close()

    async def call(self, method: int, message: bytes, attachment: bytes, timeout: float) -> Frame:
        """The answer of one unary call; raises SAEError, or Lost. Giving up tells the daemon."""
        if self.is_closing or self._transport is None:
            raise SAEError(Status.UNAVAILABLE, "the connection closes", is_refused=True)
        stream, self._next_stream = self._next_stream, self._next_stream + 2
        self.is_closing = self._next_stream > MAXIMUM_STREAM
        answer: asyncio.Future[Frame] = self._loop.create_future()
        self._calls[stream] = answer
        self._watch()
        deadline = time.monotonic() + timeout
        try:
            async with asyncio.timeout(timeout):
                await self._may_write.wait()
                if self._transport is None:
                    raise Lost("the daemon closed the connection")
                left = min(max(int((deadline - time.monotonic()) * 1e6), 1), 0xFFFF_FFFF)
                self._transport.write(
                    frame(
                        REQUEST,
                        flags=LAST,
                        method=method,
                        stream=stream,
                        argument=left,
                        message=message,
                        attachment=attachment,
                    )
                )
                return await answer
        except TimeoutError:
            self._cancel(stream)
            raise SAEError(Status.DEADLINE_EXCEEDED, "the deadline has passed") from None
        except asyncio.CancelledError:
            self._cancel(stream)
            raise
        finally:
            del self._calls[stream]
            self.on_room()
            if self.is_closing and not self.load:
                self.close()

    def close(self) -> None:
        self.is_closing = True
        if self._transport is not None:
            self._transport.close()

    def _cancel(self, stream: int) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frame(CANCEL, stream=stream))

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(client_hello(self._token))

    def connection_lost(self, error: Exception | None) -> None:
        self.is_closing = True
        self._transport = None
        self._may_write.set()
        if self._timer:
            self._timer.cancel()
        if isinstance(error, _ssl.SSLError) and "CERTIFICATE" in (error.reason or ""):
            self._fail(SAEError(Status.UNAUTHENTICATED, f"the daemon does not take our certificate: {error.reason}"))
        else:
            self._fail(Lost(str(error) if error else "the daemon closed the connection"))

    def pause_writing(self) -> None:
        self._may_write.clear()

    def resume_writing(self) -> None:
        self._may_write.set()

    def data_received(self, data: bytes) -> None:
        self._last_heard = time.monotonic()
        try:
            for each in self._decoder.feed(data):
                self._take(each)
        except WireError as error:
            self._fail(SAEError(Status.INTERNAL, str(error)))
            self.close()

    def _take(self, each: Frame) -> None:
        if each.type == HELLO:
            if not self._hello.done():
                self._hello.set_result(ServerHello.decode(each.message))
        elif each.type in (MESSAGE, END, CREDIT) and each.stream in self._streams:
            stream = self._streams[each.stream]
            if each.type == MESSAGE:
                stream.arrived(each)
            elif each.type == CREDIT:
                stream.credited(each.argument)
            else:
                stream.ended(failure(each) if each.argument else None)
        elif each.type in (MESSAGE, END):
            answer = self._calls.get(each.stream)
            if answer is None or answer.done():
                return
            if each.type == MESSAGE:
                answer.set_result(each)
            else:
                answer.set_exception(failure(each))
        elif each.type == PING and not each.flags & ACK and self._transport is not None:
            self._transport.write(frame(PING, flags=ACK, attachment=each.attachment))
        elif each.type == GOAWAY:
            self._go_away(each)

    def _go_away(self, each: Frame) -> None:
        fields = Message(each.message)
        self.is_closing = True
        if each.argument:
            self._fail(
                SAEError(status(each.argument), fields.text(2) or "GOAWAY", retry_after=fields.number(3) / 1_000)
            )
            return
        for stream, answer in self._calls.items():
            if stream > fields.number(1) and not answer.done():
                answer.set_exception(SAEError(Status.UNAVAILABLE, "the daemon drains", is_refused=True))
        for number, open_stream in list(self._streams.items()):
            if number > fields.number(1):
                open_stream.ended(SAEError(Status.UNAVAILABLE, "the daemon drains", is_refused=True))
        if not self.load:
            self.close()

    def _fail(self, error: Exception) -> None:
        if not self._hello.done():
            self._hello.set_exception(error)
            self._hello.exception()  # that nobody awaits it any more is no mistake
        for answer in self._calls.values():
            if not answer.done():
                answer.set_exception(error)
        for open_stream in list(self._streams.values()):
            open_stream.ended(error)

    def _watch(self) -> None:
        """Asks a silent daemon whether it lives, while calls are open."""
        if self._timer is None:
            self._timer = self._loop.call_later(PING_AFTER, self._look, False)

    def _look(self, is_pinged: bool) -> None:
        self._timer = None
        if not self.load or self._transport is None:
            return
        silence = time.monotonic() - self._last_heard
        if is_pinged and silence >= PING_WAIT:
            self._fail(Lost("the daemon does not answer"))
            self._transport.abort()
        elif silence >= PING_AFTER:
            self._transport.write(frame(PING, attachment=bytes(8)))
            self._timer = self._loop.call_later(PING_WAIT, self._look, True)
        else:
            self._timer = self._loop.call_later(PING_AFTER - silence, self._look, False)
