"""Which objects a URL names; one listing a folder, and no look at each object.

Order, duplicates and local files are for ``listing``.
"""

from typing import Any

from hpcpipe.errors import BadInputError, HpcPipeError, PlanError
from hpcpipe.formats.local_listing import braces, has_magic
from hpcpipe.formats.remote import display, filesystem, version_of
from hpcpipe.formats.remote_errors import remote_errors
from hpcpipe.stage import Input

_MAX_LOOKS = 3


def list_remote(pattern: str, suffixes: tuple[str, ...]) -> list[Input]:
    """List the objects a URL names.

    Args:
        pattern: URL of an object or folder, or with a glob or braces.
        suffixes: accepted endings of objects found by a folder or a glob; none means all.

    Returns:
        The objects, in the order of the store.

    Raises:
        PlanError: nothing matches, or the store cannot be listed.
        SetupError: the package for the URL is not installed.
        ConfigError: the URL's scheme is unknown.
    """
    fs, _ = filesystem(pattern)
    fs.invalidate_cache()
    found: list[Input] = []
    by_folder: dict[str, list[str]] = {}
    try:
        with remote_errors(pattern):
            for one in braces(pattern):
                if has_magic(display(one)):
                    found += _remote_glob(fs, one, suffixes)
                else:
                    by_folder.setdefault(one.rstrip("/").rpartition("/")[0], []).append(one)
            for folder, names in by_folder.items():
                found += _remote_named(fs, folder, names, suffixes)
    except BadInputError as error:
        raise PlanError(str(error)) from error
    except HpcPipeError as error:
        raise PlanError(f"{display(pattern)} cannot be listed: {error}") from error
    if not found:
        ending = f" that ends in {' or '.join(suffixes)}" if suffixes else ""
        raise PlanError(f"{display(pattern)} matches no object{ending}")
    return found


def _remote_glob(fs: Any, pattern: str, suffixes: tuple[str, ...]) -> list[Input]:
    infos = fs.glob(fs._strip_protocol(pattern), detail=True)
    return [
        remote_input(fs.unstrip_protocol(name), info)
        for name, info in infos.items()
        if info.get("type") == "file" and (not suffixes or name.endswith(suffixes))
    ]


def _remote_named(fs: Any, folder: str, urls: list[str], suffixes: tuple[str, ...]) -> list[Input]:
    """Objects or folders named in full; many of one folder cost one listing, not one look each."""
    names = {fs._strip_protocol(url): url for url in urls}
    if len(names) > _MAX_LOOKS:
        there = {info["name"]: info for info in fs.ls(fs._strip_protocol(folder), detail=True)}
        missing = [url for name, url in names.items() if name not in there]
        if missing:
            raise FileNotFoundError(
                f"{len(missing)} of {len(names)} objects do not exist, {display(missing[0])} first"
            )
        infos = {name: there[name] for name in names}
    else:
        infos = {name: fs.info(name) for name in names}
    found = []
    for name, info in infos.items():
        if info.get("type") != "directory":
            found.append(remote_input(names[name], info))
            continue
        found += [
            remote_input(fs.unstrip_protocol(entry["name"]), entry)
            for entry in fs.ls(name, detail=True)
            if entry.get("type") == "file" and entry["name"].endswith(suffixes or "")
        ]
    return found


def remote_input(url: str, info: dict[str, Any]) -> Input:
    """Describe an object by its entry in a listing. Raises nothing."""
    return Input(url, int(info.get("size") or 0), version_of(info))
