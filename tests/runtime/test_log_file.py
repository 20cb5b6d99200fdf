"""A worker's log file, after the end."""

import logging
import shutil

from hpcpipe.runtime.log_file import LogFile


def test_a_line_that_comes_after_the_end_opens_nothing(tmp_path):
    folder = tmp_path / "logs"
    folder.mkdir()
    file = LogFile(folder / "w.log", "w")
    file.close()
    shutil.rmtree(folder)
    file.handle(logging.LogRecord("x", logging.WARNING, "", 0, "too late", (), None))
    assert not folder.exists()
