"""Captions rewritten by a real language model: SmolLM2 by llama.cpp, and behind Ollama's API."""

import shlex

import pytest

from hpcpipe.errors import SetupError
from tests.servers.llm_llama import MODEL
from tests.servers.llm_process import ROOT, command, llm_server
from tests.stages.rewriting import prompts, rewritten, rows

CAPTIONS = {
    "nurse": "a photo of a nurse in a hospital",
    "horse": "a woman riding a horse on the beach 🐎",
    "arabic": "صورة امرأة مبتسمة",
    "long": "a very long photo of a nurse " * 3500,
    "surrogate": "a photo \ud83d of two doctors\x00 talking \x1b[31m",
}
ASK = {
    "model": MODEL,
    "system": "You answer in one short sentence.",
    "template": "Describe this picture: {caption}",
    "language": None,
    "attempts": 4,
    "servers__max_in_flight": 2,
    "servers__timeout_s": 120,
}


def check(run):
    made, told = prompts(run), rows(run)
    assert list(told) == list(CAPTIONS)
    assert {told[key]["status"] for key in ("nurse", "horse")} == {"made"}
    assert len(made["nurse.json"]) > 10
    assert (told["long"]["reason"], told["long"]["tries"]) == ("http_400", 1)
    assert "context" in told["long"]["message"]
    stats = run.stats()
    unmade = sum(value for name, value in stats.items() if name.startswith("failed_to_rewrite."))
    assert stats["samples"] == len(CAPTIONS) == len(made) + unmade


def test_a_real_model_behind_a_server_that_the_worker_starts(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    started = shlex.join(command("llm_llama", "{port}"))
    options = {"max_tokens": 80, "temperature": 0.2}
    run = rewritten(
        tmp_path,
        CAPTIONS,
        [],
        api="openai",
        servers__start__command=started,
        options=options,
        **ASK,
    )
    run.exit_stack.close()
    check(run)


def test_a_real_model_behind_ollama(tmp_path):
    ask = {"api": "ollama", "options": {"num_predict": 80, "temperature": 0.2}, **ASK}
    with llm_server("llm_ollama") as url:
        check(rewritten(tmp_path, CAPTIONS, [url], **ask))
        with pytest.raises(SetupError, match=r"HTTP 404: model 'smollm3' not found") as caught:
            rewritten(tmp_path / "wrong", CAPTIONS, [url], **{**ask, "model": "smollm3"})
        assert url in str(caught.value)
