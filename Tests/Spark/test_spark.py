"""The partition function of deploy/spark in a real Spark, with two real daemons: tasks are killed and a daemon as well, and each
row is there once, bit for bit what `sae embed` gives. See scripts/test-spark.sh."""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

import numpy
import pyarrow.parquet
from pyspark import TaskContext
from pyspark.sql import SparkSession

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "Tests/Python"), str(ROOT / "deploy/spark")]

from daemon import Daemon, eventually  # noqa: E402
from sae_client import Client, SAEError, Status  # noqa: E402
from sae_spark import embedded, partition_function  # noqa: E402

ROWS, PARTITIONS, BATCH = 40_000, 8, 1_000
#: Daemons whose vectors meet have one scorer.
FLEET = {"SAE_MODEL_SCORER": "int8"}
#: Where tasks leave word that they were there, so that what kills does so once.
MARKS = pathlib.Path(tempfile.mkdtemp(prefix="sae-spark-"))


def text(number):
    return f"Row {number} tells of a cat number {number % 97} and the river {number * 7919 % 10_007}."


def vectors_of(texts):
    """What the engine gives in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        lines, out = pathlib.Path(folder) / "lines", pathlib.Path(folder) / "out.npy"
        lines.write_text("".join(line + "\n" for line in texts))
        subprocess.run([os.environ["TEST_SAE"], "embed", "--scorer", "int8", "--input", str(lines), "--output", str(out)], check=True, timeout=300)
        return numpy.load(out)


def dying(function, partition, after, victim=None):
    """`function`, whose first attempt at a partition kills another process and its own after some batches."""
    def run(batches):
        task = TaskContext.get()
        (MARKS / f"{task.partitionId()}-{task.attemptNumber()}").touch()
        for number, batch in enumerate(function(batches)):
            if task.partitionId() == partition and task.attemptNumber() == 0 and number == after:
                if victim is not None:
                    os.kill(victim, signal.SIGKILL)
                os.kill(os.getpid(), signal.SIGKILL)
            yield batch
    return run


class Spark(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # Two tasks at once, each tried up to four times, as in a cluster; a master without the 4 gives up at the first failure.
        cls.spark = (
            SparkSession.builder.master("local[2,4]").appName("sae")
            .config("spark.sql.execution.arrow.maxRecordsPerBatch", BATCH).config("spark.ui.enabled", "false")
            .config("spark.driver.host", "127.0.0.1").config("spark.driver.bindAddress", "127.0.0.1")
            .config("spark.sql.shuffle.partitions", 2).getOrCreate())
        cls.spark.sparkContext.setLogLevel("OFF")
        # As `--py-files` does.
        cls.spark.sparkContext.addPyFile(str(ROOT / "deploy/spark/sae_spark.py"))
        cls.expected = vectors_of([text(number) for number in range(ROWS)])

    @classmethod
    def tearDownClass(cls):
        cls.spark.stop()
        shutil.rmtree(MARKS)

    def rows(self):
        numbers = self.spark.range(0, ROWS, 1, PARTITIONS)
        return numbers.rdd.map(lambda row: (row.id, text(row.id))).toDF(["id", "text"])

    def check(self, folder):
        table = pyarrow.parquet.read_table(folder)
        ids = table.column("id").to_numpy()
        self.assertEqual(len(ids), ROWS)
        self.assertTrue(numpy.array_equal(numpy.sort(ids), numpy.arange(ROWS)), "each row once")
        self.assertEqual(table.column("error").null_count, ROWS)
        self.assertEqual(table.column("vector").null_count, 0)
        vectors = numpy.concatenate([chunk.flatten().to_numpy() for chunk in table.column("vector").chunks]).reshape(ROWS, -1)
        self.assertEqual(vectors.tobytes(), self.expected[ids].tobytes(), "bit for bit")
        self.assertEqual(table.column("text").to_pylist(), [text(number) for number in ids])

    def test_tasks_and_a_daemon_are_killed_and_each_row_is_there_once(self):
        with Daemon(**FLEET) as one, Daemon(**FLEET) as two, tempfile.TemporaryDirectory() as folder:
            endpoints = [one.tcp, two.unix]
            with Client(one.tcp) as client:
                generation = client.info().generation
            rows = self.rows()
            schema = embedded(rows, endpoints).schema
            function = partition_function(endpoints, generation)
            # A task dies in its middle, and later another one together with a daemon, for which the other has to stand in.
            rows.mapInArrow(dying(dying(function, 1, 2), 4, 3, victim=two.process.pid), schema).write.parquet(folder + "/out")
            attempts = sorted(path.name for path in MARKS.iterdir())
            self.assertIn("1-1", attempts)
            self.assertIn("4-1", attempts)
            self.assertTrue(eventually(lambda: two.process.poll() is not None))
            self.assertTrue((pathlib.Path(folder) / "out/_SUCCESS").exists())
            self.check(folder + "/out")

    def test_both_daemons_get_work_and_errors_stand_beside_their_rows(self):
        with Daemon("--limits-max-text-bytes", "60", **FLEET) as one, Daemon("--limits-max-text-bytes", "60", **FLEET) as two:
            texts = ["a cat", None, "", "é" * 60, "a dog"] * 20
            good = {0: vectors_of(["a cat"])[0], 4: vectors_of(["a dog"])[0]}
            rows = self.spark.createDataFrame(list(enumerate(texts)), "id long, text string").repartition(4)
            out = {row.id: row for row in embedded(rows, [one.unix, two.unix], dimensions=64).collect()}
            self.assertEqual(sorted(out), list(range(100)))
            for number, row in out.items():
                kind = number % 5
                self.assertEqual(row.vector is None, kind in (1, 2, 3), (number, row.error))
                self.assertEqual(row.error is None, kind in (0, 1, 4), (number, row.error))
                if kind in (0, 4):
                    leading = good[kind][:64] / numpy.linalg.norm(good[kind][:64])
                    self.assertLess(numpy.abs(leading - numpy.array(row.vector)).max(), 1e-6)
                if kind == 3:
                    self.assertIn("limits.max_text_bytes", row.error)
            for daemon in (one, two):
                self.assertGreater(daemon.metric('sae_pieces_total'), 0)

    def test_another_generation_fails_the_job_and_a_column_that_is_missing_is_named(self):
        with Daemon(**FLEET) as daemon:
            rows = self.spark.createDataFrame([(1, "a cat")], "id long, text string")
            wrong = rows.mapInArrow(partition_function([daemon.unix], 7), embedded(rows, [daemon.unix]).schema)
            with self.assertRaisesRegex(Exception, "has another generation than the driver saw"):
                wrong.collect()
            with self.assertRaisesRegex(ValueError, "no column 'body'"):
                embedded(rows, [daemon.unix], text="body")
            with self.assertRaisesRegex(ValueError, "'text' already"):
                embedded(rows, [daemon.unix], vector="text")
        with self.assertRaises(SAEError) as failure:
            embedded(rows, [daemon.unix], patience=0)
        self.assertIn(failure.exception.code, (Status.UNAVAILABLE, Status.DEADLINE_EXCEEDED))


if __name__ == "__main__":
    unittest.main(warnings="ignore")  # of PySpark, about its own files
