"""What every use of an fsspec URL (``s3://``, ``https://``, ...) needs: opening, names, versions.

Messages never carry a URL's credentials or query.
"""

import re
from datetime import datetime
from typing import Any

from hpcpipe.errors import ConfigError, missing_extra

_EXTRAS = {"s3": ("s3fs", "s3"), "s3a": ("s3fs", "s3")}


def is_remote(path: str) -> bool:
    """Tell whether a location is a URL to be opened by fsspec. Raises nothing.

    Args:
        path: path or URL; ``file://`` counts as local.

    Returns:
        True for URLs of any other scheme.
    """
    return "://" in path and not path.startswith("file://")


def display(path: str) -> str:
    """Make a path or URL fit for messages and logs.

    Args:
        path: path or URL.

    Returns:
        The same without user, password and query string, which may be secrets.

    Raises:
        Nothing.
    """
    if not is_remote(path):
        return path
    shown = re.sub(r"://[^/@]*@", "://", path)
    return shown.split("?", 1)[0] if shown.startswith("http") else shown


def filesystem(url: str) -> tuple[Any, str]:
    """Open the filesystem a URL lives on.

    Args:
        url: any URL fsspec knows.

    Returns:
        The fsspec filesystem and the path inside it.

    Raises:
        SetupError: the filesystem's package is not installed.
        ConfigError: no filesystem has this scheme.
    """
    from fsspec.core import url_to_fs

    scheme = url.split("://", 1)[0]
    try:
        fs, path = url_to_fs(url)
    except ImportError as error:
        if scheme in _EXTRAS:
            raise missing_extra(*_EXTRAS[scheme], f"{scheme}:// locations") from error
        raise ConfigError(f"{scheme}:// locations need another package: {error}") from error
    except ValueError as error:
        raise ConfigError(
            f"{display(url)}: no filesystem is known for {scheme}://; use a path or a URL such as "
            "s3://bucket/folder"
        ) from error
    return fs, path


def version_of(info: dict[str, Any]) -> str:
    """Take from a listing entry what changes when the object does.

    Args:
        info: one entry of fsspec's ``info`` or ``ls(detail=True)``.

    Returns:
        The ETag without quotes, else the modification time, else "".

    Raises:
        Nothing.
    """
    for name in ("ETag", "etag", "LastModified", "last_modified", "mtime", "updated", "created"):
        value = info.get(name)
        if isinstance(value, datetime):
            return str(value.timestamp())
        if value:
            return str(value).strip('"')
    return ""
