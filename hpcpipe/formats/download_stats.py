"""``SHARD_stats.json``: how the URLs of a shard fared, under the names img2dataset gave them."""

from collections import Counter
from typing import Any

import msgspec

from hpcpipe.formats.download_rows import DownloadRow, as_unicode

MAX_MESSAGES = 1000
"""Different messages counted; beyond it only the more frequent half is kept."""


class DownloadStats:
    """Counts rows.

    Attributes:
        count: rows so far.
        successes: of these.
        num_bytes: downloaded, of all rows.
        error_classes: failures by class.
    """

    def __init__(self, start_time: float, *, images: bool) -> None:
        """Start at zero.

        Args:
            start_time: now, in seconds since 1970.
            images: whether what fails after its download failed to be resized, or subsampled.

        Raises:
            Nothing.
        """
        self.count = 0
        self.successes = 0
        self.num_bytes = 0
        self.error_classes: Counter[str] = Counter()
        self._start_time = start_time
        self._later_failure = "failed_to_resize" if images else "failed_to_subsample"
        self._num_failed_to_download = 0
        self._messages: Counter[str] = Counter()

    def add(self, row: DownloadRow) -> None:
        """Count a row. Raises nothing."""
        self.count += 1
        self.num_bytes += row.num_bytes or 0
        if row.status == "success":
            self.successes += 1
            self._messages["success"] += 1
            return
        self._num_failed_to_download += row.status == "failed_to_download"
        self.error_classes[as_unicode(row.error_class or "unknown")] += 1
        message = as_unicode(row.error_message or "unknown")
        if len(self._messages) >= MAX_MESSAGES and message not in self._messages:
            self._messages = Counter(dict(self._messages.most_common(MAX_MESSAGES // 2)))
        self._messages[message] += 1

    def to_json(self, end_time: float) -> bytes:
        """Encode the counts.

        Args:
            end_time: now, in seconds since 1970.

        Returns:
            The file's content.

        Raises:
            Nothing.
        """
        failed = self.count - self.successes - self._num_failed_to_download
        stats: dict[str, Any] = {
            "count": self.count,
            "successes": self.successes,
            "failed_to_download": self._num_failed_to_download,
            self._later_failure: failed,
            "duration": end_time - self._start_time,
            "start_time": self._start_time,
            "end_time": end_time,
            "status_dict": dict(self._messages.most_common()),
            "error_classes": dict(self.error_classes.most_common()),
            "num_bytes": self.num_bytes,
        }
        return msgspec.json.format(msgspec.json.encode(stats), indent=4)
