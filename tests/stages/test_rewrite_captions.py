"""The stage ``rewrite_captions``: which captions are asked about, and what is kept of answers."""

import io
import json
import tarfile
from collections import Counter

import pytest

from hpcpipe.errors import BadInputError, ConfigError
from hpcpipe.stages._rewrite_template import Template
from tests.servers.llm_process import llm_server
from tests.servers.raw_http import raw_server, reply
from tests.stages.drive import Drive
from tests.stages.rewriting import prompts, rewritten, rows, stage, write_captions

CHAT = "/api/chat"


@pytest.fixture(scope="module")
def simulated():
    with llm_server("llm_simulated", "--seconds", "0.001") as url:
        yield url


@pytest.fixture
def server():
    with raw_server() as server:
        yield server


def says(text):
    body = {"message": {"role": "assistant", "content": text}, "done_reason": "stop"}
    return reply(body=json.dumps(body).encode())


def sum_of_unmade(stats):
    return sum(value for name, value in stats.items() if name.startswith(("left_out_", "failed_")))


def test_prompts_are_made_of_captions(tmp_path, simulated):
    captions = {f"k{number}-0": f"a photo of nurse number {number}" for number in range(30)}
    run = rewritten(tmp_path, captions, [simulated])
    made, told = prompts(run), rows(run)
    assert list(made) == [f"{key}.json" for key in captions]
    for key, caption in captions.items():
        row = told[key]
        drawn = row["choices"]
        sent = f'sentence: "{caption}" group:"{drawn["ethnicity"]} {drawn["gender"]}"'
        assert made[f"{key}.json"] == row["prompt"] == f"rewritten: {sent}"
        assert (row["status"], row["tries"], row["server"]) == ("made", 1, simulated)
        assert (row["model"], row["caption"]) == ("tulu3:fairclip", caption)
        assert row["language"] == "en"
    assert run.stats() == {"samples": 30}
    assert run.num_samples == {"00000": 30}


def test_choices_depend_on_key_and_seed_alone(tmp_path, simulated):
    captions = {f"k{number}": "a photo of a nurse" for number in range(120)}
    first = rows(rewritten(tmp_path / "1", captions, [simulated]))
    again = rows(rewritten(tmp_path / "2", dict(reversed(captions.items())), [simulated]))
    other = rows(rewritten(tmp_path / "3", captions, [simulated], seed=1))
    drawn = [{key: row["choices"] for key, row in run.items()} for run in (first, again, other)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert [first[key]["seed"] for key in captions] == [again[key]["seed"] for key in captions]
    counted = Counter(tuple(one.values()) for one in drawn[0].values())
    assert len(counted) == 12
    assert max(counted.values()) < 3 * 120 / 12


def test_what_is_not_made_is_counted_and_listed(tmp_path, simulated):
    captions = {
        "good": "a photo of a nurse in a hospital",
        "empty": "",
        "blank": " \n ",
        "german": "Zwei Männer schütteln sich die Hand",
        "emoji": "a woman riding a horse on the beach 🐎",
        "arabic": "صورة امرأة مبتسمة",
        "control": "a photo\x00 of a \x1b[31mnurse",
    }
    run = rewritten(tmp_path, captions, [simulated])
    told = rows(run)
    assert list(told) == list(captions)
    assert sorted(prompts(run)) == ["control.json", "emoji.json", "good.json"]
    found = {key: (row["status"], row["reason"]) for key, row in told.items()}
    assert found["empty"] == found["blank"] == ("left_out_caption", "empty")
    assert found["german"] == ("left_out_by_language", "de")
    assert found["arabic"] == ("left_out_by_language", "ar")
    stats = run.stats()
    assert stats["samples"] == len(captions) == 3 + sum_of_unmade(stats)


def test_other_languages_stay_where_none_is_asked_for(tmp_path, simulated):
    captions = {"german": "Zwei Männer schütteln sich die Hand", "empty": ""}
    run = rewritten(tmp_path, captions, [simulated], language=None)
    assert list(prompts(run)) == ["german.json"]
    assert rows(run)["german"]["language"] is None


def test_another_template_is_a_map_over_captions(tmp_path, simulated):
    run = rewritten(
        tmp_path, {"a": "a {caption} of {x} !r in a hospital"}, [simulated],
        template="{{{style}}}: {caption}", choices={"style": ["{caption}"]}, api="openai",
        options={}, answer="text",
    )  # fmt: skip
    assert prompts(run)["a.json"] == "rewritten: {{caption}}: a {caption} of {x} !r in a hospital"
    assert rows(run)["a"]["choices"] == {"style": "{caption}"}


def test_captions_come_from_tars_too(tmp_path, simulated):
    members = {
        "a.jpg": b"", "a.txt": b"not this one", "a.json": b'{"caption": "a photo of\\na nurse"}',
        "b.txt": b"a photo of a doctor", "c.jpg": b"", "d.json": b"[" * 5000,
        "e.json": b'{"caption": 7}', "e.txt": b"a photo of a teacher",
    }  # fmt: skip
    (tmp_path / "captions").mkdir()
    with tarfile.open(tmp_path / "captions" / "00000.tar", "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    (tmp_path / "captions" / "00000_stats.json").write_text('{"count": 5}')
    run = Drive(stage(tmp_path, [simulated], template="{caption}"), tmp_path).run()
    assert prompts(run) == {
        "a.json": "rewritten: a photo of a nurse",
        "b.json": "rewritten: a photo of a doctor",
        "e.json": "rewritten: a photo of a teacher",
    }
    assert [rows(run)[key]["reason"] for key in "cd"] == ["missing", "missing"]
    assert run.stats() == {"samples": 5, "left_out_caption.missing": 2}


ANSWERS = {
    "one\ntwo": "many_lines",
    "": "empty",
    ' "" \n': "empty",
    "\n": "empty",
    '\n "a line in quotes" \n\n': None,
    "“curly”": None,
    'say "hi"': None,
    "« 'nested' »": None,
}


@pytest.mark.parametrize("text", ANSWERS)
def test_an_answer_is_one_line_without_its_quotes(tmp_path, server, text):
    server.answers[CHAT] = says(text)
    run = rewritten(tmp_path, {"a": "a photo of a nurse"}, [server.url], attempts=2)
    row = rows(run)["a"]
    assert row["reason"] == ANSWERS[text]
    if row["reason"] is None:
        assert prompts(run)["a.json"] in ("a line in quotes", "curly", 'say "hi"', "nested")
    else:
        assert (row["status"], row["tries"], row["answer"]) == (
            ("failed_to_rewrite", 2, text or None)
        )
        assert prompts(run) == {}
        assert run.stats() == {"samples": 1, f"failed_to_rewrite.{row['reason']}": 1}


@pytest.mark.parametrize(
    ("said", "number"), [("A photo of a NURSE.", 1), ("a photo of a Black nurse", 0)]
)
def test_prompts_that_say_what_the_caption_said_are_counted(tmp_path, server, said, number):
    server.answers[CHAT] = says(said)
    run = rewritten(tmp_path, {"a": "a photo of a nurse"}, [server.url])
    assert run.stats() == {"samples": 1} | ({"prompts_unchanged": number} if number else {})


def test_any_answer_that_is_not_empty_is_taken_as_text(tmp_path, server):
    server.answers[CHAT] = says(' "one"\ntwo ')
    run = rewritten(tmp_path, {"a": "a photo of a nurse"}, [server.url], answer="text")
    assert rows(run)["a"]["prompt"] == '"one"\ntwo'
    assert prompts(run)["a.json"] == '"one" two'


def test_a_shard_without_captions_has_its_files(tmp_path, simulated):
    run = rewritten(tmp_path, {}, [simulated])
    assert (prompts(run), rows(run), run.stats()) == ({}, {}, {})


def test_a_file_that_is_no_captions_is_bad_input(tmp_path, simulated):
    write_captions(tmp_path, {})
    (tmp_path / "captions" / "00000.json").write_text("[1]")
    with pytest.raises(BadInputError, match=r"00000\.json"):
        Drive(stage(tmp_path, [simulated]), tmp_path).run()


WRONG = {
    "{caption} {ethnicty}": "ethnicty",
    "{caption!r}": "caption",
    "{caption.__class__}": "caption.__class__",
    "{caption[0]}": "caption",
    "{caption:>10}": "caption",
    "{caption} {}": "one of",
    "{caption": "expected '}'",
    "{ethnicity}": "no {caption}",
}


@pytest.mark.parametrize("template", WRONG)
def test_a_template_that_cannot_be_filled_in_is_refused(tmp_path, template):
    with pytest.raises(ConfigError, match=r"stage\.template") as caught:
        stage(tmp_path, ["http://h"], template=template)
    assert WRONG[template] in str(caught.value)


BAD_OPTIONS = [
    ({"options": {"seed": 1}}, "stage.options.seed"),
    ({"attempts": 0}, "stage.attempts"),
    ({"min_language_score": 2.0}, "stage.min_language_score"),
    ({"choices": {"ethnicity": []}}, "stage.choices.ethnicity"),
    ({"choices": {"caption": ["x"]}}, "stage.choices.caption"),
    ({"servers__start__command": "ollama serve"}, "port"),
    ({"servers__timeout_s": 0.0}, "stage.servers.timeout_s"),
]


@pytest.mark.parametrize(("changes", "named"), BAD_OPTIONS, ids=lambda value: str(value)[:30])
def test_options_that_cannot_be_used_are_refused(tmp_path, changes, named):
    with pytest.raises(ConfigError, match=named):
        stage(tmp_path, ["http://h"], **changes)


def test_a_draw_is_the_same_in_every_release():
    template = Template("{caption} {a}", {"a": [str(number) for number in range(1000)]}, 7)
    assert (template.draw("key-0"), template.sampling_seed("key-0")) == ({"a": "662"}, 572667939)
