"""Client of the sae text-embedding daemon: `Client` for threads, `AsyncClient` for asyncio."""

from ._administration import DrainReport, ReloadReport
from ._aio import AsyncClient
from ._jobs import Job, JobFile, JobSpec, JobState
from ._sync import Client
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

__all__ = [
    "AsyncClient",
    "Client",
    "DrainReport",
    "Embeddings",
    "Encoding",
    "Info",
    "Job",
    "JobFile",
    "JobSpec",
    "JobState",
    "ReloadReport",
    "RowError",
    "SAEError",
    "ServingStatus",
    "Similarities",
    "Status",
    "TextTrace",
    "TokenizedText",
]
