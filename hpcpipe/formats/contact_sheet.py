"""A contact sheet: samples on one HTML page that needs nothing else, neither scripts nor a network.

Keys, captions and images are other people's: all text is escaped, images are decoded and written
anew, and the page forbids its reader to load anything.
"""

import base64
from collections.abc import Iterable, Sequence
from html import escape
from typing import NamedTuple

from hpcpipe.formats.contact_sheet_style import STYLE
from hpcpipe.formats.thumbnails import Thumbnail, thumbnail
from hpcpipe.stage import Box, Look, Picture

SIDE_PX = 400
MAX_TEXT_CHARS = 1200

_CONTROLS = {code: " " for code in (*range(9), *range(11, 32), *range(127, 160))}
_HEAD = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
"""


class Section(NamedTuple):
    """The samples of one run.

    Attributes:
        title: its heading.
        facts: about the run, a name and a value each.
        looks: the samples, each with its shard.
        notes: what could not be shown, and why.
    """

    title: str
    facts: Sequence[tuple[str, str]]
    looks: Sequence[tuple[str, Look]]
    notes: Sequence[str]


def write_page(title: str, sections: Iterable[Section]) -> bytes:
    """Write the page.

    Args:
        title: of the page.
        sections: what stands on it.

    Returns:
        HTML in UTF-8.

    Raises:
        MemoryError: there is no room for an image.
    """
    parts = [_HEAD, f"<title>{_text(title)}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n"]
    parts += [f"<h1>{_text(title)}</h1>\n", *map(_section, sections), "</body>\n</html>\n"]
    return "".join(parts).encode()


def _section(section: Section) -> str:
    facts = _facts(section.facts)
    notes = "".join(f'<p class="note">{_text(note)}</p>\n' for note in section.notes)
    looks = "".join(_look(shard, look) for shard, look in section.looks)
    if not looks:
        notes += '<p class="note">There are no samples to be shown.</p>\n'
    return (
        f"<section>\n<header><h2>{_text(section.title)}</h2>\n{facts}</header>\n{notes}"
        f'<div class="samples">\n{looks}</div>\n</section>\n'
    )


def _look(shard: str, look: Look) -> str:
    pictures = "".join(map(_picture, look.pictures))
    pictures = f'<div class="pictures">{pictures}</div>\n' if pictures else ""
    texts = "".join(
        f'<div><h3>{_text(title)}</h3><p dir="auto">{_cut(text)}</p></div>'
        for title, text in look.texts
    )
    texts = f'<div class="texts">{texts}</div>\n' if texts else ""
    known = [(name, value) for name, value in look.facts.items() if value is not None]
    facts = _facts([("key", look.key), ("shard", shard), *known])
    return f"<article>\n{pictures}{texts}{facts}</article>\n"


def _picture(picture: Picture) -> str:
    small: Thumbnail | str = picture.missing or "there is none"
    if picture.content is not None:
        small = thumbnail(picture.content, SIDE_PX)
    title = _text(picture.title)
    if isinstance(small, str):
        return (
            f'<figure><div class="missing">{_text(small)}</div><figcaption>{title}</figcaption>'
            "</figure>"
        )
    data = base64.b64encode(small.content).decode()
    size = f"{small.original.width} x {small.original.height}"
    return (
        f'<figure><div class="frame"><img src="data:image/jpeg;base64,{data}" alt="{title}" '
        f'width="{small.size.width}" height="{small.size.height}">'
        f"{''.join(map(_box, picture.boxes))}</div>"
        f"<figcaption>{title} <small>{size}</small></figcaption></figure>"
    )


def _box(box: Box) -> str:
    left, top, right, bottom = (min(max(side, 0.0), 1.0) * 100 for side in box.sides)
    label = f"<span>{_text(box.label)}</span>" if box.label else ""
    return (
        f'<i style="left:{left:.2f}%;top:{top:.2f}%;width:{max(right - left, 0):.2f}%;'
        f'height:{max(bottom - top, 0):.2f}%">{label}</i>'
    )


def _facts(facts: Iterable[tuple[str, object]]) -> str:
    rows = "".join(
        f"<div><dt>{_text(name)}</dt><dd><bdi>{_cut(str(value))}</bdi></dd></div>"
        for name, value in facts
    )
    return f"<dl>{rows}</dl>\n"


def _cut(text: str) -> str:
    if len(text) <= MAX_TEXT_CHARS:
        return _text(text)
    rest = f"and {len(text) - MAX_TEXT_CHARS:,} more characters"
    return f"{_text(text[:MAX_TEXT_CHARS])} <small>... {rest}</small>"


def _text(text: str) -> str:
    """Escaped; what is no character of a page becomes a space, lone surrogates their escapes."""
    whole = text.encode("utf-8", "backslashreplace").decode()
    return escape(whole.translate(_CONTROLS))
