"""Small tars for the tests, and what plain Python reads from them."""

import io
import tarfile


def write_tar(path, members, fmt=tarfile.USTAR_FORMAT, mode="w"):
    """Write (name, content) pairs; a content of None makes a folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode, format=fmt) as tar:
        for number, (name, content) in enumerate(members):
            info = tarfile.TarInfo(name)
            info.mtime = 1_700_000_000 + number
            if content is None:
                info.type = tarfile.DIRTYPE
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return path


def sample(key, size=700, uid=None):
    """Members of one sample: jpg, txt, json."""
    uid = f', "uid": "{uid}"' if uid else ""
    return [
        (f"{key}.jpg", (key.encode() * size)[:size]),
        (f"{key}.txt", f"caption of {key}".encode()),
        (f"{key}.json", f'{{"key": "{key}"{uid}}}'.encode()),
    ]


def read_tar(path):
    """All plain files as (name, content)."""
    with tarfile.open(path) as tar:
        return [(m.name, tar.extractfile(m).read()) for m in tar if m.isfile()]
