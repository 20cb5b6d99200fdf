"""Telling the language of short captions, as the stage does at its own threshold."""

from collections import Counter
from pathlib import Path

import pytest
import yaml

from hpcpipe.errors import SetupError
from hpcpipe.stages._rewrite_language import LanguageFilter

ROOT = Path(__file__).parents[2]
LINES = (ROOT / "tests/data/captions_by_language.tsv").read_text().splitlines()
MIN_SCORE = yaml.safe_load((ROOT / "conf/stage/rewrite_captions.yaml").read_text())[
    "min_language_score"
]


@pytest.fixture(scope="module")
def english():
    return LanguageFilter("en", MIN_SCORE)


def test_short_captions_in_english_are_kept_and_others_are_not(english):
    kept, all_captions = Counter(), Counter()
    for line in LINES:
        language, _, caption = line.partition("\t")
        all_captions[language == "en"] += 1
        kept[language == "en"] += english(caption)[2]
    assert (all_captions[True], all_captions[False]) == (60, 73)
    assert kept[True] >= 58
    assert kept[False] <= 1


ODD = ["", " ", "🐎", "\x00", "\ud800", "12345", "a" * 200_000, "THE BEST HAIRSTYLES FOR MEN"]


@pytest.mark.parametrize("caption", ODD, ids=lambda text: ascii(text[:20]))
def test_any_text_has_a_score(english, caption):
    language, score, is_kept = english(caption)
    assert isinstance(language, str)
    assert 0 <= score <= 1
    assert is_kept == (score >= MIN_SCORE)


def test_nothing_is_in_two_languages_at_once(english):
    french = LanguageFilter("fr", MIN_SCORE)
    captions = [line.partition("\t")[2] for line in LINES]
    assert not any(english(one)[2] and french(one)[2] for one in captions)


def test_a_language_that_nobody_knows_is_refused():
    with pytest.raises(SetupError, match=r"stage\.language=english.* en, "):
        LanguageFilter("english", 0.2)
