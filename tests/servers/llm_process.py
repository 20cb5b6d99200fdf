"""Servers of language models as processes of their own."""

import contextlib
import http.client
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from tests.servers.ports import free_ports
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]


def command(name: str, port: object, *arguments: object) -> list[str]:
    """What starts ``tests/servers/NAME.py`` from the repository's folder."""
    return [sys.executable, "-m", f"tests.servers.{name}", str(port), *map(str, arguments)]


def answers(url: str) -> bool:
    """Whether HTTP comes from there, other than that its model is being loaded."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    try:
        connection.request("GET", "/health")  # llama.cpp's; 404 elsewhere
        return connection.getresponse().status != 503
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


@contextlib.contextmanager
def llm_server(name: str, *arguments: object, port: int | None = None) -> Iterator[str]:
    """A server for as long as a ``with`` block lasts; gives its URL."""
    chosen = port or free_ports(1)[0]
    url = f"http://127.0.0.1:{chosen}"
    process = subprocess.Popen(
        command(name, chosen, *arguments),
        cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_until(lambda: process.poll() is not None or answers(url))
        assert process.poll() is None, f"{name} has ended"
        yield url
    finally:
        process.kill()
        process.wait()
