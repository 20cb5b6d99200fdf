"""A stand-in for the launch, for tests of what is composed."""

from pathlib import Path

import pytest

from hpcpipe.config import Config
from hpcpipe.errors import PlanError
from hpcpipe.launch.start import Started


class Launcher:
    """Stands in for the launch: keeps what it was asked to start."""

    def __init__(self) -> None:
        self.configs: list[Config] = []
        self.modes: list[str] = []
        self.followed: list[Path] = []
        self.codes: dict[str, int] = {}

    def start(self, config: Config, mode: str, sources: object = None) -> Started:
        self.configs.append(config)
        self.modes.append(mode)
        if getattr(config.stage, "mode", "") == "words" and "unplannable" in config.run_name:
            raise PlanError("nothing to do")
        code = self.codes.get(str(config.stage.input).rpartition("/")[2], 0)
        return Started(Path(config.run_dir), code, is_waiting=mode == "submit")

    def follow(self, run_dirs: list[Path]) -> int:
        self.followed += run_dirs
        return 3


@pytest.fixture
def launcher(monkeypatch: pytest.MonkeyPatch) -> Launcher:
    """Nothing is started; the fixture keeps the configurations."""
    fake = Launcher()
    monkeypatch.setattr("hpcpipe.launch.start.start", fake.start)
    monkeypatch.setattr("hpcpipe.launch.start.follow", fake.follow)
    return fake
