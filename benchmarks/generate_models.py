"""Pipelines for the benchmark: tiny and middle-sized on disk, and one of FLUX.1-schnell's shape.

The large one (12 billion parameters, 4.8 in its text encoder) is made on the GPU at once, of random
numbers: nobody has to download or store 34 GB to see how busy a GPU is kept.
"""

from dataclasses import dataclass
from pathlib import Path

import torch

from hpcpipe.models.diffusion import Diffusion
from hpcpipe.models.diffusion_load import load
from hpcpipe.models.hub import FoundModel
from tests.models import tiny


@dataclass(frozen=True)
class Shape:
    """What differs between FLUX.1-schnell and a small model of the same code."""

    layers: int
    single_layers: int
    heads: int
    head_channels: int
    rope: tuple[int, int, int]
    t5_width: int
    t5_layers: int
    t5_heads: int
    clip_width: int
    clip_layers: int
    vae_channels: tuple[int, int, int, int]


SCHNELL = Shape(19, 38, 24, 128, (16, 56, 56), 4096, 24, 64, 768, 12, (128, 256, 512, 512))
SMALL = Shape(1, 2, 2, 16, (4, 4, 8), 64, 1, 2, 32, 2, (8, 8, 16, 16))
"""To see on any machine that the code works."""


def from_disk(kind, size, folder, drawing):
    """Make a model on disk where it is not there, and load it as the stage does."""
    if not (folder / "model_index.json").exists():
        tiny.KINDS[kind](folder, tiny.SIZES[size])
    return load(FoundModel(Path(folder), None), kind, drawing, torch.device("cpu"), "float32")


def in_memory(shape, drawing, device, dtype):
    """A pipeline of Flux's architecture with random weights."""
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline

    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            torch.manual_seed(0)
            parts = _parts(shape)
    finally:
        torch.set_default_dtype(torch.float32)
    pipeline = FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=1.0),
        tokenizer=tiny.clip_tokenizer(),
        tokenizer_2=tiny.t5_tokenizer(),
        **{name: part.eval() for name, part in parts.items()},
    )
    pipeline.set_progress_bar_config(disable=True)
    return Diffusion(pipeline, drawing, torch.device(device))


def _parts(shape):
    from diffusers import AutoencoderKL, FluxTransformer2DModel
    from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

    transformer = FluxTransformer2DModel(
        in_channels=64,
        num_layers=shape.layers,
        num_single_layers=shape.single_layers,
        attention_head_dim=shape.head_channels,
        num_attention_heads=shape.heads,
        joint_attention_dim=shape.t5_width,
        pooled_projection_dim=shape.clip_width,
        axes_dims_rope=shape.rope,
        guidance_embeds=False,
    )
    t5 = T5Config(
        vocab_size=32128,
        d_model=shape.t5_width,
        d_kv=64,
        d_ff=5 * shape.t5_width // 2,
        num_layers=shape.t5_layers,
        num_heads=shape.t5_heads,
        feed_forward_proj="gated-gelu",
    )
    clip = CLIPTextConfig(
        vocab_size=49408,
        hidden_size=shape.clip_width,
        intermediate_size=4 * shape.clip_width,
        num_hidden_layers=shape.clip_layers,
        num_attention_heads=max(1, shape.clip_width // 64),
        max_position_embeddings=tiny.CLIP_TOKENS,
        bos_token_id=512,
        eos_token_id=513,
        pad_token_id=513,
    )
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=shape.vae_channels,
        layers_per_block=2,
        norm_num_groups=min(32, shape.vae_channels[0]),
        latent_channels=16,
        use_quant_conv=False,
        use_post_quant_conv=False,
        shift_factor=0.1159,
        scaling_factor=0.3611,
    )
    return {
        "transformer": transformer,
        "text_encoder": CLIPTextModel(clip),
        "text_encoder_2": T5EncoderModel(t5),
        "vae": vae,
    }
