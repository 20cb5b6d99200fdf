"""What is said beside the progress bar."""

import pytest

from tests.toys.runs import run_here, toy_config, write_inputs


@pytest.mark.parametrize(
    ("text", "told"),
    [("crash", "KeyError: 'crash'"), ("bad", "BadInputError: ")],
)
def test_a_failure_is_told_with_its_class(tmp_path, capsys, text, told):
    write_inputs(tmp_path, a=text)
    run_here(toy_config(tmp_path, run__max_attempts=1))
    assert f"shard a failed: {told}" in capsys.readouterr().err
