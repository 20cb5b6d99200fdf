"""An S3-compatible server on loopback (moto) for as long as a ``with`` block lasts."""

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

START_TIMEOUT_S = 60.0
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@dataclass(frozen=True)
class S3Server:
    """A running server.

    Attributes:
        url: its address, ``http://127.0.0.1:PORT``.
    """

    url: str

    @property
    def env(self) -> dict[str, str]:
        """Environment variables with which any S3 client finds it."""
        return CREDENTIALS | {"AWS_ENDPOINT_URL": self.url}


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """Run a server on a port of its own choice.

    Raises:
        TimeoutError: it did not come up.
    """
    # port 0: the kernel chooses, and the server says which in its log
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with tempfile.NamedTemporaryFile() as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        try:
            yield S3Server(_wait_for_url(process, Path(log.name)))
        finally:
            process.kill()
            process.wait()


def _wait_for_url(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        if found := re.search(r"http://127\.0\.0\.1:\d+", log.read_text()):
            return found.group()
        time.sleep(0.05)
    raise TimeoutError(f"the S3 server did not come up: {log.read_text()}")
