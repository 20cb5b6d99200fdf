"""Asking language models: what is sent, what is used, and what servers at fault cost."""

import gc
import json
import os
import signal
import socket
import threading
import time

import pytest

from hpcpipe.clients import llm_ready
from hpcpipe.clients.llm_failure import Blame, LlmError
from hpcpipe.clients.llm_records import Question
from hpcpipe.errors import ConfigError, OutageError, SetupError
from tests.clients.llm import CHAT, PROBE, ask, client, hang_up, model, options, said
from tests.servers.gate import gate
from tests.servers.raw_http import raw_server, redirect, reply
from tests.waiting import wait_until

OLLAMA = "/api/chat"


@pytest.fixture
def server():
    with raw_server() as server:
        yield server


def questions(server):
    """The requests that are no probes, as JSON."""
    return [json.loads(asked.body) for asked in server.asked if PROBE not in asked.body]


def but_for_probes(answer):
    """Probes are answered well."""

    def choose(connection, asked):
        (said("OK") if PROBE in asked.body else answer)(connection, asked)

    return choose


def echo(connection, asked):
    said(json.loads(asked.body)["messages"][-1]["content"])(connection, asked)


def test_openai_is_asked_as_its_api_wants_it(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-usual")
    server.answers[CHAT] = said("hi")
    chat = model(
        system="Be brief.", options={"temperature": 0.5, "max_tokens": 9, "num_thread": 20}
    )
    answers, is_done = ask(client([f"{server.url}/v1/"], chat), ["a question"])
    assert is_done
    assert (answers["a question"].text, answers["a question"].num_tries) == ("hi", 1)
    (asked,) = server.asked
    assert asked.headers["authorization"] == "Bearer sk-usual"
    assert json.loads(asked.body) == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "a question"},
        ],
        "stream": False,
        "temperature": 0.5,
        "max_tokens": 9,
        "seed": 0,
    }


def test_ollama_is_asked_as_its_api_wants_it(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-usual")
    message = {"message": {"role": "assistant", "content": "hi"}, "done_reason": "stop"}
    server.answers[OLLAMA] = reply(body=json.dumps(message).encode())
    chat = model(api="ollama", options={"num_thread": 20})
    answers, _ = ask(client([server.url], chat), ["a question"])
    assert answers["a question"].text == "hi"
    (asked,) = server.asked
    assert "authorization" not in asked.headers
    assert json.loads(asked.body) == {
        "model": "m",
        "messages": [{"role": "user", "content": "a question"}],
        "stream": False,
        "options": {"num_thread": 20, "seed": 0},
    }


ODD = ["🐎 שלום العربية", "\ud83d lone \udc0e", "\x00\x07\x1b[31m\u2028", "x" * 100_000, '"}{"']


def test_any_text_goes_there_and_back(server):
    server.answers[CHAT] = echo
    answers, _ = ask(client([server.url], max_answer_bytes=1_000_000), ODD)
    assert [answers[text].text for text in ODD] == [ODD[0], "� lone �", *ODD[2:]]


SHAPES = [b"[]", b"null", b"7", b"{}", b'{"choices": []}', b'{"choices": [{"message": null}]}']
SHAPES += [b'{"choices": {"0": 1}}', b'{"choices": [{"message": {"content": ["a"]}}]}', b"\xff"]
SHAPES += [b"[" * 90_000, b"<html>", b"", b'{"choices": [{"message": "text"}]}']


@pytest.mark.parametrize("body", SHAPES, ids=lambda body: body[:20].decode("latin-1"))
def test_json_of_any_shape_is_a_failure_of_its_class(server, body):
    server.answers[CHAT] = but_for_probes(reply(body=body))
    answers, _ = ask(client([server.url]), ["a"])
    assert (answers["a"].text, answers["a"].failure.kind) == (None, "malformed")


def no_http(connection, asked):
    connection.sendall(b"\x00\x01 what?\r\n\r\n")
    connection.shutdown(socket.SHUT_RDWR)


FAULTS = {
    "http_500": (reply("500 Oops", b'{"error": "oops"}'), 3, ["http_500"]),
    "http_400": (reply("400 Bad", b'{"error": {"message": "too long"}}'), 1, ["http_400"]),
    "hang up": (hang_up, 3, ["disconnected"]),
    "no HTTP": (no_http, 3, ["malformed"]),
    "too long": (reply(body=b"x" * 200_000), 3, ["too_long"]),
    "cut off": (said("half a", "length"), 3, ["truncated"]),
    "filtered": (said("", "content_filter"), 1, ["content_filter"]),
}


SAID = {
    "OpenAI's": b'{"error": {"message": "no such model"}}',
    "Ollama's": b'{"error": "no such model"}',
    "FastAPI's": b'{"detail": "no such model"}',
    "no JSON": b"no such model",
}


@pytest.mark.parametrize("whose", SAID)
def test_what_a_server_says_of_its_failure_is_told_in_its_words(server, whose):
    server.answers[CHAT] = but_for_probes(reply("400 Bad", SAID[whose]))
    answers, _ = ask(client([server.url]), ["a"])
    assert answers["a"].failure.text == "HTTP 400: no such model"


@pytest.mark.parametrize("fault", FAULTS)
def test_a_failure_of_its_own_is_tried_elsewhere_and_then_given_up(fault):
    answer, num_tries, (kind,) = FAULTS[fault]
    with raw_server() as one, raw_server() as two, raw_server() as three:
        servers = [one, two, three]
        for server in servers:
            server.answers[CHAT] = but_for_probes(answer)
        answers, is_done = ask(client([server.url for server in servers]), ["a"])
        assert is_done
        assert (answers["a"].failure.kind, answers["a"].num_tries) == (kind, num_tries)
        asked = [len(questions(server)) for server in servers]
        assert sorted(asked, reverse=True) == ([1, 1, 1] if num_tries == 3 else [1, 0, 0])
        seeds = {one["seed"] for server in servers for one in questions(server)}
        assert seeds == set(range(num_tries))


def test_what_the_judge_refuses_is_tried_again(server):
    server.answers[CHAT] = said("no")

    def judge(text):
        raise LlmError("many_lines", "too many lines", Blame.ANSWER, text)

    answers, _ = ask(client([server.url], attempts=2), ["a"], judge)
    failure = answers["a"].failure
    assert (failure.kind, failure.answer, len(server.asked)) == ("many_lines", "no", 2)


def test_an_answer_that_drips_is_given_up_in_time(server):
    def drip(connection, asked):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not server.released.wait(0.02):
            connection.sendall(b" ")

    server.answers[CHAT] = but_for_probes(drip)
    answers, _ = ask(client([server.url], timeout_s=0.3, attempts=1), ["a"])
    assert answers["a"].failure.kind == "timeout"


def once_left_alone(asked):
    """Answers are given once it is known that the first server is not well."""

    def answer(connection, request):
        wait_until(lambda: asked.servers[0].trouble)
        echo(connection, request)

    return answer


def test_a_server_that_is_down_costs_no_question_a_try(server):
    texts = [str(number) for number in range(50)]
    with raw_server() as gone:
        url = gone.url
    asker = client([url, server.url], attempts=1)
    server.answers[CHAT] = once_left_alone(asker)
    answers, _ = ask(asker, texts)
    assert [answers[text].text for text in texts] == texts
    assert "no connection" in asker.servers[0].trouble


BUSY = ["503 Busy", "429 Too Many", "401 Who", "404 No model"]


@pytest.mark.parametrize("status", BUSY)
def test_a_server_that_cannot_now_costs_no_question_a_try(server, status):
    with raw_server() as other:
        asker = client([server.url, other.url], attempts=1)
        server.answers[CHAT] = reply(status)
        other.answers[CHAT] = once_left_alone(asker)
        texts = [str(number) for number in range(20)]
        answers, _ = ask(asker, texts)
        assert [answers[text].text for text in texts] == texts
        assert status[:3] in asker.servers[0].trouble
        assert len(questions(server)) <= 2  # what was in flight when that showed


def test_a_server_that_fails_all_is_not_the_questions_fault(server):
    with raw_server() as other:
        server.answers[CHAT] = reply("500 Oops")
        other.answers[CHAT] = echo
        texts = [str(number) for number in range(20)]
        answers, _ = ask(client([server.url, other.url], attempts=1), texts)
        assert [answers[text].text for text in texts] == texts


def test_a_server_that_goes_away_after_an_answer_costs_no_question_a_try(server):
    is_away, is_answered = threading.Event(), threading.Event()

    def answer(connection, asked):
        if PROBE in asked.body and is_away.is_set():
            is_away.clear()  # it is back for the next probe
            hang_up(connection, asked)
        elif b"slow" in asked.body and not is_answered.is_set():
            assert is_answered.wait(30)
            is_away.set()
            hang_up(connection, asked)
        else:
            echo(connection, asked)

    server.answers[CHAT] = answer
    texts = ["slow", "quick"]
    asker = client([server.url], attempts=1)
    answers = {}

    def take(one):
        answers[texts[one.index]] = one
        is_answered.set()

    asked = [Question(index, text, 0) for index, text in enumerate(texts)]
    assert asker.ask(asked, lambda text: text, take, lambda: False)
    assert (answers["slow"].text, answers["slow"].num_tries) == ("slow", 1)


def test_a_question_that_is_refused_for_ever_is_given_up(server):
    server.answers[CHAT] = but_for_probes(reply("429 Too large", b"", "Retry-After: 0"))
    answers, is_done = ask(client([server.url], attempts=2), ["a"])
    assert is_done
    assert (answers["a"].failure.kind, answers["a"].num_tries) == ("http_429", 2)


def test_a_server_is_asked_again_once_it_is_back(server):
    server.answers[CHAT] = echo
    with gate(server.url) as way:
        asker = client([way.url])
        way.shut("503 Busy")
        looks = []

        def open_later():
            looks.append(1)
            if len(looks) == 3:
                way.open()
            return False

        answers, is_done = ask(asker, ["a", "b", "c"], should_end=open_later)
        assert is_done
        assert [answers[text].num_tries for text in "abc"] == [1, 1, 1]


def test_a_busy_server_is_left_alone_for_as_long_as_it_says(server):
    asked_at = []

    def busy_first(connection, asked):
        asked_at.append(time.monotonic())
        answer = reply("429 Busy", b"", "Retry-After: 2") if len(asked_at) == 1 else said("hi")
        answer(connection, asked)

    server.answers[CHAT] = busy_first
    answers, _ = ask(client([server.url]), ["a"])
    assert answers["a"].text == "hi"
    assert asked_at[1] - asked_at[0] >= 2


def test_no_server_at_all_is_an_outage_that_says_why(server):
    server.answers[CHAT] = reply("404 Gone", b'{"error": "model \'m\' not found"}')
    with raw_server() as gone:
        url = gone.url
    asker = client([url, server.url], ready_s=0.5)
    with pytest.raises(OutageError, match=r"no connection.*HTTP 404: model 'm' not found"):
        ask(asker, ["a", "b"])


def test_no_server_gets_more_than_it_takes_and_all_get_some():
    with raw_server() as one, raw_server() as two:
        for server in (one, two):
            server.answers[CHAT] = echo
        texts = [str(number) for number in range(200)]
        answers, _ = ask(client([one.url, two.url], max_in_flight=3), texts)
        assert len(answers) == 200
        assert max(one.peak, two.peak) <= 3
        assert min(len(one.asked), len(two.asked)) > 20


def test_one_that_hangs_does_not_keep_its_place(server):
    pair, have_met = threading.Barrier(2), threading.Event()

    def choose(connection, asked):
        if b"stuck" in asked.body:
            have_met.wait(60)
        if b"pair" in asked.body:  # each waits for the other: two places must be free
            pair.wait(60)
            have_met.set()
        said("ok")(connection, asked)

    server.answers[CHAT] = choose
    texts = ["stuck", *map(str, range(30)), "pair 1", "pair 2"]
    answers, _ = ask(client([server.url], max_in_flight=2, timeout_s=60.0, attempts=1), texts)
    assert [answers[text].text for text in texts] == ["ok"] * len(texts)


def test_the_last_ones_are_tried_elsewhere_without_waiting_for_the_first(server):
    def choose(connection, asked):
        is_first = json.loads(asked.body)["seed"] % 100 == 0
        (server.hang if is_first and b"stuck" in asked.body else echo)(connection, asked)

    with raw_server() as other:
        server.answers[CHAT] = other.answers[CHAT] = choose
        asker = client([server.url, other.url], timeout_s=600.0)
        answers, is_done = ask(asker, ["stuck", "b"])
        other.released.set()
        assert is_done
        assert {answers[text].text for text in answers} == {"stuck", "b"}
        assert [answers[text].num_tries for text in ("stuck", "b")] == [2, 1]


def test_it_can_be_ended(server):
    server.answers[CHAT] = server.hang
    answers, is_done = ask(client([server.url]), ["a"], should_end=lambda: True)
    assert (answers, is_done) == ({}, False)


def test_what_the_caller_raises_ends_it(server):
    server.answers[CHAT] = echo

    def take(answer):
        raise OSError(28, "no room")

    with pytest.raises(OSError, match="no room"):
        client([server.url]).ask(
            [Question(0, "a", 0)], lambda text: text, take, should_end=lambda: False
        )


def test_a_ctrl_c_ends_it_whole_and_is_not_told_of_twice(server, caplog):
    server.answers[CHAT] = said("hi")
    before = signal.getsignal(signal.SIGINT)

    def judge(text):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0)  # comes here, in the midst of a request
        judged.append(text)
        return text

    judged = []
    with pytest.raises(KeyboardInterrupt):
        ask(client([server.url]), ["a", "b"], judge)
    gc.collect()
    assert judged  # the step it came in was not torn
    assert not caplog.records
    assert signal.getsignal(signal.SIGINT) is before


def test_redirects_are_not_followed(server):
    server.answers[CHAT] = redirect("/elsewhere")
    server.answers["/elsewhere"] = said("hi")
    with pytest.raises(SetupError, match="final address"):
        client([server.url]).wait_until_ready(lambda server: None)
    assert set(server.paths()) == {CHAT}


@pytest.mark.parametrize("before", ["no: ", "n" * 285])  # messages are cut at 300
def test_a_key_is_never_told(server, monkeypatch, caplog, before):
    monkeypatch.setenv("MY_KEY", "sk-very-secret")

    def tell(connection, asked):
        body = json.dumps({"error": {"message": before + asked.headers["authorization"]}})
        reply("401 Who", body.encode())(connection, asked)

    server.answers[CHAT] = tell
    with pytest.raises(SetupError, match=r"HTTP 401: n.*Bearer \*\*\*") as caught:
        client([server.url], api_key_env="MY_KEY").wait_until_ready(lambda server: None)
    assert "sk-" not in str(caught.value) + caplog.text


def test_a_key_that_is_missing_is_told_before_anything_is_asked(monkeypatch):
    monkeypatch.delenv("MY_KEY", raising=False)
    with pytest.raises(SetupError, match="MY_KEY"):
        client(["http://127.0.0.1:9"], api_key_env="MY_KEY")


def test_a_key_with_a_line_break_is_told_and_not_shown(monkeypatch):
    monkeypatch.setenv("MY_KEY", "sk-secret\n")
    with pytest.raises(SetupError, match="MY_KEY has a line break") as error:
        client(["http://127.0.0.1:9"], api_key_env="MY_KEY")
    assert "sk-secret" not in str(error.value)


def test_waiting_for_servers_ends_with_the_first_that_answers(server):
    server.answers[CHAT] = said("OK")
    with raw_server() as gone:
        url = gone.url
    asker = client([url, server.url])
    asker.wait_until_ready(lambda server: None)
    assert [bool(one.trouble) for one in asker.servers] == [True, False]


def test_waiting_for_servers_ends_though_one_hangs(server):
    with raw_server() as stuck:
        server.answers[CHAT] = said("OK")
        stuck.answers[CHAT] = stuck.hang
        asker = client([stuck.url, server.url], timeout_s=0.5, ready_s=600.0)
        asker.wait_until_ready(lambda server: None)
        assert [bool(one.trouble) for one in asker.servers] == [True, False]


def test_servers_that_take_longer_than_allowed_are_told_with_the_option():
    with raw_server() as stuck:
        stuck.answers[CHAT] = stuck.hang
        with pytest.raises(OutageError, match=r"within 0\.3 s, 6 times stage\.servers\.timeout_s"):
            ask(client([stuck.url], timeout_s=0.05, ready_s=1.0), ["a", "b"])


def test_waiting_for_servers_ends_where_none_answers():
    with raw_server() as gone:
        url = gone.url
    with pytest.raises(
        SetupError, match=f"{url}: no connection: Connection refused; .*name those that run"
    ):
        client([url], ready_s=0.5).wait_until_ready(lambda server: None)


def test_waiting_for_servers_is_told_once_long_before_it_is_given_up(monkeypatch, caplog):
    monkeypatch.setattr(llm_ready, "_TELL_S", 0.0)
    with raw_server() as gone:
        url = gone.url
    with pytest.raises(SetupError):
        client([url], ready_s=1.0).wait_until_ready(lambda server: None)
    (told,) = caplog.messages
    assert told.startswith("waiting up to 1 s for an LLM server: ")
    assert url in told


def test_what_a_server_last_said_is_told_rather_than_that_time_ran_out(server):
    once = iter([reply(body=b"<html>Log in</html>")])
    server.answers[CHAT] = lambda *asked: next(once, server.hang)(*asked)
    with pytest.raises(SetupError, match="not JSON"):
        client([server.url], ready_s=1.5).wait_until_ready(lambda server: None)


BAD_URLS = ["127.0.0.1:11434", "ftp://h", "http://", "http://u:p@h", "http://h/?a=1", "http://h:x"]


@pytest.mark.parametrize("url", BAD_URLS)
def test_a_url_that_is_none_is_refused(url):
    with pytest.raises(ConfigError, match="urls"):
        options(urls=[url])
