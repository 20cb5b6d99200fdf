"""Tiny diffusion models of the real architectures with random weights, made on disk in seconds.

They load as the real ones do (``AutoPipelineForText2Image.from_pretrained`` of the folder); what
they draw is noise. By hand: ``python -m tests.models.tiny flux FOLDER``; kinds are in `KINDS`.
"""

import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Size:
    """How large the parts of a model are.

    Attributes:
        width: channels of a text encoder's hidden state.
        layers: layers of each part.
        heads: heads of its attention; one is 16 channels wide.
        vae_channels: channels of the VAE's four levels, which make images 8 times as large.
    """

    width: int
    layers: int
    heads: int
    vae_channels: tuple[int, int, int, int]


TINY = Size(width=32, layers=1, heads=2, vae_channels=(4, 4, 8, 8))
MIDDLE = Size(width=256, layers=4, heads=12, vae_channels=(32, 64, 64, 64))
"""Takes seconds a batch on a few cores: long enough for what surrounds a model to be measured."""

CLIP_TOKENS = 77
_WORDS = ["▁a", "▁photo", "▁of", "▁the", "▁man", "▁woman", "▁nurse", "▁doctor"]


def make_flux(folder, size=TINY):
    """As FLUX.1-schnell: two text encoders, a flow transformer without guidance."""
    import torch
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel

    torch.manual_seed(0)
    channels = 4
    transformer = FluxTransformer2DModel(
        in_channels=4 * channels,
        num_layers=size.layers,
        num_single_layers=2 * size.layers,
        attention_head_dim=16,
        num_attention_heads=size.heads,
        joint_attention_dim=size.width,
        pooled_projection_dim=size.width,
        axes_dims_rope=(4, 4, 8),
        guidance_embeds=False,
    )
    pipeline = FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=1.0),
        vae=_vae(size, channels, shift_factor=0.1159, scaling_factor=0.3611),
        text_encoder=_clip(size),
        tokenizer=clip_tokenizer(),
        text_encoder_2=_t5(size),
        tokenizer_2=t5_tokenizer(),
        transformer=transformer,
    )
    return _save(pipeline, folder)


def make_sd(folder, size=TINY):
    """As Stable Diffusion 1: one text encoder, a UNet, classifier-free guidance."""
    return _save(_sd(size), folder)


def make_sd_safe(folder, size=TINY, flags_all=False):
    """The same with a safety checker, which takes all images for unsafe, or none."""
    import torch
    from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
    from transformers import CLIPConfig, CLIPImageProcessor

    pipeline = _sd(size)
    vision = {
        "hidden_size": size.width,
        "intermediate_size": size.width,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 16,
    }
    checker = StableDiffusionSafetyChecker(CLIPConfig(vision_config=vision, projection_dim=16))
    threshold = -2.0 if flags_all else 2.0  # of a cosine
    torch.nn.init.constant_(checker.concept_embeds_weights, threshold)
    torch.nn.init.constant_(checker.special_care_embeds_weights, 2.0)
    pipeline.register_modules(
        safety_checker=checker,
        feature_extractor=CLIPImageProcessor(
            size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
        ),
    )
    pipeline.register_to_config(requires_safety_checker=True)
    return _save(pipeline, folder)


def make_sdxl(folder, size=TINY):
    """As SDXL-turbo: two text encoders, both used by the UNet; one step, no guidance."""
    from diffusers import EulerAncestralDiscreteScheduler, StableDiffusionXLPipeline

    pipeline = StableDiffusionXLPipeline(
        vae=_vae(size, 4, scaling_factor=0.13025),
        text_encoder=_clip(size),
        text_encoder_2=_clip(size, projected=True),
        tokenizer=clip_tokenizer(),
        tokenizer_2=clip_tokenizer(),
        unet=_unet(
            size,
            2 * size.width,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + size.width,
        ),
        scheduler=EulerAncestralDiscreteScheduler(timestep_spacing="trailing"),
    )
    return _save(pipeline, folder)


def _save(pipeline, folder):
    pipeline.save_pretrained(folder, safe_serialization=True)
    return Path(folder)


def _sd(size):
    import torch
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    torch.manual_seed(0)
    return StableDiffusionPipeline(
        vae=_vae(size, 4, scaling_factor=0.18215),
        text_encoder=_clip(size),
        tokenizer=clip_tokenizer(),
        unet=_unet(size, size.width),
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _vae(size, latent_channels, **config):
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=size.vae_channels,
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=latent_channels,
        **config,
    )


def _unet(size, text_width, **config):
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(16 * size.heads, 32 * size.heads),
        layers_per_block=size.layers,
        attention_head_dim=16,
        norm_num_groups=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=text_width,
        **config,
    )


def _clip(size, projected=False):
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    first_end = len(_bytes_of_clip()) * 2 + 1
    config = CLIPTextConfig(
        vocab_size=first_end + 1,
        hidden_size=size.width,
        intermediate_size=2 * size.width,
        num_hidden_layers=2,  # SDXL takes the last but one
        num_attention_heads=2,
        max_position_embeddings=CLIP_TOKENS,
        projection_dim=size.width,
        bos_token_id=first_end - 1,
        eos_token_id=first_end,
        pad_token_id=first_end,
    )
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config)


def _t5(size):
    from transformers import T5Config, T5EncoderModel

    config = T5Config(
        vocab_size=len(_t5_vocab()),
        d_model=size.width,
        d_kv=16,
        d_ff=2 * size.width,
        num_layers=size.layers,
        num_heads=2,
        feed_forward_proj="gated-gelu",
    )
    return T5EncoderModel(config)


def _bytes_of_clip():
    """The 256 characters that byte-level BPE writes bytes as, in its order."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return [chr(byte) for byte in plain] + [chr(256 + n) for n in range(len(others))]


def clip_tokenizer():
    """Every byte a token, without merges."""
    from transformers import CLIPTokenizer

    letters = _bytes_of_clip()
    tokens = [*letters, *(f"{one}</w>" for one in letters), "<|startoftext|>", "<|endoftext|>"]
    vocab = {token: number for number, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocab, merges=[], model_max_length=CLIP_TOKENS)


def _t5_vocab():
    letters = [chr(code) for code in range(32, 127)]
    pieces = ["▁", *_WORDS, *letters]
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    return special + [(piece, -float(len(piece) == 1) - 1) for piece in dict.fromkeys(pieces)]


def t5_tokenizer():
    """A few words, and letters for all others."""
    from transformers import T5TokenizerFast

    return T5TokenizerFast(vocab=_t5_vocab(), extra_ids=0, model_max_length=512)


KINDS = {"flux": make_flux, "sd": make_sd, "sd_safe": make_sd_safe, "sdxl": make_sdxl}
SIZES = {"tiny": TINY, "middle": MIDDLE}


def main(kind, folder, size="tiny"):
    KINDS[kind](folder, SIZES[size])
    print(f"{folder}: a {size} {kind}")


if __name__ == "__main__":
    main(*sys.argv[1:])
