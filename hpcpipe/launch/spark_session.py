"""The Spark session that workers are tasks of: the one that is open, or one of our own."""

import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hpcpipe.config import Config
from hpcpipe.errors import LaunchError, missing_extra

if TYPE_CHECKING:
    from pyspark import SparkContext

_TRACEBACK = "Traceback (most recent call last):"


def check_available(config: Config) -> None:
    """Make sure that there can be a Spark session, before anything is made.

    Args:
        config: the config.

    Raises:
        LaunchError: there is no Java, or workers are to have GPUs.
        SetupError: pyspark is not installed.
    """
    try:
        import pyspark  # noqa: F401
    except ImportError as error:
        raise missing_extra("pyspark", "spark", "launcher=spark") from error
    home = os.environ.get("JAVA_HOME")
    java = os.path.join(home, "bin", "java") if home else "java"
    if shutil.which(java) is None:
        raise LaunchError(
            f"there is no {java} on this machine, which launcher=spark needs: install Java 17 or "
            "newer (on Debian: apt-get install openjdk-17-jre-headless), or set JAVA_HOME to it"
        )
    if config.resources.gpus:
        raise LaunchError(
            f"resources.gpus={config.resources.gpus}: launcher=spark gives workers no GPUs of "
            "their own; use launcher=slurm or launcher=local, or give resources.gpus=0"
        )


@contextmanager
def spark_context(master: str | None, name: str) -> Iterator["SparkContext"]:
    """Have a Spark session: the one that is open, else a new one that ends with this.

    Args:
        master: which Spark; None for the one that is open, or that Spark's own settings name.
        name: what a new one is called in Spark's pages.

    Yields:
        Its context.

    Raises:
        LaunchError: there is none to be had, or another one is open.
    """
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    is_ours = SparkContext._active_spark_context is None
    builder = SparkSession.builder
    if is_ours:
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        builder = builder.appName(name).config("spark.ui.showConsoleProgress", "false")
        builder = builder.master(master) if master else builder
    try:
        with _interrupts_kept():
            session = builder.getOrCreate()
        context = session.sparkContext
    except Exception as error:  # of py4j, of pyspark, or plain ones
        asked = f" (launcher.master={master})" if master else ""
        raise LaunchError(f"Spark gives no session{asked}, see above: {reason(error)}") from error
    try:
        if master not in (None, context.master):
            raise LaunchError(
                f"launcher.master={master}, and a session at {context.master} is open: stop it, "
                "or leave launcher.master out to work in it"
            )
        yield context
    finally:
        if is_ours:
            session.stop()


@contextmanager
def _interrupts_kept() -> Iterator[None]:
    """Undo that Spark takes Ctrl-C to itself when a session begins."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)


def reason(error: BaseException) -> str:
    """Pick what Spark says out of its pages of stack traces.

    Args:
        error: py4j's, whose second line has Java's message, or any other.

    Returns:
        One line.

    Raises:
        Nothing.
    """
    lines = str(error).splitlines() or [type(error).__name__]
    at = next((n for n, line in enumerate(lines) if line.startswith(": ")), 0)
    said = lines[at].removeprefix(": ")
    if said.endswith(_TRACEBACK):
        raised = next((line for line in lines[at + 1 :] if line[:1].strip()), "")
        said = said.removesuffix(_TRACEBACK) + raised
    return said
