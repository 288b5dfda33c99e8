"""What calls take and give."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Status(enum.IntEnum):
    """How a call or a row ended: gRPC's codes and numbers."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class Encoding(enum.IntEnum):
    """How the numbers of a vector travel."""

    F32 = 0
    F16 = 1
    INT8 = 2
    BINARY = 3

    def row_bytes(self, dimensions: int) -> int:
        return (4 * dimensions, 2 * dimensions, dimensions + 4, dimensions // 8)[self]


class ServingStatus(enum.IntEnum):
    """Whether a service answers."""

    UNKNOWN = 0
    SERVING = 1
    NOT_SERVING = 2
    SERVICE_UNKNOWN = 3


class SAEError(Exception):
    """A call that was not answered.

    `limit` names the daemon's setting that refused, or is empty; `retry_after` is in seconds. `is_refused`: nothing was
    begun. `follows_loss`: an attempt before this one was lost with its connection, so that it may have been done.
    """

    def __init__(
        self,
        code: Status,
        message: str,
        *,
        limit: str = "",
        limit_value: int = 0,
        retry_after: float = 0.0,
        is_refused: bool = False,
    ) -> None:
        super().__init__(f"{code.name}: {message}" + (f" ({limit})" if limit else ""))
        self.code = code
        self.message = message
        self.limit = limit
        self.limit_value = limit_value
        self.retry_after = retry_after
        self.is_refused = is_refused
        self.follows_loss = False


@dataclass(frozen=True)
class RowError:
    """One text without a vector; its row is zero."""

    index: int
    code: Status
    message: str
    limit: str = ""


@dataclass(frozen=True)
class Embeddings:
    """Vectors, one row a text, in order.

    `data` is `count x dimensions`, of float32, float16 or int8, or `count x dimensions / 8` of uint8 with dimension 0 in
    the most significant bit; of INT8 `scales` has the factor of each row. The same text, generation and options always
    give the same bytes.
    """

    data: NDArray[Any]
    encoding: Encoding
    dimensions: int
    generation: int
    errors: Sequence[RowError] = ()
    scales: NDArray[np.float32] | None = None
    pieces: Sequence[int] = ()
    truncated: Sequence[int] = ()
    #: Seconds that the slowest request waited and was computed at the daemon.
    queue_seconds: float = 0.0
    compute_seconds: float = 0.0

    def __len__(self) -> int:
        return int(self.data.shape[0])

    @property
    def vectors(self) -> NDArray[np.float32]:
        """The vectors as float32; for F32 the data itself. BINARY gives 0 and 1."""
        if self.encoding is Encoding.BINARY:
            return np.unpackbits(self.data, axis=1).astype(np.float32)
        if self.scales is not None:
            return np.asarray(self.data.astype(np.float32) * self.scales[:, None], dtype=np.float32)
        return np.asarray(self.data, dtype=np.float32)


@dataclass(frozen=True)
class Similarities:
    """Cosines: `matrix[i, j]` is that of left text i with right text j."""

    matrix: NDArray[np.float32]
    generation: int


@dataclass(frozen=True)
class TokenizedText:
    """The pieces of one text: ids, bytes, and the bytes of the text that each stands for; or why there are none."""

    ids: Sequence[int] = ()
    pieces: Sequence[bytes] = ()
    spans: Sequence[tuple[int, int]] = ()
    error: RowError | None = None


@dataclass(frozen=True)
class TextTrace:
    """How a text became its vector: `json` is what `sae trace --json` prints, UTF-8; `schema` the version of its form."""

    schema: int
    generation: int
    json: bytes


@dataclass(frozen=True)
class Info:
    """What a daemon is and accepts; `limits` by the names of its settings."""

    server: str
    model: str
    generation: int
    generation_digest: bytes
    dimensions: int
    vocabulary: int
    scorer: str
    device: str
    workers: int
    uptime_seconds: float
    state: str
    limits: dict[str, int] = field(default_factory=dict)
