"""The last requests: asked at two servers, and what that costs servers and questions."""

import json
import threading

import pytest

from hpcpipe.clients import llm_pool
from tests.clients.llm import CHAT, PROBE, ask, client, said
from tests.servers.raw_http import raw_server, reply
from tests.waiting import wait_until


@pytest.fixture(autouse=True)
def _late_is_never(monkeypatch):
    monkeypatch.setattr(llm_pool, "_MIN_LATE_S", 1000.0)


@pytest.fixture
def slow():
    with raw_server() as server:
        yield server


@pytest.fixture
def quick():
    with raw_server() as server:
        server.answers[CHAT] = echo
        yield server


def text_of(asked):
    return json.loads(asked.body)["messages"][-1]["content"]


def echo(connection, asked):
    said(text_of(asked))(connection, asked)


def questions(server):
    return [asked for asked in server.asked if PROBE not in asked.body]


def test_what_the_slowest_server_has_in_hand_is_asked_again_at_the_end_alone(slow, quick):
    hung_up = threading.Semaphore(0)

    def never(connection, asked):
        connection.recv(1)
        hung_up.release()

    def once_the_other_rests(connection, asked):
        wait_until(lambda: asker.servers[1].trouble)
        echo(connection, asked)

    with raw_server() as resting:
        slow.answers[CHAT] = never
        resting.answers[CHAT] = reply("503 Busy")
        quick.answers[CHAT] = once_the_other_rests
        texts = [str(number) for number in range(60)]
        asker = client([slow.url, resting.url, quick.url], attempts=1)
        answers, is_done = ask(asker, texts)
        assert is_done
        assert [answers[text].text for text in texts] == texts
        assert {(one.num_tries, one.server) for one in answers.values()} == {(1, quick.url)}
        twice = questions(slow)
        assert len(twice) == 2
        assert len(questions(resting)) <= 2
        assert len(questions(quick)) == 60
        # The same bytes, seed included; and only once all others had been asked.
        assert {asked.body for asked in questions(quick)[-2:]} == {one.body for one in twice}
        assert all(hung_up.acquire(timeout=60) for _ in twice)


def test_a_hedge_that_fails_is_no_failed_try(slow, quick):
    has_failed, kept = threading.Event(), []

    def wait(connection, asked):
        kept.append(text_of(asked))
        assert has_failed.wait(60)
        echo(connection, asked)

    def fail_what_was_kept(connection, asked):
        if text_of(asked) in kept:
            reply("500 Oops")(connection, asked)
            has_failed.set()
        else:
            echo(connection, asked)

    slow.answers[CHAT], quick.answers[CHAT] = wait, fail_what_was_kept
    texts = [str(number) for number in range(20)]
    answers, _ = ask(client([slow.url, quick.url], attempts=1), texts)
    assert [answers[text].text for text in texts] == texts
    assert {one.num_tries for one in answers.values()} == {1}
    assert {answers[text].server for text in kept} == {slow.url}


def test_a_request_that_fails_while_its_hedge_runs_has_the_hedges_answer(slow, quick):
    is_hedged, is_doubted, kept = threading.Event(), threading.Event(), []

    def fail_once_hedged(connection, asked):
        if PROBE in asked.body:
            echo(connection, asked)
            is_doubted.set()  # so its failure is known
            return
        kept.append(text_of(asked))
        assert is_hedged.wait(60)
        reply("500 Oops")(connection, asked)

    def answer(connection, asked):
        if text_of(asked) in kept:
            is_hedged.set()
            assert is_doubted.wait(60)
        echo(connection, asked)

    slow.answers[CHAT], quick.answers[CHAT] = fail_once_hedged, answer
    texts = [str(number) for number in range(20)]
    answers, _ = ask(client([slow.url, quick.url], attempts=1, max_in_flight=1), texts)
    assert [answers[text].text for text in texts] == texts
    assert {one.num_tries for one in answers.values()} == {1}
