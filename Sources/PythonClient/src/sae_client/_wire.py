"""Frames and protobuf of the protocol (proto-spec/README.md), without any I/O."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ._types import RowError, SAEError, Status

HEADER: Final = struct.Struct("<4sBBHIIIII")
HELLO, REQUEST, MESSAGE, END, CANCEL, CREDIT, PING, GOAWAY = range(1, 9)
LAST, CRC, REFUSED, ACK = 1, 2, 4, 8
EMBED, EMBED_STREAM, SIMILARITY, TOKENIZE, TRACE, INFO, HEALTH_CHECK, HEALTH_WATCH = 1, 2, 3, 4, 5, 6, 10, 11

#: Largest frame that this client takes.
MAXIMUM_FRAME_BYTES: Final = 67_108_864
#: What a daemon may send of a streaming call before it was taken.
INITIAL_WINDOW: Final = 4_456_448
MAXIMUM_STREAM: Final = 0x7FFF_FFFF


class WireError(Exception):
    """Bytes that are not the protocol."""


def _crc_entry(value: int) -> int:
    for _ in range(8):
        value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
    return value


_CRC_TABLE: Final = tuple(_crc_entry(value) for value in range(256))


def crc32c(data: bytes, crc: int = 0) -> int:
    """CRC-32C (Castagnoli)."""
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc = _CRC_TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


@dataclass(frozen=True)
class Frame:
    type: int
    flags: int
    stream: int
    argument: int
    message: bytes
    attachment: bytes


def frame(
    kind: int,
    *,
    flags: int = 0,
    method: int = 0,
    stream: int = 0,
    argument: int = 0,
    message: bytes = b"",
    attachment: bytes = b"",
) -> bytes:
    """The bytes of a frame, without a checksum."""
    head = HEADER.pack(b"SAE1", kind, flags, method, stream, len(message) + len(attachment), len(message), argument, 0)
    return b"".join((head, message, attachment))


class Decoder:
    """Cuts what comes in into frames."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that `data` completes; raises WireError for what is not the protocol."""
        self._bytes += data
        at = 0
        try:
            while len(self._bytes) - at >= HEADER.size:
                raw = bytes(self._bytes[at : at + HEADER.size])
                magic, kind, flags, _, stream, size, length, argument, crc = HEADER.unpack(raw)
                if magic != b"SAE1" or not HELLO <= kind <= GOAWAY or length > size or size > MAXIMUM_FRAME_BYTES:
                    raise WireError("this is not the sae protocol")
                start = at + HEADER.size
                if len(self._bytes) < start + size:
                    break
                with memoryview(self._bytes) as view:
                    message = bytes(view[start : start + length])
                    attachment = bytes(view[start + length : start + size])
                if flags & CRC and crc32c(attachment, crc32c(message, crc32c(raw[:24]))) != crc:
                    raise WireError("a checksum differs")
                at = start + size
                yield Frame(kind, flags, stream, argument, message, attachment)
        finally:
            del self._bytes[:at]


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


class Fields:
    """Writes a protobuf message field by field; zero and empty ones are left out."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def number(self, field: int, value: int) -> Fields:
        if value:
            self._parts += (_varint(field << 3), _varint(value))
        return self

    def fixed64(self, field: int, value: int) -> Fields:
        if value:
            self._parts += (_varint(field << 3 | 1), struct.pack("<Q", value))
        return self

    def float32(self, field: int, value: float) -> Fields:
        if value:
            self._parts += (_varint(field << 3 | 5), struct.pack("<f", value))
        return self

    def data(self, field: int, value: bytes) -> Fields:
        if value:
            self._parts += (_varint(field << 3 | 2), _varint(len(value)), value)
        return self

    def packed(self, field: int, values: Iterable[int]) -> Fields:
        return self.data(field, b"".join(map(_varint, values)))

    def encoded(self) -> bytes:
        return b"".join(self._parts)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise WireError("a message does not parse")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at


class Message:
    """A protobuf message by field numbers; fields nobody asks for are ignored."""

    def __init__(self, data: bytes) -> None:
        self._fields: dict[int, list[int | bytes]] = {}
        at = 0
        while at < len(data):
            key, at = _read_varint(data, at)
            value: int | bytes
            if key & 7 == 0:
                value, at = _read_varint(data, at)
            else:
                if key & 7 == 2:
                    size, at = _read_varint(data, at)
                else:
                    size = {1: 8, 5: 4}.get(key & 7, -1)
                if size < 0 or at + size > len(data):
                    raise WireError("a message does not parse")
                value, at = data[at : at + size], at + size
                if key & 7 != 2:
                    value = int.from_bytes(value, "little")
            self._fields.setdefault(key >> 3, []).append(value)

    def number(self, field: int) -> int:
        value = self._fields.get(field, [0])[-1]
        return value if isinstance(value, int) else 0

    def data(self, field: int) -> bytes:
        value = self._fields.get(field, [b""])[-1]
        return value if isinstance(value, bytes) else b""

    def text(self, field: int) -> str:
        return self.data(field).decode("utf-8", "replace")

    def every(self, field: int) -> list[bytes]:
        return [value for value in self._fields.get(field, []) if isinstance(value, bytes)]

    def numbers(self, field: int) -> list[int]:
        out: list[int] = []
        for value in self._fields.get(field, []):
            if isinstance(value, int):
                out.append(value)
                continue
            at = 0
            while at < len(value):
                number, at = _read_varint(value, at)
                out.append(number)
        return out

    def table(self, field: int) -> dict[str, int]:
        entries = (Message(entry) for entry in self.every(field))
        return {entry.text(1): entry.number(2) for entry in entries}


def status(code: int) -> Status:
    return Status(code) if code in Status._value2member_map_ else Status.UNKNOWN


def row_errors(messages: Sequence[bytes], first: int = 0) -> list[RowError]:
    """RowErrors, their indices counted from `first`."""
    fields = [Message(message) for message in messages]
    return [RowError(each.number(1) + first, status(each.number(2)), each.text(3), each.text(4)) for each in fields]


def failure(end: Frame) -> SAEError:
    """What an END says."""
    fields = Message(end.message)
    return SAEError(
        status(end.argument),
        fields.text(1),
        limit=fields.text(2),
        limit_value=fields.number(3),
        retry_after=fields.number(4) / 1_000,
        is_refused=bool(end.flags & REFUSED),
    )


@dataclass(frozen=True)
class ServerHello:
    software: str
    maximum_frame_bytes: int
    generation: int
    limits: Mapping[str, int]
    initial_window: int = 65_536

    @staticmethod
    def decode(message: bytes) -> ServerHello:
        fields = Message(message)
        if fields.number(1) != 1:
            raise WireError("the server speaks another version")
        return ServerHello(fields.text(3), fields.number(5), fields.number(10), fields.table(11), fields.number(6))


def client_hello(token: str) -> bytes:
    fields = Fields().number(1, 1).number(2, 1).data(3, b"sae-python/0.1").data(4, token.encode())
    return frame(HELLO, message=fields.number(5, MAXIMUM_FRAME_BYTES).number(6, INITIAL_WINDOW).encoded())
