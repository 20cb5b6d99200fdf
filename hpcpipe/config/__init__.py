"""The configuration as everything below the command line sees it: typed, frozen, checked.

``options.py`` has the records, ``config.py`` what a run is made of, ``convert.py`` the checks and
their messages, ``resolve.py`` interpolations and paths, ``stored.py`` what goes to the disk,
``version.py`` whether what comes from there fits.
"""

from hpcpipe.config.config import CONFIG_FILE, Config, from_omegaconf, load
from hpcpipe.config.options import (
    LAUNCHERS,
    Launcher,
    LocalLauncher,
    Resources,
    RunOptions,
    ScriptLauncher,
    Site,
    SlurmLauncher,
    SparkLauncher,
)

__all__ = [
    "CONFIG_FILE",
    "LAUNCHERS",
    "Config",
    "Launcher",
    "LocalLauncher",
    "Resources",
    "RunOptions",
    "ScriptLauncher",
    "Site",
    "SlurmLauncher",
    "SparkLauncher",
    "from_omegaconf",
    "load",
]
