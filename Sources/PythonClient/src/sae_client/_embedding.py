"""Embedding streams: any number of texts, some at a time, over one streaming call."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator

from ._conversation import OPENING_TIMEOUT, Conversation, persist
from ._pool import Pool
from ._portions import Portion, Text, each_encoded, part, whole
from ._types import Embeddings, Encoding, SAEError, Status
from ._wire import EMBED_STREAM, INITIAL_WINDOW, Fields, WireError

#: Texts of a chunk, at most, and chunks that are under way at once.
CHUNK_TEXTS = 256
AHEAD = 4


class Chunker:
    """Gathers texts to chunks of so many texts and bytes, at most."""

    def __init__(self, most_texts: int, most_bytes: int) -> None:
        self.most_texts, self.most_bytes = most_texts, most_bytes
        self._texts: list[bytes] = []
        self._size = 0

    def add(self, text: bytes) -> Iterator[list[bytes]]:
        """The chunks that this text completes."""
        if len(text) > self.most_bytes:
            message = "a text is longer than the daemon's window"
            raise SAEError(Status.INVALID_ARGUMENT, message, limit="limits.initial_window", limit_value=self.most_bytes)
        if self._size + len(text) > self.most_bytes:
            yield from self.rest()
        self._texts.append(text)
        self._size += len(text)
        if len(self._texts) == self.most_texts:
            yield from self.rest()

    def rest(self) -> Iterator[list[bytes]]:
        """What has been gathered, unless that is nothing."""
        if self._texts:
            texts, self._texts, self._size = self._texts, [], 0
            yield texts

    def chunks(self, texts: Iterable[Text]) -> Iterator[list[bytes]]:
        for text in each_encoded(texts):
            yield from self.add(text)
        yield from self.rest()

    async def chunks_as_they_come(self, texts: Iterable[Text] | AsyncIterable[Text]) -> AsyncIterator[list[bytes]]:
        if not isinstance(texts, AsyncIterable):
            for chunk in self.chunks(texts):
                yield chunk
            return
        async for text in texts:
            for chunk in self.add(next(each_encoded([text]))):
                yield chunk
        for chunk in self.rest():
            yield chunk


class EmbeddingFlow:
    """The chunks of one embedding stream that are under way, used by one task at a time.

    After a loss it goes on elsewhere with the first chunk that was not answered, by the generation that it began with.
    """

    def __init__(
        self,
        pool: Pool,
        *,
        encoding: Encoding,
        dimensions: int,
        truncate: bool,
        temperature: float,
        if_generation: int,
        want_pieces: bool,
    ) -> None:
        self._pool = pool
        self._encoding, self._dimensions, self._want_pieces = encoding, dimensions, want_pieces
        self._truncate, self._temperature = truncate, temperature
        #: 0 until a chunk was answered, or the one that was asked for.
        self._generation = if_generation
        self._conversation: Conversation | None = None
        self._unanswered: deque[list[bytes]] = deque()

    async def chunker(self) -> Chunker:
        """By the daemon's limits, and so that the answers of all chunks under way fit the window that this client gives."""
        server = (await self._pool.link(time.monotonic() + OPENING_TIMEOUT)).server
        row = self._encoding.row_bytes(self._dimensions or 1_024) + 100
        fitting = (INITIAL_WINDOW // AHEAD - 256) // row
        most_texts = max(1, min(CHUNK_TEXTS, server.limits.get("limits.max_chunk_texts", 512), fitting))
        return Chunker(most_texts, min(server.initial_window, server.maximum_frame_bytes) - 8 * CHUNK_TEXTS)

    async def exchange(self, chunk: list[bytes]) -> Embeddings | None:
        """Sends a chunk; the vectors of the first one under way, where no more may be."""
        self._unanswered.append(chunk)
        if self._conversation is None:
            await self._reopen()
        else:
            # What went wrong is told behind the answers that have come.
            with contextlib.suppress(SAEError):
                await self._say(chunk)
        return None if len(self._unanswered) < AHEAD else await self.next()

    async def next(self) -> Embeddings | None:
        """The vectors of the next chunk; None once all are answered."""
        while self._unanswered:
            try:
                answer = None if self._conversation is None else await self._conversation.receive()
                if answer is None:
                    raise SAEError(Status.UNAVAILABLE, "the daemon ended the stream")
                portion = Portion(0, len(self._unanswered[0]))
                try:
                    vectors = whole(
                        [portion], [part(portion, answer, self._encoding)], self._encoding, want_pieces=self._want_pieces
                    )
                except WireError:
                    raise SAEError(Status.INTERNAL, "the daemon's answer does not parse") from None
            except SAEError as error:
                await self._go_on_after(error)
                continue
            self._unanswered.popleft()
            self._generation = vectors.generation
            return vectors
        return None

    async def finish(self) -> None:
        """Ends the stream, all of which has been answered: how that goes changes nothing."""
        if self._conversation is not None:
            with contextlib.suppress(SAEError):
                self._conversation.finish()
                await self._conversation.receive()
        self.close()

    def close(self) -> None:
        if self._conversation is not None:
            self._conversation.close()
            self._conversation = None

    async def _go_on_after(self, error: SAEError) -> None:
        """Opens another stream after one that was lost, or whose generation went before it answered anything."""
        is_unanswered = error.code is Status.ABORTED and self._generation == 0
        if error.code is not Status.UNAVAILABLE and not is_unanswered:
            raise error
        await self._reopen()

    async def _reopen(self) -> None:
        async def attempt() -> None:
            self.close()
            opening = (
                Fields()
                .number(2, self._encoding)
                .number(3, self._dimensions)
                .number(4, self._truncate)
                .fixed64(5, self._generation)
                .number(6, self._want_pieces)
                .float32(7, self._temperature)
            )
            conversation = Conversation(self._pool, EMBED_STREAM, opening, takes_messages=True)
            self._conversation = await conversation.__aenter__()
            for chunk in list(self._unanswered):
                await self._say(chunk)

        await persist(attempt)

    async def _say(self, chunk: list[bytes]) -> None:
        if self._conversation is not None:
            await self._conversation.send(Fields().packed(1, map(len, chunk)).encoded(), b"".join(chunk))
