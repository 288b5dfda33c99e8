"""Starts real daemons for tests. TEST_SAE is the program; its log says which ports the kernel chose."""

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "proto-spec"))

import client as script  # noqa: E402  the client in plain Python, which shares no code with the package


class Daemon:
    """A running daemon: `unix`, `tcp` and `http` are where it is. Stopped by `stop`, or killed by `kill`."""

    def __init__(self, *flags, folder=None, setup=None, **variables):
        """`setup` is called in the new process before the program; `variables` join its environment."""
        self.owns_folder = folder is None
        self.folder = pathlib.Path(folder or tempfile.mkdtemp(prefix="sae-test-"))
        path = self.folder / "s"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SAE_")}
        environment |= {"SAE_LOG_FORMAT": "json", **variables}
        self.process = subprocess.Popen(
            [os.environ["TEST_SAE"], "serve", "--listen", "127.0.0.1:0", "--unix", str(path), "--http", "127.0.0.1:0",
             "--drain-lame-duck-ms", "0", "--queue-max-wait-ms", "60000", *flags],
            stderr=subprocess.PIPE, env=environment, preexec_fn=setup)
        self.unix = f"unix:{path}"
        self.log = []
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if not self._ready.wait(60):
            self.kill()
            raise AssertionError(f"the daemon was not ready: {self.log[-3:]}")
        places = [event["endpoint"] for event in self.log if event.get("event") == "listen"]
        self.tcp = next(place for place in places if place.startswith(("tcp:", "tls:")))
        self.http = next(place for place in places if place.startswith(("http:", "https:")))

    def _read(self):
        for line in self.process.stderr:
            with contextlib.suppress(ValueError):
                self.log.append(json.loads(line))
                if self.log[-1].get("event") == "ready":
                    self._ready.set()

    def metric(self, series):
        """The value of a series of /metrics, named as it stands there."""
        page = urllib.request.urlopen(self.http + "/metrics", timeout=10).read().decode()
        return float(next(line for line in page.splitlines() if line.startswith(series + " ")).split()[-1])

    def stop(self):
        self.process.terminate()
        self._end()

    def kill(self):
        self.process.kill()
        self._end()

    def _end(self):
        self.process.wait(30)
        self._reader.join(5)
        self.process.stderr.close()
        if self.owns_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.stop()


def reference(endpoint, texts, encoding="F32", dimensions=0):
    """The attachment of an Embed answer as the script client of proto-spec gets it."""
    with script.Client(endpoint, timeout=60) as client:
        return client.embed([t if isinstance(t, bytes) else t.encode() for t in texts], encoding, dimensions)[2]


def eventually(condition, seconds=20.0):
    """Waits until `condition()` holds; whether it did."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return condition()
