"""The client for asyncio."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from ._administration import AdministrationCalls
from ._conversation import updates
from ._embedding import EmbeddingFlow
from ._jobs import JobCalls
from ._link import Endpoint, encryption
from ._pool import Pool
from ._portions import MALFORMED, Part, Portion, Text, concurrency, encoded, part, portions, whole
from ._types import (
    Embeddings,
    Encoding,
    Info,
    RowError,
    SAEError,
    ServingStatus,
    Similarities,
    Status,
    TextTrace,
    TokenizedText,
)
from ._wire import (
    EMBED,
    HEALTH_CHECK,
    HEALTH_WATCH,
    INFO,
    SIMILARITY,
    TOKENIZE,
    TRACE,
    Fields,
    Frame,
    Message,
    WireError,
    row_errors,
)

#: The daemon's own default.
DEFAULT_ENDPOINT = "tcp://127.0.0.1:7733"

def token(file: str | os.PathLike[str] | None) -> str:
    """The secret in `file`, or in the one that SAE_CLIENT_TOKEN_FILE names. It is never an argument or a variable."""
    path = file or os.environ.get("SAE_CLIENT_TOKEN_FILE")
    return Path(path).read_text(encoding="utf-8").strip() if path else ""


def file_name(given: str | os.PathLike[str] | None, name: str) -> str | None:
    """A file of TLS: as given, or by its variable."""
    return os.fspath(given) if given is not None else os.environ.get("SAE_CLIENT_TLS_" + name) or None


class AsyncClient(JobCalls, AdministrationCalls):
    """A pool of connections to one daemon, for one event loop.

    Connects with the first call, and again after a loss. Every call has a deadline (`timeout`, in seconds), over all
    attempts; a cancelled task cancels its request at the daemon. Calls raise `SAEError`.

    >>> async with AsyncClient("unix:/run/sae/sae.sock") as client:
    ...     answer = await client.embed(["A cat sat on the mat."])
    """

    def __init__(
        self,
        endpoint: str | None = None,
        *,
        token_file: str | os.PathLike[str] | None = None,
        tls_ca: str | os.PathLike[str] | None = None,
        tls_cert: str | os.PathLike[str] | None = None,
        tls_key: str | os.PathLike[str] | None = None,
        pool: int = 4,
    ) -> None:
        """`endpoint`: tcp://HOST:PORT, tls://HOST:PORT or unix:PATH; else SAE_CLIENT_CONNECT, else the daemon's own default.

        For tls: PEM files of the authorities that may vouch for the daemon (else SAE_CLIENT_TLS_CA, else the system's), and of
        the certificate to show and its key (else SAE_CLIENT_TLS_CERT and SAE_CLIENT_TLS_KEY, else none).
        """
        address = Endpoint.parse(endpoint or os.environ.get("SAE_CLIENT_CONNECT") or DEFAULT_ENDPOINT)
        context = None
        if address.is_encrypted:
            files = (file_name(tls_ca, "CA"), file_name(tls_cert, "CERT"), file_name(tls_key, "KEY"))
            context = encryption(*files)
        self._pool = Pool(address, token(token_file), pool, context)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections; calls under way fail."""
        self._pool.close()

    async def embed(
        self,
        texts: Iterable[Text],
        *,
        encoding: Encoding = Encoding.F32,
        dimensions: int = 0,
        truncate: bool = False,
        temperature: float = 0.0,
        if_generation: int = 0,
        want_pieces: bool = False,
        strict: bool = False,
        timeout: float = 10.0,
    ) -> Embeddings:
        """The vectors of any number of texts, in order; what one request cannot carry is split by the daemon's limits.

        `dimensions`: the leading ones, normalised again; 0 = all. `truncate`: cut an over-long text instead of a row error.
        `temperature`: 0.25 to 16, 0 = the model's own. `if_generation`: only this one may answer. A text without a vector
        is a value in `errors` and a zero row; with `strict` the first one is raised.
        """
        deadline = time.monotonic() + timeout
        data = encoded(texts)
        limits = (await self._pool.link(deadline)).server.limits
        cut = list(portions(data, limits, encoding, dimensions))
        gate = asyncio.Semaphore(concurrency(cut, limits, encoding, dimensions))

        async def one(portion: Portion) -> Part | None:
            if portion.is_too_long:
                return None
            chunk = data[portion.first : portion.end]
            message = (
                Fields()
                .packed(1, map(len, chunk))
                .number(2, encoding)
                .number(3, dimensions)
                .number(4, truncate)
                .fixed64(5, if_generation)
                .number(6, want_pieces)
                .float32(7, temperature)
            )
            async with gate:
                answer = await self._call(EMBED, message, chunk, deadline)
            return part(portion, answer, encoding)

        if len(cut) == 1:
            parts = [await one(cut[0])]
        else:
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(one(portion)) for portion in cut]
            except BaseExceptionGroup as failures:
                raise failures.exceptions[0] from None
            parts = [task.result() for task in tasks]
        answer = whole(cut, parts, encoding, want_pieces=want_pieces)
        if strict and answer.errors:
            _raise(answer.errors[0])
        return answer

    async def embed_stream(
        self,
        texts: Iterable[Text] | AsyncIterable[Text],
        *,
        encoding: Encoding = Encoding.F32,
        dimensions: int = 0,
        truncate: bool = False,
        temperature: float = 0.0,
        if_generation: int = 0,
        want_pieces: bool = False,
    ) -> AsyncIterator[Embeddings]:
        """The vectors of any sequence of texts, however long, in order, some at a time; indices are counted within each answer.

        The texts are asked for as the daemon takes them, a few chunks ahead of what has come back. All are of one model
        generation: ABORTED is raised when the daemon gives it up before the end. A lost connection, or a daemon that drains,
        is gone on from elsewhere with the first texts that were not answered. The other options are those of `embed`.
        """
        flow = EmbeddingFlow(
            self._pool,
            encoding=encoding,
            dimensions=dimensions,
            truncate=truncate,
            temperature=temperature,
            if_generation=if_generation,
            want_pieces=want_pieces,
        )
        try:
            chunker = await flow.chunker()
            async for chunk in chunker.chunks_as_they_come(texts):
                if (answer := await flow.exchange(chunk)) is not None:
                    yield answer
            while (answer := await flow.next()) is not None:
                yield answer
            await flow.finish()
        finally:
            flow.close()

    async def similarity(
        self,
        left: Sequence[Text],
        right: Sequence[Text] | None = None,
        *,
        dimensions: int = 0,
        truncate: bool = False,
        if_generation: int = 0,
        timeout: float = 10.0,
    ) -> Similarities:
        """The cosines of each left text with each right one, or of all texts with all."""
        if not left and right:  # 0 to the left are, on the wire, all with all
            raise SAEError(Status.INVALID_ARGUMENT, "no left text is given")
        data = encoded(left) + ([] if right is None else encoded(right))
        message = (
            Fields()
            .packed(1, map(len, data))
            .number(2, 0 if right is None else len(left))
            .number(3, dimensions)
            .number(4, truncate)
            .fixed64(5, if_generation)
        )
        answer = await self._call(SIMILARITY, message, data, time.monotonic() + timeout)
        fields = Message(answer.message)
        rows, columns = fields.number(1), fields.number(2)
        if len(answer.attachment) != 4 * rows * columns:
            raise MALFORMED
        return Similarities(np.frombuffer(answer.attachment, dtype="<f4").reshape(rows, columns), fields.number(3))

    async def tokenize(self, texts: Iterable[Text], *, timeout: float = 10.0) -> list[TokenizedText]:
        """The pieces of each text."""
        data = encoded(texts)
        message = Fields().packed(1, map(len, data)).number(2, 1).number(3, 1)
        answer = await self._call(TOKENIZE, message, data, time.monotonic() + timeout)
        fields = Message(answer.message)
        errors = {error.index: error for error in row_errors(fields.every(2))}
        if len(fields.every(1)) != len(data):
            raise MALFORMED
        out = []
        for index, inner in enumerate(map(Message, fields.every(1))):
            spans = tuple(zip(inner.numbers(3), inner.numbers(4), strict=True))
            out.append(TokenizedText(inner.numbers(1), inner.every(2), spans, errors.get(index)))
        return out

    async def trace(self, text: Text, *, timeout: float = 10.0) -> TextTrace:
        """How one text becomes its vector: pieces, weights, rules, for a person who wants to know why.

        INVALID_ARGUMENT is raised for a text without a vector, or one longer than the daemon's
        `limits.max_trace_bytes`.
        """
        answer = await self._call(TRACE, Fields(), encoded([text]), time.monotonic() + timeout)
        fields = Message(answer.message)
        return TextTrace(fields.number(1), fields.number(2), answer.attachment)

    async def info(self, *, timeout: float = 10.0) -> Info:
        """What the daemon is and accepts."""
        fields = Message((await self._call(INFO, Fields(), [], time.monotonic() + timeout)).message)
        return Info(
            server=fields.text(1),
            model=fields.text(2),
            generation=fields.number(3),
            generation_digest=fields.data(4),
            dimensions=fields.number(5),
            vocabulary=fields.number(6),
            scorer=fields.text(8),
            device=fields.text(9),
            workers=fields.number(10),
            uptime_seconds=fields.number(11) / 1_000,
            state=fields.text(12),
            limits=fields.table(13),
        )

    async def health(self, service: str = "", *, timeout: float = 10.0) -> bool:
        """True when `service` ("", "sae.v1.Embedding" or "sae.v1.Jobs") serves; NOT_FOUND is raised for one that nobody knows."""
        message = Fields().data(1, service.encode())
        answer = await self._call(HEALTH_CHECK, message, [], time.monotonic() + timeout)
        return Message(answer.message).number(1) == 1

    def health_updates(self, service: str = "") -> AsyncIterator[ServingStatus]:
        """Whether `service` serves, now and at each change; SERVICE_UNKNOWN for one that the daemon does not know. A lost
        connection is made again."""
        return updates(self._pool, HEALTH_WATCH, Fields().data(1, service.encode()), _serving_status)

    async def _call(self, method: int, message: Fields, texts: Sequence[bytes], deadline: float) -> Frame:
        try:
            return await self._pool.call(method, message.encoded(), b"".join(texts), deadline)
        except WireError:
            raise MALFORMED from None


def _serving_status(message: bytes) -> ServingStatus:
    number = Message(message).number(1)
    return ServingStatus(number) if number in ServingStatus._value2member_map_ else ServingStatus.UNKNOWN


def _raise(error: RowError) -> None:
    raise SAEError(error.code, f"text {error.index}: {error.message}", limit=error.limit)
