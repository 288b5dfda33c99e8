"""Embeds a text column of a Spark DataFrame with sae daemons, each row exactly once.

    from sae_spark import embedded
    rows = spark.read.parquet("texts").select("id", "text")
    embedded(rows, ["unix:/run/sae/sae.sock"]).write.parquet("vectors")

Why a row appears once, whatever is killed: the vector of a text depends on the text and the generation alone, all tasks ask for
the one generation that the driver saw, and Spark's committer lets one attempt of a task commit. An attempt that is repeated
writes the same bytes as the one that was lost.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence

import numpy
import pyarrow
from pyspark import TaskContext
from pyspark.sql import DataFrame
from pyspark.sql.types import ArrayType, FloatType, StringType, StructType
from sae_client import Client, Embeddings, SAEError, Status

#: After these another daemon, or the same one later, may answer.
PASSING = {Status.UNAVAILABLE, Status.RESOURCE_EXHAUSTED, Status.DEADLINE_EXCEEDED}
#: Seconds to wait for a daemon's first word, and for the vectors of a batch.
GREETING_TIMEOUT, CALL_TIMEOUT = 3.0, 20.0

Batches = Iterator[pyarrow.RecordBatch]


def embedded(
    rows: DataFrame,
    endpoints: Sequence[str],
    *,
    text: str = "text",
    vector: str = "vector",
    error: str = "error",
    dimensions: int = 0,
    patience: float = 300.0,
    token_file: str | None = None,
) -> DataFrame:
    """`rows` with two columns more: `vector`, an array of floats, and `error`, null unless the row has no vector.

    `endpoints` are daemons as the executors reach them: one Unix socket that is there on each host, or several addresses, over
    which tasks are spread. The driver has to reach one of them as well: it asks for the generation.

    `dimensions`: leading dimensions, 0 for all. `patience`: seconds for which a task tries daemons that are away or refuse
    before it fails, and Spark runs it again. A text that is null gets neither vector nor error.

    Raises `SAEError` if no daemon answers, `ValueError` for a column that is missing or there already.
    """
    if text not in rows.columns:
        raise ValueError(f"no column {text!r} among {rows.columns}")
    if taken := {vector, error} & set(rows.columns):
        raise ValueError(f"the rows have a column {sorted(taken)[0]!r} already: name another")
    with Daemons(endpoints, 0, patience=patience, token_file=token_file) as daemons:
        generation = daemons.generation()
    schema = StructType(list(rows.schema.fields)).add(vector, ArrayType(FloatType(), False)).add(error, StringType())
    return rows.mapInArrow(
        partition_function(
            endpoints, generation, text=text, vector=vector, error=error, dimensions=dimensions, patience=patience,
            token_file=token_file),
        schema)


def partition_function(
    endpoints: Sequence[str],
    generation: int,
    *,
    text: str = "text",
    vector: str = "vector",
    error: str = "error",
    dimensions: int = 0,
    patience: float = 300.0,
    token_file: str | None = None,
) -> Callable[[Batches], Batches]:
    """What a task does with the Arrow batches of its partition, for `mapInArrow`: adds the columns, row by row in order.

    Vectors are of `generation` (`Info.generation`) alone: once a daemon has another one the task fails, and says so.
    """
    endpoints = list(endpoints)

    def embed(batches: Batches) -> Batches:
        task = TaskContext.get()
        # Partitions are spread over the daemons; an attempt after a failed one begins at another.
        first = task.partitionId() + task.attemptNumber() if task else 0
        with Daemons(endpoints, first, patience=patience, token_file=token_file) as daemons:
            for batch in batches:
                yield with_vectors(batch, daemons, generation, text, vector, error, dimensions)

    return embed


def with_vectors(
    batch: pyarrow.RecordBatch, daemons: Daemons, generation: int, text: str, vector: str, error: str, dimensions: int
) -> pyarrow.RecordBatch:
    texts = batch.column(batch.schema.get_field_index(text)).to_pylist()
    places = [place for place, value in enumerate(texts) if value is not None]
    errors: list[str | None] = [None] * batch.num_rows
    has_vector = numpy.zeros(batch.num_rows, bool)
    values = numpy.zeros((0, 0), numpy.float32)
    if places:
        answer = daemons.embed([texts[place] for place in places], generation, dimensions)
        for failure in answer.errors:
            errors[places[failure.index]] = \
                f"{failure.code.name}: {failure.message}" + (f" ({failure.limit})" if failure.limit else "")
        good = numpy.setdiff1d(numpy.arange(len(places)), [failure.index for failure in answer.errors]).astype(int)
        values = answer.vectors[good]
        has_vector[numpy.array(places)[good]] = True
    ends = numpy.concatenate([[0], numpy.cumsum(has_vector) * values.shape[1]]).astype(numpy.int32)
    vectors = pyarrow.ListArray.from_arrays(
        pyarrow.array(ends), pyarrow.array(values.reshape(-1), pyarrow.float32()), mask=pyarrow.array(~has_vector))
    columns = [*batch.columns, vectors, pyarrow.array(errors, pyarrow.string())]
    return pyarrow.RecordBatch.from_arrays(columns, names=[*batch.schema.names, vector, error])


class Daemons:
    """Daemons of which one is used as long as it answers; then the next."""

    def __init__(self, endpoints: Sequence[str], first: int, *, patience: float, token_file: str | None) -> None:
        if not endpoints:
            raise ValueError("no endpoints")
        self._endpoints, self._at = list(endpoints), first % len(endpoints)
        self._patience, self._token_file = patience, token_file
        self._client: Client | None = None

    def __enter__(self) -> Daemons:
        return self

    def __exit__(self, *_: object) -> None:
        if self._client is not None:
            self._client.close()

    def generation(self) -> int:
        return self._patiently(lambda client: client.info()).generation

    def embed(self, texts: Sequence[str | bytes], generation: int, dimensions: int) -> Embeddings:
        try:
            return self._patiently(
                lambda client: client.embed(texts, dimensions=dimensions, if_generation=generation, timeout=CALL_TIMEOUT))
        except SAEError as failure:
            if failure.code is Status.FAILED_PRECONDITION:
                raise SAEError(
                    failure.code, f"{self._endpoints[self._at]} has another generation than the driver saw ({generation:016x}): "
                    "run the job again once all daemons have the same") from failure
            raise

    def _patiently(self, call):
        end, attempt = time.monotonic() + self._patience, 0
        while True:
            try:
                if self._client is None:
                    self._client = Client(self._endpoints[self._at], token_file=self._token_file)
                    self._client.info(timeout=GREETING_TIMEOUT)
                return call(self._client)
            except SAEError as failure:
                if failure.code not in PASSING or time.monotonic() > end:
                    raise
                wait = max(failure.retry_after, min(2.0, 0.05 * 2**attempt))
            if self._client is not None:
                self._client.close()
            self._client, self._at, attempt = None, (self._at + 1) % len(self._endpoints), attempt + 1
            time.sleep(wait * random.uniform(0.8, 1.2))
