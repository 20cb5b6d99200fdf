"""Two users of one group on this machine, for tests that run as root."""

import functools
import importlib
import os
import pkgutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import hpcpipe


class User(NamedTuple):
    """Somebody without a name in the user database, as in many containers."""

    uid: int
    gid: int
    umask: int


LAB = 48_000
ALICE = User(48_001, LAB, 0o002)
BOB = User(48_002, LAB, 0o002)


@functools.cache
def import_all() -> None:
    """Import what they need: Python may lie where these users may not look."""
    importlib.import_module("encodings.unicode_escape")
    for module in pkgutil.walk_packages(hpcpipe.__path__, "hpcpipe."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


@contextmanager
def as_user(user: User) -> Iterator[None]:
    """Be this user, who can do no more than others, while inside."""
    import_all()
    before, groups = os.umask(user.umask), os.getgroups()
    os.setgroups([user.gid])
    os.setresgid(user.gid, user.gid, 0)
    os.setresuid(user.uid, user.uid, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)
        os.setresgid(0, 0, 0)
        os.setgroups(groups)
        os.umask(before)
