"""Work ahead in threads, results in order."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from hpcpipe.models.ordered import ordered_map


@pytest.fixture
def threads():
    with ThreadPoolExecutor(4) as pool:
        yield pool


def test_results_come_in_order_however_long_each_takes(threads):
    first_may_end = threading.Event()

    def function(item):
        if item == 0:
            assert first_may_end.wait(30)
        if item == 3:
            first_may_end.set()
        return item * item

    assert list(ordered_map(function, range(10), threads, ahead=8)) == [i * i for i in range(10)]


def test_no_more_is_taken_than_was_asked_for(threads):
    taken = []

    def items():
        for item in range(100):
            taken.append(item)
            yield item

    hold = threading.Event()
    try:
        results = ordered_map(lambda item: hold.wait(30) and item, items(), threads, ahead=3)
        release = threading.Timer(0.2, hold.set)
        release.start()
        assert next(results) == 0
        assert len(taken) == 4
    finally:
        hold.set()
        release.join()


def test_while_a_result_is_used_the_next_ones_are_made(threads):
    taken, have_begun, are_free = [], threading.Barrier(3), threading.Barrier(4)

    def function(item):
        if item < 3:
            have_begun.wait(30)
        return item

    def items():
        for item in range(100):
            taken.append(item)
            yield item

    results = ordered_map(function, items(), threads, ahead=2)
    assert next(results) == 0
    assert len(taken) == 3
    for item in (1, 2):
        list(threads.map(are_free.wait, [30] * 4))  # all that has begun is done
        assert next(results) == item
    assert len(taken) == 5


def test_an_error_stands_in_the_place_of_its_item(threads):
    def function(item):
        if item == 2:
            raise ValueError("two")
        return item

    results = ordered_map(function, range(5), threads, ahead=2)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="two"):
        next(results)


def test_closing_it_cancels_what_has_not_begun():
    begun = []
    hold = threading.Event()

    def function(item):
        begun.append(item)
        assert item == 0 or hold.wait(30)
        return item

    with ThreadPoolExecutor(1) as pool:
        results = ordered_map(function, range(10), pool, ahead=5)
        next(results)
        results.close()
        hold.set()
    assert len(begun) <= 3
