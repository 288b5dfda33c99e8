"""Client of the sae text-embedding daemon: `Client` for threads, `AsyncClient` for asyncio."""

from ._aio import AsyncClient
from ._jobs import Job, JobFile, JobSpec, JobState
from ._sync import Client
from ._types import Embeddings, Encoding, Info, RowError, SAEError, Similarities, Status, TokenizedText

__all__ = [
    "AsyncClient",
    "Client",
    "Embeddings",
    "Encoding",
    "Info",
    "Job",
    "JobFile",
    "JobSpec",
    "JobState",
    "RowError",
    "SAEError",
    "Similarities",
    "Status",
    "TokenizedText",
]
