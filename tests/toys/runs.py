"""Configs and runs of toy stages for the tests."""

import os
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from hpcpipe.config import Config, from_omegaconf
from hpcpipe.launch.start import Started, start
from hpcpipe.manifest.journal import Event, JournalReader
from hpcpipe.manifest.rundir import RunDir
from hpcpipe.manifest.state import RunState
from hpcpipe.runtime.results import open_state

CONF = Path(__file__).parents[2] / "conf"
TOYS = Path(__file__).parent / "conf"

FAST = {"backoff_s": 0.01, "lease_s": 1.0, "heartbeat_s": 0.1, "linger_s": 5.0}


def toy_config(
    folder: Path, name: str = "toy", *, launcher: str = "slurm", **values: Any
) -> Config:
    """A config of a toy stage; keys with two underscores are nested (``run__lease_s``)."""
    cfg = OmegaConf.load(CONF / "config.yaml")
    for key in ("defaults", "hydra"):
        del cfg[key]
    for group, choice in (("launcher", launcher), ("resources", "cpu"), ("site", "default")):
        cfg[group] = OmegaConf.load(CONF / group / f"{choice}.yaml")
    cfg.stage = OmegaConf.load(TOYS / "stage" / f"{name}.yaml")
    cfg.paths.runs = str(folder / "runs")
    cfg.stage.input = str(folder / "in")
    for key, value in FAST.items():
        cfg.run[key] = value
    for key, value in values.items():
        OmegaConf.update(cfg, key.replace("__", "."), value)
    return from_omegaconf(cfg, name)


def write_inputs(folder: Path, **texts: str) -> None:
    """Write input files: name -> text."""
    (folder / "in").mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / "in" / f"{name}.txt").write_text(text)


def run_here(config: Config) -> Started:
    """Run in this process."""
    return start(config, "here")


def state_of(run_dir: Path, config: Config) -> RunState:
    """The run's state now."""
    return open_state(RunDir(run_dir), config)[0]


def events_of(run_dir: Path, *kinds: str) -> list[Event]:
    """All events of some kinds."""
    return [e for _, e in JournalReader(run_dir / "journal", Event).read() if e.event in kinds]


def parts_left(folder: Path) -> list[Path]:
    """Temporary files below a folder, from which others may still remove something."""
    return [
        Path(where, name)
        for where, folders, names in os.walk(folder)
        for name in (*folders, *names)
        if name.endswith(".part")
    ]
