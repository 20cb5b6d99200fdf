"""A real object store (SeaweedFS) on loopback for as long as a ``with`` block lasts."""

import os
import subprocess
import sysconfig
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.ports import free_ports
from tests.servers.s3 import CREDENTIALS, START_TIMEOUT_S, S3Server

PORTS = ("master", "volume", "filer", "s3")


@contextmanager
def seaweedfs_server() -> Iterator[S3Server]:
    """Run a server that keeps its data in a temporary folder.

    Raises:
        TimeoutError: it did not come up.
    """
    with tempfile.TemporaryDirectory(prefix="hpcpipe-weed-", dir="/tmp") as name:
        folder = Path(name)
        ports = iter(free_ports(2 * len(PORTS)))
        command = [str(Path(sysconfig.get_path("scripts")) / "weed"), "server", f"-dir={folder}"]
        command += ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false"]
        command += ["-s3", "-s3.port.iceberg=0", "-s3.port.lance=0"]
        # every bucket takes volumes of its own, seven at a time
        command += ["-master.volumeSizeLimitMB=64", "-volume.max=500"]
        for part in PORTS:
            command += [f"-{part}.port={(port := next(ports))}", f"-{part}.port.grpc={next(ports)}"]
        with (folder / "weed.log").open("wb") as log:
            process = subprocess.Popen(
                command,
                env=os.environ | CREDENTIALS,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            server = S3Server(f"http://127.0.0.1:{port}")
            _wait_until_healthy(process, server.url, folder / "weed.log")
            yield server
        finally:
            process.kill()
            process.wait()


def _wait_until_healthy(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}/healthz", timeout=2):
                return
        except OSError:
            time.sleep(0.05)
    raise TimeoutError(f"SeaweedFS did not come up: {log.read_text()[-2000:]}")
