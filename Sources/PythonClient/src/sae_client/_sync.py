"""The client for threads."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from ._administration import DrainReport, ReloadReport
from ._aio import AsyncClient
from ._embedding import EmbeddingFlow
from ._jobs import Job, JobSpec
from ._portions import Text
from ._types import (
    Embeddings,
    Encoding,
    Info,
    SAEError,
    ServingStatus,
    Similarities,
    Status,
    TextTrace,
    TokenizedText,
)

Result = TypeVar("Result")


class Client:
    """As `AsyncClient`, for any number of threads: one thread of its own does the I/O of all of them.

    >>> with Client("unix:/run/sae/sae.sock") as client:
    ...     vectors = client.embed(["A cat sat on the mat."]).vectors
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
        """See `AsyncClient`."""
        self._client = AsyncClient(
            endpoint, token_file=token_file, tls_ca=tls_ca, tls_cert=tls_cert, tls_key=tls_key, pool=pool
        )
        self._process = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="sae-client", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections; calls under way fail."""
        if not self._is_running:
            return
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def embed(
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
        """See `AsyncClient.embed`."""
        return self._run(
            self._client.embed(
                texts,
                encoding=encoding,
                dimensions=dimensions,
                truncate=truncate,
                temperature=temperature,
                if_generation=if_generation,
                want_pieces=want_pieces,
                strict=strict,
                timeout=timeout,
            )
        )

    def embed_stream(
        self,
        texts: Iterable[Text],
        *,
        encoding: Encoding = Encoding.F32,
        dimensions: int = 0,
        truncate: bool = False,
        temperature: float = 0.0,
        if_generation: int = 0,
        want_pieces: bool = False,
    ) -> Iterator[Embeddings]:
        """See `AsyncClient.embed_stream`. The texts are asked for by the thread that takes the vectors."""
        flow = EmbeddingFlow(
            self._client._pool,
            encoding=encoding,
            dimensions=dimensions,
            truncate=truncate,
            temperature=temperature,
            if_generation=if_generation,
            want_pieces=want_pieces,
        )
        try:
            for chunk in self._run(flow.chunker()).chunks(texts):
                if (answer := self._run(flow.exchange(chunk))) is not None:
                    yield answer
            while (answer := self._run(flow.next())) is not None:
                yield answer
            self._run(flow.finish())
        finally:
            if self._is_running:
                self._loop.call_soon_threadsafe(flow.close)

    def similarity(
        self,
        left: Sequence[Text],
        right: Sequence[Text] | None = None,
        *,
        dimensions: int = 0,
        truncate: bool = False,
        if_generation: int = 0,
        timeout: float = 10.0,
    ) -> Similarities:
        """See `AsyncClient.similarity`."""
        return self._run(
            self._client.similarity(
                left,
                right,
                dimensions=dimensions,
                truncate=truncate,
                if_generation=if_generation,
                timeout=timeout,
            )
        )

    def tokenize(self, texts: Iterable[Text], *, timeout: float = 10.0) -> list[TokenizedText]:
        """See `AsyncClient.tokenize`."""
        return self._run(self._client.tokenize(texts, timeout=timeout))

    def trace(self, text: Text, *, timeout: float = 10.0) -> TextTrace:
        """See `AsyncClient.trace`."""
        return self._run(self._client.trace(text, timeout=timeout))

    def info(self, *, timeout: float = 10.0) -> Info:
        """See `AsyncClient.info`."""
        return self._run(self._client.info(timeout=timeout))

    def health(self, service: str = "", *, timeout: float = 10.0) -> bool:
        """See `AsyncClient.health`."""
        return self._run(self._client.health(service, timeout=timeout))

    def health_updates(self, service: str = "") -> Iterator[ServingStatus]:
        """See `AsyncClient.health_updates`."""
        return self._updates(self._client.health_updates(service))

    def create_job(self, spec: JobSpec = JobSpec(), *, timeout: float = 30.0) -> Job:
        """See `AsyncClient.create_job`."""
        return self._run(self._client.create_job(spec, timeout=timeout))

    def put_job_input(self, id: str, data: bytes, offset: int) -> int:
        """See `AsyncClient.put_job_input`."""
        return self._run(self._client.put_job_input(id, data, offset))

    def start_job(self, id: str, input_bytes: int, sha256: bytes, *, timeout: float = 120.0) -> Job:
        """See `AsyncClient.start_job`."""
        return self._run(self._client.start_job(id, input_bytes, sha256, timeout=timeout))

    def submit_job(self, source: bytes | str | os.PathLike[str], spec: JobSpec = JobSpec()) -> Job:
        """See `AsyncClient.submit_job`."""
        return self._run(self._client.submit_job(source, spec))

    def job(self, id: str, *, timeout: float = 10.0) -> Job:
        """See `AsyncClient.job`."""
        return self._run(self._client.job(id, timeout=timeout))

    def jobs(self, *, timeout: float = 10.0) -> list[Job]:
        """See `AsyncClient.jobs`."""
        return self._run(self._client.jobs(timeout=timeout))

    def watch_job(self, id: str) -> Iterator[Job]:
        """See `AsyncClient.watch_job`."""
        return self._updates(self._client.watch_job(id))

    def wait_for_job(self, id: str) -> Job:
        """See `AsyncClient.wait_for_job`."""
        return self._run(self._client.wait_for_job(id))

    def fetch_job(self, id: str, file: str, target: str | os.PathLike[str]) -> None:
        """See `AsyncClient.fetch_job`."""
        self._run(self._client.fetch_job(id, file, target))

    def cancel_job(self, id: str, *, timeout: float = 10.0) -> Job:
        """See `AsyncClient.cancel_job`."""
        return self._run(self._client.cancel_job(id, timeout=timeout))

    def delete_job(self, id: str, *, timeout: float = 30.0) -> None:
        """See `AsyncClient.delete_job`."""
        self._run(self._client.delete_job(id, timeout=timeout))

    def reload(self, *, timeout: float = 60.0) -> ReloadReport:
        """See `AsyncClient.reload`."""
        return self._run(self._client.reload(timeout=timeout))

    def drain(self, grace: float | None = None, *, timeout: float = 10.0) -> DrainReport:
        """See `AsyncClient.drain`."""
        return self._run(self._client.drain(grace, timeout=timeout))

    def _updates(self, updates: AsyncIterator[Result]) -> Iterator[Result]:
        try:
            while (update := self._run(_next(updates))) is not None:
                yield update
        finally:
            if self._is_running:
                self._run(_close(updates))

    def _run(self, call: Coroutine[Any, Any, Result]) -> Result:
        if not self._is_running:
            call.close()
            reason = "the client is closed" if self._loop.is_closed() else "a fork needs a client of its own"
            raise SAEError(Status.CANCELLED, reason)
        task = asyncio.run_coroutine_threadsafe(call, self._loop)
        try:
            return task.result()
        except BaseException:
            task.cancel()  # an interrupt: the daemon is told, too
            raise

    @property
    def _is_running(self) -> bool:
        return not self._loop.is_closed() and self._process == os.getpid()

    async def _end(self) -> None:
        self._client.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for other in others:
            other.cancel()
        await asyncio.gather(*others, return_exceptions=True)


async def _next(updates: AsyncIterator[Result]) -> Result | None:
    return await anext(updates, None)


async def _close(updates: AsyncIterator[Any]) -> None:
    if isinstance(updates, AsyncGenerator):
        await updates.aclose()
