import errno

import pytest

from hpcpipe.errors import BadInputError, OutageError, is_environment_error, missing_extra


@pytest.mark.parametrize(
    "number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EKEYEXPIRED]
)
def test_errors_of_the_environment_are_told_apart_also_as_causes(number):
    assert is_environment_error(OSError(number, "x"))
    wrapped = BadInputError("could not write")
    wrapped.__cause__ = OSError(number, "x")
    assert is_environment_error(wrapped)


def test_other_errors_are_not():
    assert not is_environment_error(FileNotFoundError(errno.ENOENT, "x"))
    assert not is_environment_error(ValueError("x"))
    assert is_environment_error(MemoryError())


def test_an_outage_and_one_error_of_a_group_count_too():
    wrapped = BadInputError("could not read")
    wrapped.__context__ = OutageError("the filesystem is gone")
    assert is_environment_error(wrapped)
    group = ExceptionGroup("two", [ValueError("x"), OSError(errno.EIO, "x")])
    assert is_environment_error(group)
    assert not is_environment_error(ExceptionGroup("one", [ValueError("x")]))


def test_an_error_that_is_its_own_cause_ends():
    error = ValueError("x")
    error.__cause__ = error
    assert not is_environment_error(error)


def test_a_missing_package_is_answered_by_the_line_that_installs_it():
    error = missing_extra("s3fs", "s3", "s3:// locations")
    assert "pip install 'hpcpipe[s3]'" in str(error)
