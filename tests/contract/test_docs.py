"""What the documents name is there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("page", ["docs/reliability.md", "docs/architecture.md", "CONTRIBUTING.md"])
def test_every_test_that_a_page_names_is_there(page):
    named = re.findall(r"`(tests/[\w/.]+)`", (ROOT / page).read_text())
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize(
    "package",
    ["stage", "manifest", "runtime", "launch", "compose", "formats", "clients", "models"],
)
def test_the_map_of_a_package_names_every_module_and_no_other(package):
    folder = ROOT / "hpcpipe" / package
    lines = (ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or "").splitlines()
    named = {
        name
        for line in lines
        if (columns := re.match(r"    ([\w, ]+?)(?:  |$)", line))
        for name in columns[1].split(", ")
    }
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    assert named == modules
