"""How much a filesystem still takes: its free space and inodes, and what a quota leaves of them.

Quotas are asked for with the tools that sites give their users, ``quota`` (local disks and NFS) and
``lfs`` (Lustre). Where there is none, or it does not answer soon, nothing is concluded: an error
while writing tells the truth anyway.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

TIMEOUT_S = 5.0
_MOUNTS = Path("/proc/self/mounts")
_LIMITS = re.compile(r"(?<!\S)(\d+)\*?\s+(\d+)\s+(\d+)\s+\S+\s+(\d+)\*?\s+(\d+)\s+(\d+)\s+\S+")
"""KiB used, soft and hard limit, grace; files used, soft and hard limit, grace: both tools'."""
_WHOSE = re.compile(r"\((uid|gid) (\d+)\)")


class Room(NamedTuple):
    """What may still be written somewhere.

    Attributes:
        num_bytes: free bytes; None where that is not limited.
        num_inodes: files and folders that can still be made; None where that is not limited.
        limit: what limits it, in words.
        nearly_full: whether little is left as such, whatever is to be written.
    """

    num_bytes: int | None
    num_inodes: int | None
    limit: str
    nearly_full: bool = False


def rooms(folder: Path) -> Iterator[Room]:
    """Find out what limits writing to a folder.

    Args:
        folder: an existing folder.

    Yields:
        The filesystem's own room, then those of quotas of this user and the folder's group.

    Raises:
        OSError: the filesystem does not answer.
    """
    disk = os.statvfs(folder)
    num_bytes = disk.f_bavail * disk.f_frsize
    mount, kind = _mount_of(folder)
    # Some filesystems have no fixed number of inodes, and say 0.
    num_inodes = disk.f_favail if disk.f_files else None
    is_low = disk.f_bavail < disk.f_blocks // 100
    yield Room(num_bytes, num_inodes, f"on the filesystem of {mount}", is_low)
    info = folder.stat()
    gid = info.st_gid if info.st_mode & 0o2000 else os.getegid()
    answers = _lustre(mount, gid) if kind == "lustre" else _quota(mount, gid)
    for whose, text in answers:
        for used, soft, hard, num_used, num_soft, num_hard in _LIMITS.findall(text):
            yield Room(
                _left(used, soft, hard, 1024),
                _left(num_used, num_soft, num_hard, 1),
                f"of the {whose} quota on {mount}",
            )


def _left(used: str, soft: str, hard: str, unit: int) -> int | None:
    limit = int(hard) or int(soft)
    return max(limit - int(used), 0) * unit if limit else None


def _mount_of(folder: Path) -> tuple[str, str]:
    """Mount point of a folder, and the kind of filesystem there."""
    best = ("/", "")
    path = os.path.realpath(folder)
    for line in _MOUNTS.read_text(errors="replace").splitlines():
        _, mount, kind = line.split(" ", 3)[:3]
        mount = mount.encode().decode("unicode_escape")  # \040 is a space
        if len(mount) >= len(best[0]) and (path + "/").startswith(mount.rstrip("/") + "/"):
            best = (mount, kind)
    return best


def _lustre(mount: str, gid: int) -> Iterator[tuple[str, str]]:
    for whose, flag, number in (("user", "-u", os.getuid()), ("group", "-g", gid)):
        yield whose, _answer("lfs", "quota", "-q", flag, str(number), mount)


def _quota(mount: str, gid: int) -> Iterator[tuple[str, str]]:
    """One answer has a heading for the user and for each of the user's groups."""
    text = _answer("quota", "-w", "-p", "-u", "-g", "-f", mount)
    parts = _WHOSE.split(text)
    for kind, number, part in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        if kind == "uid" or int(number) == gid:
            yield ("user" if kind == "uid" else "group"), part


def _answer(*command: str) -> str:
    """What a tool prints, whatever its exit code: it is not 0 where a quota is exceeded."""
    if shutil.which(command[0]) is None:
        return ""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout
