"""Images that are saved before their shard is finished, and taken over by the next attempt."""

from types import SimpleNamespace

import pytest

from hpcpipe.errors import BadInputError
from hpcpipe.stages import _generate_saved
from hpcpipe.stages._generate_files import MADE, Made
from hpcpipe.stages._generate_saved import Saved


def made(number):
    return Made(f"k{number}", number, MADE, files={"jpg": bytes(100)})


def samples(num):
    return [SimpleNamespace(key=f"k{number}", seed=number) for number in range(num)]


@pytest.fixture
def context(tmp_path):
    """The folders of the Nth attempt."""

    def attempt(number):
        folder = tmp_path / str(number)
        folder.mkdir()
        previous = tmp_path / str(number - 1)
        return SimpleNamespace(
            partial=folder, previous_partial=previous if previous.exists() else None
        )

    return attempt


def test_a_damaged_part_and_those_behind_it_are_drawn_again(context):
    first = context(1)
    saved = Saved(first, every_s=0)
    for number in range(6):
        saved.add(made(number), is_batch_end=number % 2 == 1)
    parts = sorted((first.partial / "parts").iterdir())
    assert len(parts) == 3
    parts[1].write_bytes(parts[1].read_bytes()[:50])
    second = Saved(context(2), every_s=0)
    assert list(second.restore(samples(6))) == [made(0), made(1)]
    for number in range(2, 6):
        second.add(made(number), is_batch_end=True)
    assert list(Saved(context(3), every_s=0).restore(samples(6))) == [made(n) for n in range(6)]


def test_parts_of_other_samples_are_refused(context):
    saved = Saved(context(1), every_s=0)
    saved.add(made(0), is_batch_end=True)
    with pytest.raises(BadInputError, match="other samples than the shard has"):
        list(Saved(context(2), every_s=0).restore(samples(3)[1:]))


def test_what_takes_much_memory_is_saved_early(context, monkeypatch):
    monkeypatch.setattr(_generate_saved, "_MAX_UNSAVED_BYTES", 250)
    first = context(1)
    saved = Saved(first, every_s=3600)
    for number in range(3):
        assert not (first.partial / "parts").exists()
        saved.add(made(number), is_batch_end=True)
    assert list(Saved(context(2), every_s=0).restore(samples(5))) == [made(n) for n in range(3)]
