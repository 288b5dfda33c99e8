"""How many texts become requests, and answers become one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ._types import Embeddings, Encoding, RowError, SAEError, Status
from ._wire import MAXIMUM_FRAME_BYTES, Frame, Message, row_errors

Text = str | bytes

#: Requests of one call under way at once.
CONCURRENCY = 8


def each_encoded(texts: Iterable[Text]) -> Iterator[bytes]:
    """Texts as the bytes that travel: any bytes are legal."""
    if isinstance(texts, (str, bytes)):
        raise TypeError("texts must be a list of texts, not one text")
    return map(_bytes, texts)


def _bytes(text: Text) -> bytes:
    if isinstance(text, bytes):
        return text
    if not isinstance(text, str):
        raise TypeError(f"a text must be str or bytes, not {type(text).__name__}")
    return text.encode("utf-8", "surrogatepass")


def encoded(texts: Iterable[Text]) -> list[bytes]:
    return list(each_encoded(texts))


@dataclass(frozen=True)
class Portion:
    """Consecutive texts of one request; `is_too_long`: one that no frame of the daemon holds."""

    first: int
    end: int
    is_too_long: bool = False


def portions(
    texts: Sequence[bytes], limits: Mapping[str, int], encoding: Encoding, dimensions: int
) -> Iterator[Portion]:
    """Cuts by the daemon's limits: texts a request, bytes a frame, bytes of an answer.

    An answer is reserved as n rows, 96 bytes a row and 256; where the size of a row is not known before the answer, it is
    taken for 1,024 dimensions. No text at all is one empty portion: the daemon says what it thinks of it.
    """
    row = encoding.row_bytes(dimensions or 1_024) + 96
    output = min(limits.get("limits.max_connection_output_bytes", 16_777_216), MAXIMUM_FRAME_BYTES) - 256
    most = max(1, min(limits.get("limits.max_texts_per_request", 2_048), output // row))
    frame_bytes = limits.get("limits.max_frame_bytes", 4_194_304)
    first, size = 0, 64
    for index, text in enumerate(texts):
        # A length is at most 5 bytes of the message.
        grown = len(text) + 5
        if index > first and (index - first == most or size + grown > frame_bytes):
            yield Portion(first, index)
            first, size = index, 64
        size += grown
        if size > frame_bytes:
            yield Portion(index, index + 1, is_too_long=True)
            first, size = index + 1, 64
    if first < len(texts) or not texts:
        yield Portion(first, len(texts))


def concurrency(
    parts: Sequence[Portion], limits: Mapping[str, int], encoding: Encoding, dimensions: int
) -> int:
    """How many portions may be under way at once within the output that the daemon reserves for a connection."""
    row = encoding.row_bytes(dimensions or 1_024) + 96
    largest = max((part.end - part.first for part in parts), default=1) * row + 256
    return max(1, min(CONCURRENCY, limits.get("limits.max_connection_output_bytes", 16_777_216) // largest))


MALFORMED = SAEError(Status.INTERNAL, "the daemon's answer does not parse")


@dataclass(frozen=True)
class Part:
    """The answer to one portion."""

    rows: bytes
    scales: bytes
    dimensions: int
    generation: int
    errors: Sequence[RowError]
    pieces: Sequence[int]
    truncated: Sequence[int]
    queue_us: int
    compute_us: int


def part(portion: Portion, answer: Frame, encoding: Encoding) -> Part:
    fields = Message(answer.message)
    count, dimensions = fields.number(1), fields.number(2)
    size = count * encoding.row_bytes(dimensions)
    if count != portion.end - portion.first or fields.number(3) != encoding or len(answer.attachment) != size:
        raise MALFORMED
    scale_bytes = 4 * count if encoding is Encoding.INT8 else 0
    return Part(
        answer.attachment[: size - scale_bytes],
        answer.attachment[size - scale_bytes :],
        dimensions,
        fields.number(4),
        row_errors(fields.every(5), portion.first),
        fields.numbers(6),
        [index + portion.first for index in fields.numbers(7)],
        fields.number(8),
        fields.number(9),
    )


def whole(
    cut: Sequence[Portion], parts: Sequence[Part | None], encoding: Encoding, *, want_pieces: bool
) -> Embeddings:
    """Puts the answers together in order; None is the answer to a text that was too long to be sent."""
    known = [each for each in parts if each is not None]
    if len({(each.dimensions, each.generation) for each in known}) > 1:
        raise SAEError(Status.UNAVAILABLE, "the model changed while the texts were under way")
    dimensions = known[0].dimensions if known else 0
    zero = bytes(encoding.row_bytes(dimensions) - (4 if encoding is Encoding.INT8 else 0))
    rows: list[bytes] = []
    scales: list[bytes] = []
    errors: list[RowError] = []
    pieces: list[int] = []
    truncated: list[int] = []
    for portion, each in zip(cut, parts, strict=True):
        if each is None:
            rows.append(zero)
            scales.append(bytes(4))
            pieces.append(0)
            errors.append(
                RowError(
                    portion.first,
                    Status.INVALID_ARGUMENT,
                    "the text is longer than a frame",
                    "limits.max_frame_bytes",
                )
            )
        else:
            rows.append(each.rows)
            scales.append(each.scales)
            pieces += each.pieces
            errors += each.errors
            truncated += each.truncated
    dtype = ("<f4", "<f2", "i1", "u1")[encoding]
    width = dimensions // 8 if encoding is Encoding.BINARY else dimensions
    # One request's answer is handed over where it lies.
    data = np.frombuffer(rows[0] if len(rows) == 1 else b"".join(rows), dtype=dtype)
    return Embeddings(
        data.reshape(cut[-1].end, width) if width else np.zeros((cut[-1].end, 0), dtype),
        encoding,
        dimensions,
        known[0].generation if known else 0,
        tuple(errors),
        np.frombuffer(b"".join(scales), dtype="<f4") if encoding is Encoding.INT8 else None,
        tuple(pieces) if want_pieces else (),
        tuple(truncated),
        max((each.queue_us for each in known), default=0) / 1e6,
        max((each.compute_us for each in known), default=0) / 1e6,
    )
