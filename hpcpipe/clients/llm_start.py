"""Servers that a worker starts for itself, restarts when they die, and stops at its end."""

import contextlib
import logging
import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from hpcpipe.clients import llm_guard
from hpcpipe.errors import ConfigError, SetupError

logger = logging.getLogger(__name__)

_GRACE_S = 10.0
_RESTART_AFTER_S = 5.0
_TAIL_BYTES, _TAIL_LINES = 4096, 8


class StartedServers:
    """Servers of one command; a context manager that stops them."""

    def __init__(self, command: str, num: int, folder: Path) -> None:
        """Start nothing yet.

        Args:
            command: starts a server; ``{port}`` and ``{gpu}`` are replaced. No shell reads it.
            num: how many servers.
            folder: for what they write to their standard output and error.

        Raises:
            ConfigError: the command cannot be split into words.
            OSError: no port is free.
        """
        gpus = [gpu for gpu in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if gpu]
        self._servers = [
            _Started(
                words(command, port, gpus[index % len(gpus)] if gpus else ""),
                port,
                folder / f"llm-server-{index}.log",
            )
            for index, port in enumerate(_free_ports(num))
        ]

    @property
    def urls(self) -> list[str]:
        """Where they are. Raises nothing."""
        return [server.url for server in self._servers]

    def __enter__(self) -> "StartedServers":
        for server in self._servers:
            server.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for server in self._servers:
            server.let_go()
        for server in self._servers:
            server.wait()

    def check(self, url: str) -> None:
        """See that a server that does not answer is still starting.

        Args:
            url: the server's.

        Returns:
            Nothing.

        Raises:
            SetupError: it has ended; with the last lines it wrote.
        """
        for server in self._servers:
            if server.url == url and server.status() is not None:
                raise SetupError(
                    f"stage.servers.start.command: {shlex.join(server.command)} has ended with "
                    f"status {server.status()}:\n{server.tail()}"
                )

    def restart_dead(self) -> None:
        """Start servers again that have ended, each at its port. Raises OSError."""
        for server in self._servers:
            if server.status() is not None and time.monotonic() - server.began >= _RESTART_AFTER_S:
                logger.warning(
                    "%s has ended with status %s, and is started again; its last lines:\n%s",
                    *(shlex.join(server.command), server.status(), server.tail()),
                )
                server.let_go()
                server.start()


class _Started:
    """One server: the guard beside it, and the pipe that the guard reads."""

    def __init__(self, command: Sequence[str], port: int, log: Path) -> None:
        self.command = command
        self.url = f"http://127.0.0.1:{port}"
        self.began = 0.0
        self._log = log
        self._guard: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        guard = [sys.executable, "-E", "-S", llm_guard.__file__, str(_GRACE_S), *self.command]
        with self._log.open("ab") as log:
            self._guard = subprocess.Popen(
                guard, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
            )
        self.began = time.monotonic()

    def status(self) -> int | None:
        return None if self._guard is None else self._guard.poll()

    def let_go(self) -> None:
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.close()

    def wait(self) -> None:
        if self._guard is None:
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._guard.wait(2 * _GRACE_S)

    def tail(self) -> str:
        with self._log.open("rb") as log:
            log.seek(max(0, self._log.stat().st_size - _TAIL_BYTES))
            lines = log.read().decode(errors="replace").splitlines()
        return "\n".join(lines[-_TAIL_LINES:]) or "(it wrote nothing)"


def words(command: str, port: int, gpu: str) -> list[str]:
    """Split a command into words, with a server's port and GPU.

    Args:
        command: as a shell would read it, but that nothing is expanded.
        port: replaces ``{port}``.
        gpu: replaces ``{gpu}``.

    Returns:
        The words.

    Raises:
        ConfigError: a quote is not closed, there is no word, or no ``{port}``.
    """
    try:
        split = shlex.split(command)
    except ValueError as error:
        raise ConfigError(f"stage.servers.start.command: {error}: {command}") from error
    if "{port}" not in command:
        raise ConfigError(
            "stage.servers.start.command has no {port}: each server gets a free port, which the "
            "command has to pass on; for Ollama: env OLLAMA_HOST=127.0.0.1:{port} ollama serve"
        )
    return [word.replace("{port}", str(port)).replace("{gpu}", gpu) for word in split]


def _free_ports(num: int) -> list[int]:
    """Ports that nobody listens on now; all are held until all are known, so that they differ."""
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(num)]
        return [one.getsockname()[1] for one in held]
