"""Where configuration files are looked up, and what their text says about the options.

Reads YAML as text, with the standard library alone: ``--help`` and ``stages`` must answer at
once. What the values mean is for Hydra and `hpcpipe.config`.
"""

import itertools
import os
import re
import textwrap
from dataclasses import dataclass, replace
from pathlib import Path

_KEY = re.compile(r"([A-Za-z_][\w.-]*):(?:\s+(.*))?$")
GROUPS = ("stage", "pipeline", "launcher", "resources", "site")
"""Folders of choices, in `main_dir` and in the user's own."""

_HIDDEN = ("defaults", "_target_", "hydra")


@dataclass(frozen=True, kw_only=True)
class OptionText:
    """One top-level key of a YAML file.

    Attributes:
        name: the key.
        value: its value as written; "" where it stands on the lines below.
        comment: its comment, joined to one line; "" without one.
        heading: comment lines above a key that has a comment of its own; "" without them.
    """

    name: str
    value: str
    comment: str
    heading: str = ""


def main_dir() -> Path:
    """Find the configuration that comes with hpcpipe.

    Returns:
        ``conf/`` of the checkout, or of the installed package.

    Raises:
        Nothing.
    """
    package = Path(__file__).resolve().parents[1]
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"


def user_dirs() -> list[Path]:
    """List the user's own configuration folders, the one that counts most first.

    Returns:
        Those of ``./conf``, ``$HPCPIPE_CONF`` and ``~/.config/hpcpipe`` that exist.

    Raises:
        Nothing.
    """
    return [path for path in search_dirs()[:-1] if os.path.isdir(path)]


def search_dirs() -> list[Path]:
    """List all folders that configuration files are looked up in, in that order.

    Returns:
        Absolute paths, of folders that do not exist too; hpcpipe's own is the last.

    Raises:
        Nothing.
    """
    candidates = [Path("conf")]
    if named := os.environ.get("HPCPIPE_CONF"):
        candidates.append(Path(named).expanduser())
    candidates.append(Path("~/.config/hpcpipe").expanduser())
    own = dict.fromkeys(path.absolute() for path in candidates if path.resolve() != main_dir())
    return [*own, main_dir()]


def hidden_main_config() -> Path | None:
    """Find a ``config.yaml`` of the user's that is taken instead of hpcpipe's own.

    Returns:
        The file, or None.

    Raises:
        Nothing.
    """
    files = (path / "config.yaml" for path in user_dirs())
    return next((file for file in files if file.is_file()), None)


def group_files(group: str) -> dict[str, Path]:
    """List the choices of a config group.

    Args:
        group: e.g. ``stage``.

    Returns:
        Name -> file, sorted by name; a user's file hides ours of the same name.

    Raises:
        Nothing.
    """
    found: dict[str, Path] = {}
    for folder in [*user_dirs(), main_dir()]:
        for file in (folder / group).glob("*.yaml"):
            if file.is_file():
                found.setdefault(file.stem, file)
    return dict(sorted(found.items()))


def read_text(file: Path) -> str:
    """Read a file for its comments, whatever its encoding.

    Args:
        file: a configuration file.

    Returns:
        Its text.

    Raises:
        OSError: it cannot be read.
    """
    return file.read_text(encoding="utf-8", errors="replace")


def summary(text: str) -> str:
    """Give the first comment line of a YAML file, which says what the file is.

    Args:
        text: the file's text.

    Returns:
        The line without its ``#``; "" where there is none before the first key.

    Raises:
        Nothing.
    """
    for line in text.splitlines():
        if line.startswith("#") and not line.startswith("# @package"):
            return line.lstrip("# ").strip()
        if line.strip() and not line.startswith("#"):
            break
    return ""


def options(text: str, *, has_opening: bool = True) -> list[OptionText]:
    """Read the top-level keys of a YAML file with their comments.

    A comment belongs to a key when it ends the key's line or goes on below it on indented lines.
    Lines right above a key are its comment where it has no other, else a heading for what
    follows; the block that opens the file is neither.

    Args:
        text: the file's text, or a block of it.
        has_opening: the text may begin with a block of comments that is about all of it.

    Returns:
        The options in the file's order, without Hydra's own keys.

    Raises:
        Nothing.
    """
    found: list[OptionText] = []
    above: list[str] = []
    lines = text.splitlines()
    is_opening = has_opening
    for line in lines:
        if match := _KEY.match(line):
            value, comment = _split_comment(match[2] or "")
            before = "" if is_opening else _join(above)
            found.append(
                OptionText(
                    name=match[1],
                    value=value,
                    comment=_join([comment]) or before,
                    heading=before if comment else "",
                )
            )
            above, is_opening = [], False
        elif line.startswith("#"):
            above.append(line)
        elif line.strip().startswith("#") and found:
            last = found[-1]
            comment = _join([last.comment, line.strip()])
            found[-1] = replace(last, comment=comment)
        else:
            above, is_opening = [], is_opening and not line.strip() and not above
    return [option for option in found if option.name not in _HIDDEN]


def defaults(text: str) -> list[str]:
    """List the files of the same group that a file builds on, as far as it names them plainly.

    Args:
        text: the file's text.

    Returns:
        Names in their order, without ``_self_`` and without choices of other groups.

    Raises:
        Nothing.
    """
    inline = re.search(r"^defaults:\s*\[([^]]*)\]", text, re.MULTILINE)
    items = inline[1].split(",") if inline else block(text, "defaults").splitlines()
    names = [item.partition("#")[0].strip().removeprefix("- ").strip() for item in items]
    return [name for name in names if re.fullmatch(r"\w[\w.-]*", name) and name != "_self_"]


def block(text: str, key: str) -> str:
    """Take the lines that stand below a top-level key.

    Args:
        text: the file's text, or a block of it.
        key: the key.

    Returns:
        The lines, moved to the left; "" where there are none.

    Raises:
        Nothing.
    """
    lines = text.splitlines()
    after = itertools.dropwhile(lambda line: not line.startswith(f"{key}:"), lines)
    inner = itertools.takewhile(lambda line: not line.strip() or line[0] == " ", [*after][1:])
    return textwrap.dedent("\n".join(inner))


def _join(comments: list[str]) -> str:
    return " ".join(comment.lstrip("# ").strip() for comment in comments if comment).strip()


def _split_comment(rest: str) -> tuple[str, str]:
    """Split what follows ``key:`` into value and comment, leaving ``#`` in quotes alone."""
    quote = ""
    for index, char in enumerate(rest):
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"" and not rest[:index].strip():
            quote = char
        elif char == "#" and (index == 0 or rest[index - 1] in " \t"):
            return rest[:index].strip(), rest[index:]
    return rest.strip(), ""
