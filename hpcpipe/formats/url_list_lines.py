"""Text in blocks of whole lines, and which line is no UTF-8."""

from collections.abc import Iterator
from typing import IO

from hpcpipe.errors import PlanError

BLOCK_BYTES = 1 << 20
MAX_LINE_BYTES = 64 << 20
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def line_blocks(where: str, stream: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Cut a text at ends of lines.

    Args:
        where: the file, for messages.
        stream: the text.

    Yields:
        (number of the first line, from 1; whole lines), without a byte order mark.

    Raises:
        PlanError: a line is too long.
        OSError: reading failed.
    """
    first_line = 1
    rest: list[bytes] = []
    rest_bytes = 0
    at_start = True
    while data := stream.read(BLOCK_BYTES):
        if at_start:
            data = data.removeprefix(_BYTE_ORDER_MARK)
            at_start = False
        end = data.rfind(b"\n") + 1
        if not end:
            rest.append(data)
            rest_bytes += len(data)
            if rest_bytes > MAX_LINE_BYTES:
                raise PlanError(
                    f"{where}, line {first_line}: longer than {MAX_LINE_BYTES >> 20} MB; "
                    "is it a list with one entry a line?"
                )
            continue
        block = b"".join((*rest, data[:end]))
        yield first_line, block
        first_line += block.count(b"\n")
        rest, rest_bytes = [data[end:]], len(data) - end
    if last := b"".join(rest):
        yield first_line, last


def not_utf8(where: str, first_line: int, block: bytes) -> PlanError:
    """Find the line at fault.

    Args:
        where: the file.
        first_line: number of the block's first line.
        block: lines, one of which is not UTF-8.

    Returns:
        The error to raise.

    Raises:
        Nothing.
    """
    for number, line in enumerate(block.split(b"\n"), first_line):
        try:
            line.decode()
        except UnicodeDecodeError as error:
            return PlanError(
                f"{where}, line {number}: byte {error.start + 1} is not UTF-8 "
                f"(0x{line[error.start]:02x}); convert the list, for example with "
                "iconv -f latin1 -t utf-8"
            )
    return PlanError(f"{where}: not UTF-8 from line {first_line} on")
