"""A real nginx on loopback for as long as a ``with`` block lasts: HTTP/1.1, and HTTP/2 over TLS."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.servers.ports import free_ports

START_TIMEOUT_S = 60.0
CONFIG = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 4096; }}
http {{
    types {{ image/jpeg jpg; text/plain txt; application/json json; }}
    default_type application/octet-stream;
    log_format plain '$server_protocol $connection';
    access_log {folder}/access.log plain;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    sendfile on;
    keepalive_requests 1000000;
    server {{ listen {port}; root {root}; gzip on; gzip_types text/plain; }}
    server {{
        listen {tls_port} ssl http2;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        root {root};
    }}
}}
"""


@dataclass(frozen=True)
class Nginx:
    """A running server; it listens on every loopback address.

    Attributes:
        port: for HTTP/1.1.
        tls_port: for HTTPS, with HTTP/1.1 and HTTP/2.
        access_log: protocol and number of the connection, for every request.
    """

    port: int
    tls_port: int
    access_log: Path


@contextmanager
def nginx_server(root: Path, certificate: Path, key: Path) -> Iterator[Nginx]:
    """Serve the files of a folder.

    Raises:
        OSError: nginx is not installed.
        RuntimeError: it does not come up.
    """
    port, tls_port = free_ports(2)
    program = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin") or "nginx"
    with tempfile.TemporaryDirectory(prefix="hpcpipe-nginx-") as folder:
        config = Path(folder) / "nginx.conf"
        config.write_text(
            CONFIG.format(
                folder=folder,
                root=root,
                port=port,
                tls_port=tls_port,
                certificate=certificate,
                key=key,
            )
        )
        process = subprocess.Popen(
            [program, "-p", folder, "-c", str(config), "-e", f"{folder}/error.log"]
        )
        try:
            _wait_until_up(process, port, Path(folder) / "error.log")
            yield Nginx(port, tls_port, Path(folder) / "access.log")
        finally:
            process.terminate()
            process.wait()


def _wait_until_up(process: subprocess.Popen, port: int, log: Path) -> None:
    end = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < end and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"nginx did not come up: {log.read_text() if log.exists() else ''}")
