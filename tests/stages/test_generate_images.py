"""generate_images with a tiny Flux: what it writes, and that this is always the same."""

import functools
import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hpcpipe.compose.api import compose_run
from hpcpipe.formats.captions import encode_captions
from hpcpipe.formats.selected import Face, Selected, encode_selected
from hpcpipe.models.pictures import pictures
from hpcpipe.models.seeds import sample_seed
from hpcpipe.stage import ShardStopped
from hpcpipe.stages import _generate_shard
from tests.models.tiny import make_flux
from tests.stages.drive import Drive
from tests.stages.tars import read_tar

PROMPTS = {f"k{n}": f"a photo of a nurse {n}" for n in range(7)}
RECORD = {
    "uid": "u0",
    "caption": "eine Ärztin",
    "url": "https://example.org/0.webp",
    "sha256": "ab" * 32,
    "width": 640,
    "height": 480,
    "original_width": 640,
    "face_bboxes": [[0.1, 0.1, 0.2, 0.2]],
    "clip_l14_similarity_score": 0.3,
    "quality": float("nan"),
}

LOAD = functools.cache(_generate_shard.load)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_flux(tmp_path_factory.mktemp("flux"))


@pytest.fixture(autouse=True)
def _loaded_once(monkeypatch):
    monkeypatch.setattr(_generate_shard, "load", LOAD)


@pytest.fixture
def drive(tmp_path, model):
    """Makes drives over prompts; each of its own name has its own folder of outputs."""
    drives = []

    def make(name="run", prompts=PROMPTS, selected=None, **options):
        root = tmp_path / name
        (root / "prompts").mkdir(parents=True)
        shards = {"0": prompts} if isinstance(next(iter(prompts.values()), ""), str) else prompts
        for shard, texts in shards.items():
            (root / f"prompts/{shard}.json").write_bytes(encode_captions(texts))
        if selected is not None:
            (root / "selected").mkdir()
            (root / "selected/0.jsonl").write_bytes(b"".join(map(encode_selected, selected)))
            options["selected"] = str(root / "selected")
        defaults = {"width_px": 32, "height_px": 32, "dtype": "float32", "batch_size": 4}
        stage = compose_run(
            "generate_images",
            input=str(root / "prompts"),
            model=str(model),
            **{**defaults, **options},
        ).stage
        drives.append(Drive(stage, root))
        return drives[-1]

    yield make
    for one in drives:
        one.exit_stack.close()


def images(drive, shard="0"):
    return {name: data for name, data in read_tar(f"{drive.out}/{shard}.tar") if "jpg" in name}


def notes(drive, shard="0"):
    text = Path(drive.out, f"{shard}.meta.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_a_sample_is_a_new_image_its_prompt_and_a_json_that_is_true_of_both(drive):
    face = Face(box=(0.1, 0.1, 0.2, 0.2), score=None)
    original = Selected(
        key="k0",
        caption="eine Ärztin",
        json=RECORD,
        faces=(face,),
        tar="/data/0.tar",
        image="webp",
        offset_bytes=512,
        size_bytes=9,
    )
    one = drive(prompts={"k0": "a black nurse"}, selected=[original], seed=5)
    (one.root / "prompts/0.meta.jsonl").write_text(
        '{"key": "k0", "status": "made", "prompt": "a black nurse", "tries": 1, "model": "tulu3", '
        '"choices": {"gender": "female"}}\n'
    )
    one.run()
    (jpg, image), (txt, prompt), (name, record) = read_tar(f"{one.out}/0.tar")
    assert (jpg, txt, name) == ("k0.jpg", "k0.txt", "k0.json")
    assert prompt == b"a black nurse"
    with Image.open(io.BytesIO(image)) as opened:
        assert (opened.format, opened.size) == ("JPEG", (32, 32))
    assert json.loads(record, parse_constant=pytest.fail) == {
        "uid": "u0",
        "caption": "a black nurse",
        "url": "https://example.org/0.webp",
        "sha256": hashlib.sha256(image).hexdigest(),
        "width": 32,
        "height": 32,
        "quality": None,
        "generated": {
            "model": one.stage.model,
            "commit": None,
            "steps": 2,
            "guidance": 0.0,
            "width": 32,
            "height": 32,
            "max_sequence_length": 256,
            "negative_prompt": None,
            "dtype": "float32",
            "seed": sample_seed("k0", 5),
            "original": {"caption": "eine Ärztin", "sha256": "ab" * 32, "tar": "/data/0.tar"},
            "rewritten": {"model": "tulu3", "choices": {"gender": "female"}},
        },
    }
    assert one.num_samples == {"0": 1}


def test_a_samples_image_is_the_same_in_any_batch_shard_and_order(drive):
    first = images(drive("first").run())
    assert list(first) == [f"{key}.jpg" for key in PROMPTS]
    assert len(set(first.values())) == len(PROMPTS)
    backwards = dict(reversed(PROMPTS.items()))
    halves = {"0": dict(list(backwards.items())[:3]), "1": dict(list(backwards.items())[3:])}
    other = drive("other", halves, batch_size=3).run()
    assert _differ_by({**images(other, "0"), **images(other, "1")}, first) <= 1
    assert _differ_by(images(drive("ones", batch_size=1).run()), first) <= 1
    assert images(drive("again").run()) == first
    assert set(images(drive("seed", seed=1).run()).values()).isdisjoint(first.values())


def _differ_by(some, others):
    """The largest difference of a pixel: kernels may round otherwise in batches of another size."""
    assert some.keys() == others.keys()
    decoded = [
        [np.asarray(Image.open(io.BytesIO(one[name]))).astype(int) for name in others]
        for one in (some, others)
    ]
    return max(int(abs(a - b).max()) for a, b in zip(*decoded, strict=True))


def test_what_is_not_made_is_counted_and_listed(drive):
    prompts = {"k0": "a nurse", "k1": "", "../k2": "a man", "k3": "word " * 400}
    prompts["k4"] = "a \ud800 man 🙂"  # half of a character: no tokenizer takes it
    one = drive(prompts=prompts).run()
    assert one.stats() == {
        "samples": 5,
        "images": 3,
        "left_out_prompt.empty": 1,
        "left_out_prompt.unsafe_key": 1,
        "prompts_cut": 1,
    }
    assert [(n["key"], n["status"], n["reason"], n["prompt_cut"]) for n in notes(one)] == [
        ("k0", "made", None, False),
        ("k1", "left_out_prompt", "empty", False),
        ("../k2", "left_out_prompt", "unsafe_key", False),
        ("k3", "made", None, True),
        ("k4", "made", None, False),
    ]
    assert dict(read_tar(f"{one.out}/0.tar"))["k4.txt"].decode() == "a ? man 🙂"


@pytest.mark.parametrize("edits_format", ["tar", "files"])
def test_keys_that_are_one_name_to_reshard_are_drawn_once(drive, edits_format):
    one = drive(prompts={"k0": "a nurse", "./k0": "a man"}, edits_format=edits_format).run()
    assert one.stats() == {"samples": 2, "images": 1, "left_out_prompt.repeated_key": 1}
    assert [(n["key"], n["reason"]) for n in notes(one)] == [("k0", None), ("./k0", "repeated_key")]


@pytest.mark.parametrize("edits_format", ["tar", "files"])
def test_a_sample_whose_file_would_be_anothers_folder_is_left_out(drive, edits_format):
    keys = ["k", "k.jpg/z", "a.txt/b/c", "a", "a.txt/d"]
    one = drive(prompts=dict.fromkeys(keys, "a nurse"), edits_format=edits_format).run()
    if edits_format == "tar":
        assert one.stats() == {"samples": 5, "images": 5}
        return
    assert one.stats() == {"samples": 5, "images": 3, "left_out_prompt.clashing_key": 2}
    assert [n["key"] for n in notes(one) if n["reason"] == "clashing_key"] == ["k.jpg/z", "a"]
    made = {path.name for path in Path(one.out, "0").rglob("*.jpg")}
    assert made == {"k.jpg", "c.jpg", "d.jpg"}


def test_pictures_that_are_none_are_failed_samples(drive, monkeypatch):
    one = drive()
    (shard,) = one.plan()
    one.state = one.stage.setup(one.setup_context())

    def draw(encoded, seeds, least):
        import torch

        drawn = torch.full((len(seeds), 3, 32, 32), 0.5)
        drawn[0], drawn[1, 0, 0, 0] = 0, float("nan")
        return pictures(drawn, [False, False, True, *[False] * (len(seeds) - 3)])

    monkeypatch.setattr(one.state.diffusion, "draw", draw)
    one.process(shard)
    assert one.stats() == {
        "samples": 7,
        "images": 1,
        "failed_to_draw.black": 2,
        "failed_to_draw.not_finite": 2,
        "left_out_by_safety_checker.unsafe": 2,
    }
    assert list(images(one)) == ["k3.jpg"]


def test_memory_that_runs_out_makes_batches_smaller_and_images_no_others(drive, monkeypatch):
    import torch

    expected = images(drive("expected").run())
    one = drive()
    (shard,) = one.plan()
    one.state = one.stage.setup(one.setup_context())
    draw, sizes = one.state.diffusion.draw, []

    def short_of_memory(encoded, seeds, least=1):
        sizes.append(len(seeds))
        if len(seeds) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return draw(encoded, seeds)

    monkeypatch.setattr(one.state.diffusion, "draw", short_of_memory)
    one.process(shard)
    assert _differ_by(images(one), expected) <= 1
    assert sizes[:3] == [4, 2, 2]
    assert one.state.batches.size == 2


def test_a_stopped_shard_goes_on_where_it_was_and_gives_the_same_bytes(drive, monkeypatch):
    whole = drive("whole", batch_size=2).run()
    one = drive("stopped", batch_size=2)
    (shard,) = one.plan()
    one.state = one.stage.setup(one.setup_context())
    drawn = []
    draw = one.state.diffusion.draw

    def counted(encoded, seeds, least):
        drawn.append(len(seeds))
        return draw(encoded, seeds)

    monkeypatch.setattr(one.state.diffusion, "draw", counted)
    for attempt, batches in ((1, 1), (2, 2)):
        with pytest.raises(ShardStopped):
            one.process(shard, attempt, lambda: len(drawn) >= batches)  # noqa: B023
    one.process(shard, 3)
    assert drawn == [2, 2, 2, 1]
    for name in ("0.tar", "0.meta.jsonl"):
        assert Path(one.out, name).read_bytes() == Path(whole.out, name).read_bytes()
    assert one.stats() == whole.stats()


def test_a_shard_without_prompts_has_an_empty_tar(drive):
    one = drive(prompts={"0": {}}).run()
    assert read_tar(f"{one.out}/0.tar") == []
    assert one.stats() == {"samples": 0}


def test_loose_files_and_other_formats(drive):
    one = drive(
        prompts={"k0": "a nurse"}, edits_format="files", image_format="png", image_quality=3
    )
    one.run()
    with Image.open(f"{one.out}/0/k0.png") as opened:
        assert opened.format == "PNG"
    assert Path(one.out, "0/k0.txt").read_text() == "a nurse"
    assert json.loads(Path(one.out, "0/k0.json").read_bytes())["caption"] == "a nurse"
