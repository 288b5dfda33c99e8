"""Client of the sae text-embedding daemon: `Client` for threads, `AsyncClient` for asyncio."""

from ._aio import AsyncClient
from ._sync import Client
from ._types import Embeddings, Encoding, Info, RowError, SAEError, Similarities, Status, TokenizedText

__all__ = [
    "AsyncClient",
    "Client",
    "Embeddings",
    "Encoding",
    "Info",
    "RowError",
    "SAEError",
    "Similarities",
    "Status",
    "TokenizedText",
]
