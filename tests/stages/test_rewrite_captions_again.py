"""``rewrite_captions`` with ``retry_failed=true``: shards done again for captions that failed."""

import json
import shutil
import subprocess
import sys
from collections import Counter
from types import SimpleNamespace

import msgspec
import pytest

import hpcpipe
from hpcpipe.errors import PlanError
from hpcpipe.stages._rewrite_again import LIST
from tests.servers.raw_http import raw_server
from tests.stages.drive import Drive
from tests.stages.rewriting import rows, stage, write_captions
from tests.toys.runs import events_of
from tests.waiting import wait_until

CHAT = "/v1/chat/completions"
GOOD, LONG, NEVER = "a nurse", "a long nurse", "a nurse to be refused"
SETTINGS = {"api": "openai", "template": "{caption}", "attempts": 2, "language": None}


def answer(text, finish="stop"):
    message = {"role": "assistant", "content": text}
    choices = [{"index": 0, "message": message, "finish_reason": finish}]
    return json.dumps({"choices": choices}).encode()


class Model:
    """Cuts off what is long until it is mended, and never does what it refuses.

    Attributes:
        server: what it answers at.
        asked: captions, with their seeds.
    """

    def __init__(self, server):
        self.server = server
        self.asked = []
        self.is_mended = False
        server.answers[CHAT] = self

    def __call__(self, connection, asked):
        body = json.loads(asked.body)
        text = body["messages"][-1]["content"]
        if text != "Say OK.":
            self.asked.append((text, body["seed"]))
        finish = "length" if text.startswith(LONG) and not self.is_mended else "stop"
        finish = "content_filter" if text == NEVER else finish
        content = answer(f"rewritten: {text}", finish)
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(content)}\r\n\r\n"
        connection.sendall(head.encode() + content)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Three shards of captions, of which two have failures, and a model's server."""
    monkeypatch.setenv("HPCPIPE_RUNS", str(tmp_path / "runs"))
    write_captions(tmp_path, {"k1": GOOD, "k2": LONG, "k3": NEVER, "k4": ""}, "a")
    write_captions(tmp_path, {"k5": f"{LONG} 5", "k6": f"{GOOD} 6"}, "b")
    write_captions(tmp_path, {"k7": f"{GOOD} 7", "k8": NEVER}, "c")
    with raw_server() as server:
        yield SimpleNamespace(root=tmp_path, out=tmp_path / "out", model=Model(server))


def settings(place):
    urls = [place.model.server.url]
    return {**SETTINGS, "input": f"{place.root}/captions", "servers.urls": urls}


def launch(place, **options):
    options = {**settings(place), "output": str(place.out), "run_name": "again", **options}
    return hpcpipe.run("rewrite_captions", **options)


def counted(run):
    """Counters of the results that count: the last of each shard."""
    last = {event.shard: event.stats for event in events_of(run.run_dir, "done")}
    return sum(map(Counter, last.values()), Counter())


def contents(place):
    return {path.name: path.read_bytes() for path in place.out.iterdir() if path.is_file()}


def test_only_what_failed_and_may_pass_is_asked_again(place, capsys):
    first = launch(place)
    before, asked = contents(place), list(place.model.asked)
    failed = {"failed_to_rewrite.truncated": 2, "failed_to_rewrite.content_filter": 2}
    left_out = {"samples": 8, "left_out_caption.empty": 1}
    assert counted(first) == {**left_out, **failed}

    place.model.is_mended = True
    run = launch(place, retry_failed=True)
    assert (run.exit_code, run.run_dir) == (0, first.run_dir)
    assert "resumed, 2 shards with failures to be done again" in capsys.readouterr().out
    # Each with the seed behind those that were tried.
    new = place.model.asked[len(asked) :]
    assert sorted(new) == sorted(
        (text, 1 + max(seed for one, seed in asked if one == text)) for text in (LONG, f"{LONG} 5")
    )
    assert counted(run) == {**left_out, "failed_to_rewrite.content_filter": 2}
    after = contents(place)
    for name in ("a.meta.jsonl", "b.meta.jsonl"):
        pairs = zip(before[name].splitlines(), after[name].splitlines(), strict=True)
        changed = [json.loads(line) for old, line in pairs if line != old]
        assert [(row["status"], row["tries"]) for row in changed] == [("made", 3)]
    assert list(json.loads(after["a.json"])) == ["k1.json", "k2.json"]
    assert list(json.loads(after["b.json"])) == ["k5.json", "k6.json"]
    assert {name: after[name] for name in after if name[0] == "c"} == {
        name: before[name] for name in before if name[0] == "c"
    }

    for how in ("retry_failed", "extend"):
        launch(place, **{how: True})
        assert contents(place) == after
    shown = capsys.readouterr().out
    assert "resumed, nothing failed that another try may mend" in shown
    assert "extended by 0 new shards, 0 changed" in shown
    assert len(place.model.asked) == len(asked) + 2


def test_what_fails_again_can_be_asked_once_more(place):
    launch(place)
    for number in (2, 3):
        asked = len(place.model.asked)
        assert launch(place, retry_failed=True).exit_code == 0
        assert len(place.model.asked) == asked + 2 * 2
        found = rows(place, "b")
        assert found["k5"]["tries"] == 2 * number
    place.model.is_mended = True
    launch(place, retry_failed=True)
    assert rows(place, "b")["k5"]["prompt"] == f"rewritten: {LONG} 5"


def test_other_captions_are_no_second_try(place):
    launch(place)
    before = contents(place)
    write_captions(place.root, {"k5": "another nurse", "k6": f"{GOOD} 6"}, "b")
    with pytest.raises(PlanError, match=r"b\.json changed .* extend=true instead of retry_failed"):
        launch(place, retry_failed=True)
    assert contents(place) == before
    launch(place, extend=True)
    assert rows(place, "b")["k5"]["prompt"] == "rewritten: another nurse"
    asked = [text for text, _ in place.model.asked]
    assert asked.count(f"{GOOD} 6") == 2  # the whole shard


def test_a_worker_that_is_killed_meanwhile_loses_nothing(place):
    first = launch(place)
    before, asked, server = contents(place), len(place.model.asked), place.model.server
    num_before = len(server.asked)
    server.answers[CHAT] = lambda connection, asked: (
        server.hang if LONG.encode() in asked.body else place.model
    )(connection, asked)
    words = [f"stage.{key}={json.dumps(value)}" for key, value in settings(place).items()]
    words += [f"stage.output={place.out}", "run_name=again", "retry_failed=true"]
    process = subprocess.Popen(
        [sys.executable, "-m", "hpcpipe", "stage=rewrite_captions", *words],
        cwd=place.root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    wait_until(
        lambda: (
            process.poll() is not None
            or any(LONG.encode() in one.body for one in server.asked[num_before:])
        )
    )
    assert process.poll() is None
    process.kill()
    process.wait()
    assert contents(place) == before

    place.model.is_mended = True
    server.answers[CHAT] = place.model
    run = launch(place)  # goes on, whatever is failed elsewhere
    assert run.exit_code == 0
    assert sorted(text for text, _ in place.model.asked[asked:]) == [LONG, f"{LONG} 5"]
    assert run.run_dir == first.run_dir
    assert counted(run)["samples"] == 8
    assert rows(place, "a")["k2"]["status"] == "made"


@pytest.fixture
def driven(place):
    """Shard ``a``, done once, as it is planned to be done again; and how it is run."""
    run = Drive(stage(place.root, [place.model.server.url], **SETTINGS), place.root)
    (shard, *_) = run.plan()
    result = run.process(shard)
    shutil.rmtree(place.root / "partial")  # as a worker does
    output = next(one for one in result.outputs if one.path == "a.meta.jsonl")
    meta = {LIST: msgspec.to_builtins(output)}
    place.model.is_mended = True
    place.model.asked.clear()
    yield run, msgspec.structs.replace(shard, meta=meta)
    run.exit_stack.close()


def test_a_list_that_is_replaced_and_not_yet_recorded_is_gone_on_from(place, driven):
    run, again = driven
    made = run.process(again, attempt=2)
    assert [text for text, _ in place.model.asked] == [LONG]
    # As if the worker had been killed just before it wrote that the shard is done.
    assert run.process(again, attempt=3) == made
    assert [text for text, _ in place.model.asked] == [LONG]


def test_a_list_that_is_damaged_is_made_anew(place, driven):
    run, again = driven
    path = place.out / "a.meta.jsonl"
    path.write_bytes(path.read_bytes().replace(b"rewritten", b"tampered!"))
    run.process(again, attempt=2)
    assert sorted(text for text, _ in place.model.asked) == sorted([GOOD, LONG, NEVER])
    assert rows(run, "a")["k1"]["prompt"] == f"rewritten: {GOOD}"
