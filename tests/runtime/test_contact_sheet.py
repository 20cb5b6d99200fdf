"""Contact sheets: from finished shards only, self-contained, and nobody's text is markup."""

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from hpcpipe.cli import contact_sheet, status
from hpcpipe.errors import ConfigError
from hpcpipe.manifest.rundir import RunDir
from hpcpipe.runtime import find
from hpcpipe.runtime.contact_sheet import FILE
from tests.toys.runs import run_here, toy_config, write_inputs

PHOTO = Path(__file__).parents[1] / "data/photos/astronaut.jpg"


class Page(HTMLParser):
    """What a browser would make of a page: elements, their attributes, and text."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.texts, self.images = [], [], []
        self.feed(Path(path).read_text(encoding="utf-8"))
        self.text = "\n".join(self.texts)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag == "img":
            self.images.append(dict(attributes)["src"])

    def handle_data(self, data):
        self.texts.append(data)

    def sample_keys(self):
        return re.findall(r"^(\w+-\d+)$", self.text, re.MULTILINE)


def config_of(folder, **values):
    return toy_config(folder, "shown", stage__word=str(PHOTO), **values)


@pytest.fixture
def run_dir(tmp_path):
    """A run of four shards, one of which failed."""
    write_inputs(tmp_path, a="one", b="two", c="three", d="bad")
    config = config_of(tmp_path)
    assert run_here(config).exit_code == 3
    return Path(config.run_dir)


def test_a_run_that_is_over_has_a_sheet_that_needs_nothing_else(run_dir, capsys):
    page = Page(run_dir / FILE)
    assert len(page.sample_keys()) == 48
    assert {key.partition("-")[0] for key in page.sample_keys()} == {"a", "b", "c"}
    allowed = {"href": None, "src": re.compile("data:image/jpeg;base64,"), "srcset": None}
    for tag, attributes in page.tags:
        assert tag not in {"script", "link", "iframe", "object", "form", "b"}
        for name, value in attributes.items():
            assert not name.startswith("on")
            assert name not in allowed or allowed[name].match(value)
    assert (run_dir / FILE).stat().st_size < 5_000_000
    for source in page.images:
        image = Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2])))
        image.load()
        assert max(image.size) == 400
    capsys.readouterr()
    assert status.main([str(run_dir)]) == 0
    assert f"sheet      {run_dir / FILE}" in capsys.readouterr().out


def test_texts_boxes_and_what_is_missing_are_shown_as_they_are(run_dir):
    page = Page(run_dir / FILE)
    assert "</p><script>alert('x')</script>" in page.text
    assert "\\ud800 שלום 👩\u200d🚀 &amp;" in page.text
    assert "more characters" in page.text
    assert not re.search(r"[\x00-\x08\x0b-\x1f]", page.text)
    assert {"it is <gone>", "image is truncated", "0.98 <b>"} <= {
        text.removeprefix("jpg ") for text in page.texts
    }
    boxes = {attributes["style"] for tag, attributes in page.tags if tag == "i"}
    assert boxes == {"left:10.00%;top:20.00%;width:50.00%;height:80.00%"}
    assert "group" not in page.texts


def test_a_sheet_can_be_had_in_any_size_and_is_the_same_for_a_seed(run_dir, tmp_path, capsys):
    def keys(*args):
        target = tmp_path / "look.html"
        assert contact_sheet.main([str(run_dir), "-o", str(target), *args]) == 0
        return Page(target).sample_keys()

    assert keys("-n", "4") == keys("-n", "4")
    assert keys("-n", "4", "--seed", "1") != keys("-n", "4")
    assert len(keys("-n", "4")) == 4
    assert "shown      4 samples" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="name another file: -o FILE"):
        keys("-o", str(tmp_path / "none/look.html"))


def test_of_a_run_that_goes_on_finished_shards_are_shown(tmp_path):
    write_inputs(tmp_path, a="one", b="two")
    config = config_of(tmp_path, limit=1)
    assert run_here(config).exit_code == 0
    run_dir = Path(config.run_dir)
    assert not (run_dir / FILE).exists()
    assert contact_sheet.main([str(run_dir), "-n", "3"]) == 0
    page = Page(run_dir / FILE)
    assert len(page.sample_keys()) == 3
    assert "1 of 2 done" in page.text


def test_a_shard_that_cannot_be_shown_is_named_and_spoils_nothing(tmp_path, capsys):
    write_inputs(tmp_path, a="one", torn="two")
    config = config_of(tmp_path)
    assert run_here(config).exit_code == 0
    assert f"sheet      {config.run_dir}/{FILE}" in capsys.readouterr().out
    page = Page(Path(config.run_dir) / FILE)
    assert "shard torn: torn.out is torn" in page.texts
    assert {key.partition("-")[0] for key in page.sample_keys()} == {"a"}


def test_where_nothing_can_be_shown_the_run_is_done_all_the_same(tmp_path):
    write_inputs(tmp_path, a="one")
    config = toy_config(tmp_path, "shown", stage__word=str(tmp_path / "none.jpg"))
    assert run_here(config).exit_code == 0
    assert not (Path(config.run_dir) / FILE).exists()


def test_a_stage_without_looks_and_a_run_of_somebody_else_are_refused(
    tmp_path, run_dir, monkeypatch
):
    other = tmp_path / "other"
    other.mkdir()
    write_inputs(other, a="one")
    config = toy_config(other)
    run_here(config)
    with pytest.raises(ConfigError, match="stage toy has no contact sheets"):
        contact_sheet.main([config.run_dir])
    monkeypatch.setattr(find, "is_own", lambda run: False)
    with pytest.raises(ConfigError, match="for runs of one's own only"):
        find.own_stage(RunDir(run_dir))
