"""Calling Hydra: from flags and overrides, or for one configuration. Nothing else is done here."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from hpcpipe.compose import conf_files, hydra_errors
from hpcpipe.compose.arguments import MULTIRUN_FLAGS

if TYPE_CHECKING:
    from omegaconf import DictConfig


def call_main(
    flags: Sequence[str], overrides: list[str], task: Callable[["DictConfig"], None]
) -> None:
    """Have Hydra's main call a function with every configuration that the arguments ask for.

    Args:
        flags: Hydra's flags; with ``--cfg`` it prints, and calls nothing.
        overrides: ``KEY=VALUE``; with ``-m`` commas make a sweep.
        task: what is called; it must not raise, or Hydra prints a traceback and for some types
            skips the other runs.

    Raises:
        ConfigError: Hydra refused the arguments.
    """
    import hydra

    register_search_path()
    is_multirun = any(flag in MULTIRUN_FLAGS for flag in flags)
    run = hydra.main(
        config_path=str(conf_files.main_dir()), config_name="config", version_base="1.3"
    )(task)
    with tempfile.TemporaryDirectory(prefix="hpcpipe-") as folder:
        # Hydra wants to write a multirun.yaml with every value; it goes where nobody reads it.
        sweep_dir = [f"hydra.sweep.dir={hydra_errors.quote_value(folder)}"] if is_multirun else []
        arguments = [*flags, *sweep_dir, *overrides]
        with hydra_errors.in_our_words(overrides), _as_process_arguments(arguments):
            run()


def compose_one(overrides: list[str]) -> "DictConfig":
    """Have Hydra compose one configuration.

    Args:
        overrides: choices and ``KEY=VALUE``.

    Returns:
        The configuration, without ``hydra``.

    Raises:
        ConfigError: Hydra refused the overrides.
    """
    import hydra

    register_search_path()
    with (
        hydra_errors.in_our_words(overrides),
        hydra.initialize_config_dir(str(conf_files.main_dir()), version_base="1.3"),
    ):
        return hydra.compose("config", overrides)


@contextlib.contextmanager
def _as_process_arguments(args: list[str]) -> Iterator[None]:
    """Hand arguments to Hydra, and have it raise its errors instead of printing them."""
    saved_args, saved_env = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv = ["hpcpipe", *args]
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    finally:
        sys.argv = saved_args
        del os.environ["HYDRA_FULL_ERROR"]
        if saved_env is not None:
            os.environ["HYDRA_FULL_ERROR"] = saved_env


def register_search_path() -> None:
    """Have Hydra look into the user's own folders before ours.

    ``searchpath`` and ``--config-dir`` come after the main folder, so only a plugin can do it.

    Raises:
        Nothing.
    """
    from hydra.core.config_search_path import ConfigSearchPath
    from hydra.core.plugins import Plugins
    from hydra.plugins.search_path_plugin import SearchPathPlugin

    class UserFolders(SearchPathPlugin):
        def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
            for folder in reversed(conf_files.user_dirs()):
                search_path.prepend(provider="hpcpipe-user", path=f"file://{folder}")

    plugins = Plugins.instance()
    if not any(cls.__name__ == "UserFolders" for cls in plugins.discover(SearchPathPlugin)):
        plugins.register(UserFolders)
