"""Two users of one group on this machine, for tests that run as root."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple


class User(NamedTuple):
    """Somebody without a name in the user database, as in many containers."""

    uid: int
    gid: int
    umask: int


LAB = 48_000
ALICE = User(48_001, LAB, 0o002)
BOB = User(48_002, LAB, 0o002)


@contextmanager
def as_user(user: User) -> Iterator[None]:
    """Be this user, who can do no more than others, while inside."""
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
