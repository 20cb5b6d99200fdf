"""One file as it came to the row and the bytes that are written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from hpcpipe.clients.records import Fetched
from hpcpipe.formats.digests import digest, matches
from hpcpipe.formats.download_rows import DownloadRow, Status
from hpcpipe.formats.file_extensions import extension_of
from hpcpipe.formats.image_errors import ImageError, ImageFailure
from hpcpipe.formats.image_pillow import PILLOW_KINDS
from hpcpipe.formats.image_resize import ImageResizer

if TYPE_CHECKING:
    from hpcpipe.stages.download import Download

WRONG_DIGEST = "wrong_digest"
"""Class of files whose checksum is not the list's."""
_SIZES = ("width", "height", "original_width", "original_height")


class SampleMaker:
    """Checks what came, and resizes images; threads share one.

    Attributes:
        is_quick: whether no image has to be decoded.
    """

    def __init__(self, stage: Download) -> None:
        """Load what it takes.

        Args:
            stage: the options.

        Raises:
            SetupError: a library is missing.
        """
        self._digest = stage.digest
        self._verify_col = stage.verify_col
        self._bbox_col = stage.bbox_col
        self._is_any_file = stage.kind == "file"
        options = stage.images_to_make
        self._resize = ImageResizer(options) if options is not None else None
        self.is_quick = options is None or options.disable_all_reencoding

    def __call__(
        self, key: str, listed: Mapping[str, Any], fetched: Fetched
    ) -> tuple[DownloadRow, bytes | None]:
        """Make a sample.

        Args:
            key: its key.
            listed: its row of the list.
            fetched: what became of its URL.

        Returns:
            Its row, and what is to be written: None where there is nothing.

        Raises:
            MemoryError: there is no room for the image.
        """
        row = DownloadRow(
            key=key,
            listed=listed,
            status="success",
            http_status=fetched.http_status or None,
            num_bytes=fetched.num_bytes,
            seconds=fetched.seconds,
            final_url=fetched.final_url or None,
        )
        if fetched.failure is not None:
            return _failed(row, fetched.failure.value, fetched.error), None
        if self._digest is not None:
            computed = digest(fetched.content, self._digest)
            row = replace(row, digest=computed)
            if self._verify_col and not matches(computed, listed[self._verify_col]):
                return _failed(row, WRONG_DIGEST, f"{self._digest} is not the list's"), None
        kind = None
        if self._is_any_file:
            kind = extension_of(fetched.content_type, fetched.content, fetched.final_url)
        if self._resize is None or (kind and kind not in PILLOW_KINDS):
            return replace(row, extension=kind), fetched.content
        try:
            image = self._resize(fetched.content, self._boxes(listed))
        except ImageError as error:
            later: Status = "failed_to_subsample" if kind else "failed_to_resize"
            return _failed(row, error.failure.value, error.text, later), None
        sizes = {name: getattr(image, name) for name in _SIZES}
        return replace(row, extension=image.extension, exif=image.exif, **sizes), image.content

    def _boxes(self, listed: Mapping[str, Any]) -> Any:
        """What is to be blurred; JSON in lists that are text."""
        boxes = listed[self._bbox_col] if self._bbox_col is not None else None
        if not isinstance(boxes, str):
            return boxes
        try:
            return msgspec.json.decode(boxes, type=list[list[float]] | None) if boxes else None
        except msgspec.DecodeError as error:
            raise ImageError(ImageFailure.BOXES, "blurring boxes are no JSON") from error


def _failed(
    row: DownloadRow, failure: str, error: str, status: Status = "failed_to_download"
) -> DownloadRow:
    return replace(row, status=status, error_class=failure, error_message=error)
