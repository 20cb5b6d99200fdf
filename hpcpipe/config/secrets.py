"""Refusing what would be stored for others to read: tokens and passwords typed as options.

A run directory keeps its configuration, its plan and the commands that launched it, and teams share
it. What is read from the environment (``${oc.env:NAME}``) is never stored.
"""

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from hpcpipe.errors import ConfigError

_NAME = re.compile(
    r"(?:.*_)?(?:(?:api|access|auth|bearer|hub|hf|github|wandb)_?(?:token|key)"
    r"|secret(?:_?key)?|passw(?:or)?d|passphrase|credentials?|private_key)|token",
    re.IGNORECASE,
)
_VALUE = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{20,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}"
    r"|sk-(?:proj-|ant-)?[A-Za-z0-9_]{32,}|A(?:KIA|SIA)[A-Z0-9]{16})\b"
)
_IN_URL = re.compile(r"://[^/@\s:]+:[^/@\s]+@")

_IN_SCRIPT = re.compile(
    r"\$\{oc\.env:(\w*(?:TOKEN|SECRET|PASSW|API_?KEY|CREDENTIAL)\w*)", re.IGNORECASE
)
_FROM_ENVIRONMENT = re.compile(r"\$\{oc\.env:(\w+)")
_OWN = "HPCPIPE_"
_MIN_LENGTH = 6
"""Shorter texts are no secrets, and stand in messages by chance."""


def refuse_literals(values: Mapping[str, Any]) -> None:
    """Refuse options that hold a secret as text.

    Args:
        values: composed configuration as it was written, interpolations unresolved.

    Returns:
        Nothing.

    Raises:
        ConfigError: an option's name or value looks like a secret's, or a batch script would hold
            one; the value is not repeated.
    """
    for path, name, value in _texts(values, ""):
        is_secret = _NAME.fullmatch(name) and value not in ("", "???")
        if "${" not in value and (is_secret or _VALUE.search(value)):
            raise ConfigError(
                f"{path} looks like a secret, and options are stored in the run directory: put it "
                f"into an environment variable and give '{path}=${{oc.env:NAME}}' (in a YAML file: "
                f"{name}: ${{oc.env:NAME}}), which is stored as it is written here"
            )
        if path.startswith("site.setup") and (found := _IN_SCRIPT.search(value)):
            raise ConfigError(
                f"{path}: batch scripts are stored as text, so {found[1]} would be too. Write "
                f"${found[1]}, which the job's own shell fills in"
            )


def refuse_in_urls(values: Mapping[str, Any]) -> None:
    """Refuse URLs with a password in them.

    Args:
        values: options as they will be used.

    Returns:
        Nothing.

    Raises:
        ConfigError: a URL holds a password.
    """
    for path, _, value in _texts(values, ""):
        if has_password(value):
            raise ConfigError(f"{path}: {ADVICE}")


ADVICE = (
    "the URL holds a password, and URLs are stored in the plan and shown in logs: leave it out and "
    "set the store's own variables or files instead (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
    "~/.aws/credentials, ~/.config/fsspec)"
)


def has_password(url: str) -> bool:
    """Tell whether a URL reads ``scheme://USER:PASSWORD@...``. Raises nothing."""
    return _IN_URL.search(url) is not None


def hidden(message: str, values: Mapping[str, Any]) -> str:
    """Take out of a message what options took from the environment.

    Args:
        message: the message.
        values: composed configuration as it was written, interpolations unresolved.

    Returns:
        The message with ``${oc.env:NAME}`` where the value of NAME stood.

    Raises:
        Nothing.
    """
    names = {n for *_, text in _texts(values, "") for n in _FROM_ENVIRONMENT.findall(text)}
    for name in sorted(name for name in names if not name.startswith(_OWN)):
        value = os.environ.get(name, "")
        if len(value) >= _MIN_LENGTH:
            for shown in (value, repr(value)[1:-1]):
                message = message.replace(shown, f"${{oc.env:{name}}}")
    return message


def _texts(value: Any, path: str, name: str = "") -> Iterator[tuple[str, str, str]]:
    """All texts of a tree, each with its dotted path and the last name in that."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(item, f"{path}.{key}".lstrip("."), str(key))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item, path, name)
    elif isinstance(value, str):
        yield path, name, value
