import errno
import os
import threading

import pytest

from hpcpipe.manifest.claims import FAN_OUT, Claims, claim_path, last_attempts


@pytest.fixture
def folder(tmp_path):
    for number in range(FAN_OUT):
        (tmp_path / "claims" / f"{number:02x}").mkdir(parents=True)
    return tmp_path / "claims"


def claimer(folder, name):
    identity = folder.parent / f"{name}.json"
    identity.write_text(f'{{"name":"{name}"}}')
    return Claims(folder, identity)


@pytest.fixture(params=["links", "no links"])
def any_filesystem(request, monkeypatch):
    if request.param == "no links":

        def refuse(*args, **kwargs):
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")

        monkeypatch.setattr(os, "link", refuse)
    return request.param


def test_one_of_two_gets_it_and_the_claim_names_its_owner(folder, any_filesystem):
    one, two = claimer(folder, "one"), claimer(folder, "two")
    assert one.take("7", 1)
    assert not two.take("7", 1)
    assert two.read("7", 1) == b'{"name":"one"}'
    assert two.exists("7", 1)
    assert not two.exists("7", 2)
    assert two.take("7", 2)
    assert last_attempts(folder) == {"7": 2}


def test_exactly_one_of_many_threads_gets_each_block(folder, any_filesystem):
    workers = [claimer(folder, f"w{n}") for n in range(8)]
    taken = [[] for _ in workers]
    start = threading.Barrier(len(workers))

    def work(number):
        start.wait()
        for block in range(50):
            if workers[number].take(str(block), 1):
                taken[number].append(block)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(len(workers))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(block for blocks in taken for block in blocks) == list(range(50))


def test_a_repeated_request_that_had_succeeded_counts_as_taken(folder, monkeypatch):
    one = claimer(folder, "one")
    real = os.link

    def link_twice(source, target):
        real(source, target)
        real(source, target)  # as a network filesystem repeats a request whose answer was lost

    monkeypatch.setattr(os, "link", link_twice)
    assert one.take("3", 1)


def test_goes_on_with_another_source_when_a_file_has_too_many_links(folder, monkeypatch):
    one = claimer(folder, "one")
    real, count = os.link, 0

    def limited(source, target):
        nonlocal count
        if os.stat(source).st_nlink > 3:
            count += 1
            raise OSError(errno.EMLINK, "Too many links")
        real(source, target)

    monkeypatch.setattr(os, "link", limited)
    assert all(one.take(str(block), 1) for block in range(10))
    assert count == 3
    assert {one.read(str(block), 1) for block in range(10)} == {b'{"name":"one"}'}


def test_finalize_has_a_place(folder):
    assert claim_path(folder, "@finalize", 1).parent.is_dir()
    one = claimer(folder, "one")
    assert one.take("@finalize", 1)
    assert last_attempts(folder) == {"@finalize": 1}


def test_other_errors_are_not_taken_for_a_claim(folder, monkeypatch):
    def fail(*args):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "link", fail)
    with pytest.raises(OSError, match="Input/output"):
        claimer(folder, "one").take("1", 1)


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EACCES])
def test_a_link_that_reports_failure_after_it_succeeded_is_a_claim(folder, monkeypatch, number):
    one = claimer(folder, "one")
    real = os.link

    def link(source, target):
        real(source, target)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", link)
    assert one.take("3", 1)
    assert one.holds("3", 1)
    monkeypatch.setattr(os, "link", real)
    assert claimer(folder, "two").take("3", 2)


def test_a_claim_that_its_owner_does_not_know_of_can_be_taken_by_it_alone(folder, any_filesystem):
    one = claimer(folder, "one")
    assert one.take("3", 1)
    assert one.take("3", 1)
    assert not claimer(folder, "two").take("3", 1)
