"""Corpus jobs: a file of texts goes up, the daemon embeds it whatever happens, files of vectors come down."""

from __future__ import annotations

import asyncio
import enum
import hashlib
import os
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ._conversation import OPENING_TIMEOUT, Conversation, persist, updates
from ._pool import Pool
from ._types import Encoding, SAEError, Status
from ._wire import Fields, Frame, Message, WireError

CREATE, PUT, START, GET, LIST, WATCH, OUTPUT, CANCEL, DELETE = range(20, 29)

#: Bytes of one message of an upload, at most, and of one PutJobInput.
MESSAGE_BYTES = 262_144
PUT_BYTES = 64 << 20


class JobState(enum.IntEnum):
    """Where a job is in its life."""

    UNKNOWN = 0
    UPLOADING = 1
    QUEUED = 2
    RUNNING = 3
    FINALIZING = 4
    DONE = 5
    FAILED = 6
    CANCELLED = 7

    @property
    def is_final(self) -> bool:
        """Nothing more happens to the job."""
        return self >= JobState.DONE


@dataclass(frozen=True)
class JobSpec:
    """What a job makes of its input.

    `text_field`: the input is JSON lines and this member of each the text; empty: a text a line. `json_output`: JSON lines
    (F32 only) instead of an array file. `key`: at most 64 bytes, of your choice: the same key and spec give the same job, so
    that a submission may be repeated; empty: a random one. `fail_on_error`: a line without a vector fails the job, instead of
    being a row of zeros and a line of errors.jsonl. `path`: the input is not uploaded, but a file of the daemon's machine, at this
    path below a directory of its setting jobs.input_roots; `create_job` alone then begins it.
    """

    text_field: str = ""
    json_output: bool = False
    encoding: Encoding = Encoding.F32
    dimensions: int = 0
    truncate: bool = False
    fail_on_error: bool = False
    key: str = ""
    path: str = ""


@dataclass(frozen=True)
class JobFile:
    """A file that a finished job gives."""

    name: str
    size: int
    sha256: bytes


@dataclass(frozen=True)
class Job:
    """A job as the daemon last told it. Times are seconds since 1970, 0 where they have not come."""

    id: str
    state: JobState
    owner: str
    generation: int
    #: Of the input; of an upload that is not complete, those that are safely on the daemon's disk.
    input_bytes: int
    input_done: int
    rows_done: int
    rows_failed: int
    created: float
    started: float
    ended: float
    #: Why it does not advance, and why it failed; else empty.
    stall: str
    error: str
    files: Sequence[JobFile]
    queue_place: int

    @staticmethod
    def decode(message: bytes) -> Job:
        fields = Message(message)
        state = fields.number(3)
        files = [Message(each) for each in fields.every(16)]
        return Job(
            id=fields.text(1),
            state=JobState(state) if state in JobState._value2member_map_ else JobState.UNKNOWN,
            owner=fields.text(4),
            generation=fields.number(5),
            input_bytes=fields.number(6),
            input_done=fields.number(7),
            rows_done=fields.number(8),
            rows_failed=fields.number(9),
            created=fields.number(11) / 1_000,
            started=fields.number(12) / 1_000,
            ended=fields.number(13) / 1_000,
            stall=fields.text(14),
            error=Message(fields.data(15)).text(1),
            files=[JobFile(each.text(1), each.number(2), each.data(3)) for each in files],
            queue_place=fields.number(18),
        )


def _spec(spec: JobSpec) -> bytes:
    fields = Fields().data(1, (spec.key or secrets.token_hex(16)).encode())
    fields = fields.data(3, spec.path.encode()) if spec.path else fields.number(2, 1)
    return (
        fields.number(4, bool(spec.text_field))
        .data(5, spec.text_field.encode())
        .number(6, spec.json_output)
        .number(7, spec.encoding)
        .number(8, spec.dimensions)
        .number(9, spec.truncate)
        .number(10, spec.fail_on_error)
        .encoded()
    )


class JobCalls:
    """The calls about jobs of `AsyncClient`."""

    _pool: Pool

    async def create_job(self, spec: JobSpec = JobSpec(), *, timeout: float = 30.0) -> Job:
        """A job that waits for its input, or with `spec.path` for its turn."""
        return await self._job(CREATE, Fields().data(1, _spec(spec)), timeout)

    async def put_job_input(self, id: str, data: bytes, offset: int) -> int:
        """Uploads bytes of the input that `offset` comes before; how many are then safely on the daemon's disk."""
        message = Fields().data(1, id.encode()).number(2, offset)
        async with Conversation(self._pool, PUT, message, takes_messages=True) as stream:
            size = min(MESSAGE_BYTES, stream.largest)
            for start in range(0, len(data), size):
                await stream.send(attachment=data[start : start + size])
            stream.finish()
            answer = await stream.receive()
            if answer is None or await stream.receive() is not None:
                raise SAEError(Status.INTERNAL, "the daemon's answer does not parse")
            return Message(answer.message).number(1)

    async def start_job(self, id: str, input_bytes: int, sha256: bytes, *, timeout: float = 120.0) -> Job:
        """Ends the upload, which must be what is said here; the job waits for its turn."""
        message = Fields().data(1, id.encode()).number(2, input_bytes).data(3, sha256)
        return await self._job(START, message, timeout)

    async def submit_job(self, source: bytes | str | os.PathLike[str], spec: JobSpec = JobSpec()) -> Job:
        """Makes a job of a file, or of bytes, and starts it. Lost connections are made again; with a key the whole may be
        repeated, also by another process: the job of another file is refused (FAILED_PRECONDITION)."""
        size, digest = await asyncio.to_thread(_digest, source)
        most = (await self._pool.link(time.monotonic() + OPENING_TIMEOUT)).server.limits.get("jobs.max_input_bytes", size)
        if size > most:
            message = "the input of a job is over the limit"
            raise SAEError(Status.RESOURCE_EXHAUSTED, message, limit="jobs.max_input_bytes", limit_value=most)
        job = await self.create_job(spec)
        if job.state is not JobState.UPLOADING:
            return await self.start_job(job.id, size, digest)

        async def upload() -> None:
            offset = (await self.job(job.id)).input_bytes
            while offset < size:
                data = await asyncio.to_thread(_part, source, offset)
                if not data:
                    raise SAEError(Status.DATA_LOSS, "the input is shorter than it was")
                offset = await self.put_job_input(job.id, data, offset)

        await persist(upload)
        return await self.start_job(job.id, size, digest)

    async def job(self, id: str, *, timeout: float = 10.0) -> Job:
        """The job as it is now."""
        return await self._job(GET, Fields().data(1, id.encode()), timeout)

    async def jobs(self, *, timeout: float = 10.0) -> list[Job]:
        """All jobs that one may see, newest first."""
        out: list[Job] = []
        token = ""
        while True:
            answer = await self._unary(LIST, Fields().data(2, token.encode()), timeout)
            fields = Message(answer.message)
            out += map(Job.decode, fields.every(1))
            token = fields.text(2)
            if not token:
                return out

    def watch_job(self, id: str) -> AsyncIterator[Job]:
        """The job now, at each change, and about once a second while it advances; ends with the job. Lost connections are
        made again."""
        return updates(self._pool, WATCH, Fields().data(1, id.encode()), Job.decode)

    async def wait_for_job(self, id: str) -> Job:
        """The job when it is done; raises the SAEError of one that failed or was cancelled."""
        last: Job | None = None
        async for job in self.watch_job(id):
            last = job
        if last is None or last.state is not JobState.DONE:
            state = "ended" if last is None else last.state.name.lower()
            code = Status.CANCELLED if last is not None and last.state is JobState.CANCELLED else Status.FAILED_PRECONDITION
            raise SAEError(code, f"job {id} {state}" + (f": {last.error}" if last is not None and last.error else ""))
        return last

    async def fetch_job(self, id: str, file: str, target: str | os.PathLike[str]) -> None:
        """Fetches a file of a finished job to `target`, which appears when it is whole and right. An interrupted fetch goes on
        when it is called again."""
        job = await self.job(id)
        wanted = next((each for each in job.files if each.name == file), None)
        if wanted is None:
            raise SAEError(Status.NOT_FOUND, f"job {id} has no file {file}")
        partial = Path(f"{os.fspath(target)}.{id}.partial")
        with open(partial, "ab") as out:

            async def fetch() -> None:
                while out.tell() < wanted.size:
                    message = Fields().data(1, id.encode()).data(2, file.encode()).number(3, out.tell())
                    async with Conversation(self._pool, OUTPUT, message) as stream:
                        while (part := await stream.receive()) is not None:
                            out.write(part.attachment)

            await persist(fetch)
            out.flush()
            os.fsync(out.fileno())
        with open(partial, "rb") as whole:
            if hashlib.file_digest(whole, "sha256").digest() != wanted.sha256:
                partial.unlink()
                raise SAEError(Status.DATA_LOSS, f"{file} did not arrive as the daemon has it: fetch it again")
        os.replace(partial, target)

    async def cancel_job(self, id: str, *, timeout: float = 10.0) -> Job:
        """Ends a job at its next chunk. On one that has ended it changes nothing."""
        return await self._job(CANCEL, Fields().data(1, id.encode()), timeout)

    async def delete_job(self, id: str, *, timeout: float = 30.0) -> None:
        """Removes an ended job and its files."""
        try:
            await self._unary(DELETE, Fields().data(1, id.encode()), timeout)
        except SAEError as failure:
            # Gone by the attempt whose answer was lost.
            if failure.code != Status.NOT_FOUND or not failure.follows_loss:
                raise

    async def _job(self, method: int, message: Fields, timeout: float) -> Job:
        answer = await self._unary(method, message, timeout)
        try:
            return Job.decode(answer.message)
        except WireError:
            raise SAEError(Status.INTERNAL, "the daemon's answer does not parse") from None

    async def _unary(self, method: int, message: Fields, timeout: float) -> Frame:
        return await self._pool.call(method, message.encoded(), b"", time.monotonic() + timeout)


def _digest(source: bytes | str | os.PathLike[str]) -> tuple[int, bytes]:
    """Bytes and SHA-256."""
    if isinstance(source, bytes):
        return len(source), hashlib.sha256(source).digest()
    with open(source, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
        return file.tell(), digest


def _part(source: bytes | str | os.PathLike[str], offset: int) -> bytes:
    if isinstance(source, bytes):
        return source[offset : offset + PUT_BYTES]
    with open(source, "rb") as file:
        file.seek(offset)
        return file.read(PUT_BYTES)
