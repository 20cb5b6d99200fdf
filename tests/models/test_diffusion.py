"""Pipelines of diffusers: every family draws, what does not fit is refused in words."""

import inspect
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch

from hpcpipe.errors import SetupError
from hpcpipe.models import diffusion as module
from hpcpipe.models.batch_size import BatchSize
from hpcpipe.models.diffusion import MAX_PROMPT_CHARS, Diffusion
from hpcpipe.models.diffusion_load import TRIAL, compile_blocks, load, try_out
from hpcpipe.models.hub import FoundModel
from hpcpipe.models.prompts import Drawing, Encoded
from tests.models import tiny

pytestmark = pytest.mark.filterwarnings(
    # Of diffusers' schedulers, with a numpy that is newer than they know.
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)

CPU = torch.device("cpu")
DRAWING = Drawing(
    steps=2,
    guidance=0.0,
    width_px=32,
    height_px=32,
    max_sequence_length=64,
    negative_prompt=None,
)
PROMPTS = ["a photo of a nurse", "a man", "شخص 🙂"]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return {kind: make(root / kind) for kind, make in tiny.KINDS.items()}


@pytest.fixture(scope="module")
def flux(models):
    """The pipeline, loaded once; not to be changed."""
    return open_model(models["flux"])._pipeline


def around(pipeline, **drawing):
    return Diffusion(pipeline, replace(DRAWING, **drawing), CPU)


def open_model(folder, drawing=DRAWING, dtype="float32"):
    return load(FoundModel(folder, None), "mine", drawing, CPU, dtype)


def draw(diffusion, prompts=PROMPTS):
    drawn = diffusion.draw(diffusion.encode(prompts), range(len(prompts)))
    assert [one.failure() for one in drawn] == [None] * len(prompts)
    return np.stack([one.pixels() for one in drawn])


@pytest.mark.parametrize(
    ("kind", "drawing"),
    [
        ("flux", DRAWING),
        ("sd", replace(DRAWING, guidance=7.5, negative_prompt="blurry")),
        ("sd_safe", DRAWING),
        ("sdxl", DRAWING),
        ("sdxl", replace(DRAWING, guidance=2.0)),
    ],
)
def test_prompts_that_are_encoded_ahead_give_what_the_pipeline_itself_gives(models, kind, drawing):
    diffusion = open_model(models[kind], drawing)
    assert diffusion.encode(PROMPTS).tensors
    ahead = draw(diffusion)
    assert ahead.shape == (3, 32, 32, 3)
    assert ahead.dtype == np.uint8
    diffusion._encoded_names = ()
    assert diffusion.encode(PROMPTS).tensors == {}
    assert np.array_equal(draw(diffusion), ahead)


def test_a_part_of_a_batch_and_a_padded_one_give_the_same(flux):
    diffusion = around(flux)
    whole = draw(diffusion).astype(int)
    encoded = diffusion.encode(PROMPTS)
    for least in (1, 5):
        drawn = diffusion.draw(encoded[1:3], [1, 2], least)
        assert len(drawn) == 2
        pixels = np.stack([one.pixels() for one in drawn])
        assert abs(pixels.astype(int) - whole[1:]).max() <= 1


def test_what_is_encoded_on_a_gpu_is_read_once_it_is_ready(flux, monkeypatch):
    happened = []
    stream = SimpleNamespace(wait_event=lambda event: happened.append(event))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream)
    padded = Encoded.padded

    def told(self, size):
        happened.append(size)
        return padded(self, size)

    monkeypatch.setattr(Encoded, "padded", told)
    diffusion = around(flux)
    encoded = replace(diffusion.encode(PROMPTS[:1]), is_ready="event")
    assert len(diffusion.draw(encoded, [1], 2)) == 1
    assert happened == ["event", 2]


def test_number_types_of_half_the_size_draw_too(models):
    assert draw(open_model(models["flux"], dtype="bfloat16")).shape == (3, 32, 32, 3)


def test_prompts_are_too_long_where_every_encoder_cuts_them(models, flux):
    long_for_clip, long_for_both = "x" * 70, "x " * 80
    encoded = around(flux, max_sequence_length=100).encode(["a", long_for_clip, long_for_both])
    assert list(encoded.is_cut) == [False, False, True]
    sd = open_model(models["sd"])
    assert list(sd.encode(["a", "x" * 80]).is_cut) == [False, True]
    endless = sd.encode(["a", " " * 1_000_000])
    assert list(endless.is_cut) == [False, True]
    assert [len(prompt) for prompt in endless.prompts] == [1, MAX_PROMPT_CHARS]


def test_a_picture_that_the_safety_checker_refuses_is_known(tmp_path):
    diffusion = open_model(tiny.make_sd_safe(tmp_path / "sd", flags_all=True))
    drawn = diffusion.draw(diffusion.encode(PROMPTS), range(3))
    assert [one.failure() for one in drawn] == ["unsafe"] * 3


def test_memory_that_does_not_hold_prompts_beside_a_batch_is_no_error(flux, monkeypatch):
    diffusion = around(flux)
    expected = draw(diffusion)

    def encode_prompt(self, *args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(type(flux), "encode_prompt", encode_prompt)
        encoded = diffusion.encode(PROMPTS)
    assert encoded.tensors == {}
    drawn = diffusion.draw(encoded, range(3))
    assert np.array_equal(np.stack([one.pixels() for one in drawn]), expected)


@pytest.mark.filterwarnings("ignore:`upcast_vae` is deprecated:FutureWarning")
def test_a_vae_that_ran_out_of_memory_in_another_type_is_put_back(models, monkeypatch):
    diffusion = open_model(models["sdxl"], dtype="float16")
    expected = draw(diffusion)
    vae = diffusion._pipeline.vae

    def out_of_memory(*args, **kwargs):
        assert vae.dtype == torch.float32  # in float16 it overflows
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(vae, "decode", out_of_memory)
        with pytest.raises(torch.OutOfMemoryError):
            draw(diffusion)
    assert np.array_equal(draw(diffusion), expected)


def test_a_compiled_model_draws_the_same(models, monkeypatch):
    compiled = []
    compile_ = torch.compile

    def compile_without_code(function, **options):
        compiled.append(options)
        return compile_(function, **options, backend="eager")

    diffusion = open_model(models["flux"])
    expected = draw(diffusion).astype(int)
    monkeypatch.setattr(torch, "compile", compile_without_code)
    monkeypatch.setattr(torch._dynamo.config, "recompile_limit", 8)
    compile_blocks(diffusion)
    # Flux takes two for each size of batch, of which halving may give many
    assert torch._dynamo.config.recompile_limit > 16
    assert compiled == [{"dynamic": False}] * 3
    assert abs(draw(diffusion).astype(int) - expected).max() <= 1
    torch._dynamo.reset()


def test_trying_out_finds_the_size_of_batch_that_fits(flux, monkeypatch):
    diffusion = around(flux)
    draw_ = diffusion.draw

    def short_of_memory(encoded, seeds):
        if len(encoded) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return draw_(encoded, seeds)

    monkeypatch.setattr(diffusion, "draw", short_of_memory)
    batches = BatchSize(8, "")
    assert len(batches.run([TRIAL] * 8, lambda part: try_out(diffusion, part))) == 8
    assert batches.size == 2


def test_a_size_that_the_model_does_not_draw_is_refused(flux):
    diffusion = around(flux, width_px=40)
    with pytest.raises(SetupError, match=r"draws 32x32 pixels where .* say 40x32"):
        try_out(diffusion, [TRIAL])


def test_options_that_the_pipeline_refuses_are_told_in_its_words(flux):
    diffusion = around(flux, max_sequence_length=1000)
    with pytest.raises(SetupError, match=r"cannot draw with these options: .*max_sequence_length"):
        try_out(diffusion, [TRIAL])


def test_a_model_that_draws_nothing_but_nan_is_refused(flux, monkeypatch):
    diffusion = around(flux)
    decode = flux.vae.decode
    monkeypatch.setattr(flux.vae, "decode", lambda *a, **k: (decode(*a, **k)[0] * math.nan,))
    with pytest.raises(SetupError, match=r"nothing but NaN.*stage\.dtype=bfloat16"):
        try_out(diffusion, [TRIAL])


@pytest.mark.parametrize(
    ("kind", "guidance", "message"),
    [
        ("flux", 7.5, "does nothing with FluxPipeline"),
        ("sd", 1.0, r"where stage\.guidance is 1 or less"),
    ],
)
def test_a_negative_prompt_that_does_nothing_is_refused(models, kind, guidance, message):
    drawing = replace(DRAWING, guidance=guidance, negative_prompt="blurry")
    with pytest.raises(SetupError, match=message):
        open_model(models[kind], drawing)


def test_a_negative_prompt_that_a_model_is_guided_by_in_its_own_way_is_none_of_these():
    class OwnWay:
        components: ClassVar = {}

        def __call__(self, prompt=None, negative_prompt=None, true_cfg_scale=4.0):
            raise AssertionError("nothing is drawn here")

    drawing = replace(DRAWING, guidance=0.0, negative_prompt=" ")
    assert Diffusion(OwnWay(), drawing, CPU).drawing == drawing


@pytest.fixture
def copy(models, tmp_path):
    return Path(shutil.copytree(models["sd"], tmp_path / "copy"))


def set_class(folder, name):
    index = folder / "model_index.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "_class_name": name}))


def only_pickles(folder):
    weights = folder / "unet/diffusion_pytorch_model.safetensors"
    weights.rename(folder / "unet/diffusion_pytorch_model.bin")


def cut_off(folder):
    weights = folder / "unet/diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda folder: set_class(folder, "StableVideoDiffusionPipeline"),
            "can't find",
        ),
        (lambda folder: shutil.rmtree(folder / "vae"), "config.json"),
        (only_pickles, "safetensors"),
        (cut_off, "safetensors"),
        (lambda folder: (folder / "model_index.json").unlink(), "model_index.json"),
    ],
)
def test_a_folder_that_is_no_whole_model_is_one_message(copy, spoil, message):
    spoil(copy)
    with pytest.raises(SetupError, match=r"model mine in .* cannot be loaded") as error:
        open_model(copy)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_known_ways_to_encode_are_those_of_the_library():
    import diffusers

    for name, given in module._ENCODED.items():
        pipeline = getattr(diffusers, name)
        assert set(given) <= set(inspect.signature(pipeline.__call__).parameters), name
