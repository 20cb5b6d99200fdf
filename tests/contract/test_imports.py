"""Who may import whom: arrows run one way, and heavy libraries wait until they are used."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "hpcpipe"

BASE = {"", "stage", "errors", "console"}
CONFIG = BASE | {"config"}
MAY_IMPORT = {
    "stage": set(),
    "errors": set(),
    "console": set(),
    "formats": BASE | {"formats"},
    "clients": BASE | {"clients"},
    "models": BASE | {"formats", "models"},
    "stages": BASE | {"formats", "clients", "models"},
    "config": CONFIG,
    "manifest": BASE | {"formats", "manifest"},
    "runtime": CONFIG | {"formats", "manifest", "runtime"},
    "launch": CONFIG | {"formats", "models", "manifest", "runtime", "launch"},
}
"""First part of a module's name -> first parts it may import; who is not here may import all."""


def imported(file: Path) -> set[str]:
    """Names of hpcpipe modules that a file imports anywhere, without the leading package."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.removeprefix("hpcpipe").lstrip(".") for name in names if is_ours(name)}


def is_ours(name: str) -> bool:
    return name.split(".")[0] == "hpcpipe"


def first_part(name: str) -> str:
    """The package or top-level module a name lies in; "" for what hpcpipe itself exports."""
    part = name.split(".")[0]
    return part if (PACKAGE / part).is_dir() or (PACKAGE / f"{part}.py").is_file() else ""


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_go_one_way(file):
    owner = file.relative_to(PACKAGE).with_suffix("").parts[0]
    names = imported(file)
    if owner in MAY_IMPORT:
        assert {first_part(name) for name in names} <= MAY_IMPORT[owner] | {owner}
    if owner == "stages":
        others = {name.split(".")[1] for name in names if name.startswith("stages.")}
        public = {name for name in others if not name.startswith("_")}
        # A stage's private parts may name its class in their annotations.
        assert len(public) <= (1 if file.stem.startswith("_") else 0)


def test_the_rule_sees_imports_within_functions(tmp_path):
    file = tmp_path / "x.py"
    file.write_text(
        "def f():\n    from hpcpipe.launch import start\n    import hpcpipe.compose as a\n"
    )
    assert imported(file) == {"launch.start", "compose"}
