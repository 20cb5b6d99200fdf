"""Generating images: the stage beside the bare loop over the same model, in turns.

    python benchmarks/generate.py                 # tiny and middle-sized models, on the CPU
    python benchmarks/generate.py --cuda          # FLUX.1-schnell's shape, random, bfloat16
    python benchmarks/generate.py --cuda --small  # the same code, on any machine

The bare loop is what one would write with diffusers: call the pipeline with a batch of prompts,
save each of its images. The stage encodes prompts ahead, makes files behind the model, writes one
tar with the prompts and jsons too, saves its progress every 10 s, and checksums and syncs what it
writes. "Held up" is the part of the stage's time, but for the first batch's prompts and the last
one's files, in which the model had nothing to do: an upper bound of what it waits for writing.
Ratios are of the clock, and of the processor's seconds, which others on the machine change less.
"""

import argparse
import contextlib
import functools
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.generate_models import SCHNELL, SMALL, from_disk, in_memory
from hpcpipe.compose.api import compose_run
from hpcpipe.formats.captions import encode_captions
from hpcpipe.models.prompts import Drawing
from hpcpipe.models.seeds import generators, sample_seed
from hpcpipe.stages import _generate_shard
from tests.stages.drive import Drive

NUM_IMAGES = {"tiny": 256, "middle": 32}


class Contest:
    """One model, and one list of prompts for both."""

    def __init__(self, root, diffusion, num_images, batch_size, device):
        self.root = root
        self.diffusion = diffusion
        self.batch_size = batch_size
        self.device = device
        self.prompts = {f"k{n:05d}": f"a photo of a nurse, number {n}" for n in range(num_images)}
        self.folder = root / "prompts"
        self.folder.mkdir()
        (self.folder / "0.json").write_bytes(encode_captions(self.prompts))
        self.num_rounds = 0
        self.held_up = []

    def stage(self):
        """Seconds of the stage, up to the outputs' final names."""
        self.num_rounds += 1
        drawing = self.diffusion.drawing
        stage = compose_run(
            "generate_images",
            input=str(self.folder),
            model="/not/used",
            batch_size=self.batch_size,
            save_every_s=10,
            **{name: getattr(drawing, name) for name in vars(drawing)},
        ).stage
        drive = Drive(stage, self.root / f"stage-{self.num_rounds}")
        (shard,) = drive.plan()
        with drive.exit_stack, _loaded(self.diffusion), _Watch(self.diffusion) as watch:
            drive.state = _generate_shard.Tools(stage, drive.setup_context())
            watch.begin()
            started = time.perf_counter()
            drive.process(shard)
            seconds = time.perf_counter() - started
        assert drive.stats()["images"] == len(self.prompts)
        self.held_up.append(watch.held_up_s / seconds)
        return seconds

    def loop(self):
        """Seconds of the bare loop."""
        self.num_rounds += 1
        folder = self.root / f"loop-{self.num_rounds}"
        folder.mkdir()
        drawing, pipeline = self.diffusion.drawing, self.diffusion._pipeline
        items = list(self.prompts.items())
        started = time.perf_counter()
        for start in range(0, len(items), self.batch_size):
            batch = items[start : start + self.batch_size]
            images = pipeline(
                prompt=[prompt for _, prompt in batch],
                num_inference_steps=drawing.steps,
                guidance_scale=drawing.guidance,
                width=drawing.width_px,
                height=drawing.height_px,
                max_sequence_length=drawing.max_sequence_length,
                generator=generators([sample_seed(key, 0) for key, _ in batch]),
            ).images
            for (key, _), image in zip(batch, images, strict=True):
                image.save(folder / f"{key}.jpg", quality=90)
        return time.perf_counter() - started


@contextlib.contextmanager
def _loaded(diffusion):
    """Have the stage's set-up find the model that is loaded."""
    names = ("find", "open_device", "load", "try_out")
    before = {name: getattr(_generate_shard, name) for name in names}
    _generate_shard.find = lambda *args: argparse.Namespace(commit=None)
    _generate_shard.open_device = lambda *args: diffusion._device
    _generate_shard.load = lambda *args: diffusion
    _generate_shard.try_out = lambda one, prompts: prompts
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(_generate_shard, name, value)


class _Watch:
    """How long the model had nothing to do between its batches."""

    def __init__(self, diffusion):
        self._diffusion = diffusion
        self._draw, self._encode = diffusion.draw, diffusion.encode
        self.held_up_s = 0.0

    def begin(self):
        self._idle_since = None

    def __enter__(self):
        self._diffusion.draw = functools.partial(self._call, self._draw)
        if self._diffusion._device.type != "cuda":  # where prompts are encoded in between
            self._diffusion.encode = functools.partial(self._call, self._encode)
        return self

    def __exit__(self, *exc):
        del self._diffusion.draw
        vars(self._diffusion).pop("encode", None)

    def _call(self, function, *args):
        if self._idle_since is not None:
            self.held_up_s += time.perf_counter() - self._idle_since
        result = function(*args)
        self._idle_since = time.perf_counter()
        return result


class _Busy:
    """The share of time in which kernels ran, as nvidia-smi samples it."""

    def __init__(self):
        self.percents = []

    def __enter__(self):
        command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
        self._process = subprocess.Popen([*command, "-lms", "200"], stdout=subprocess.PIPE)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        return self

    def __exit__(self, *exc):
        self._process.terminate()
        self._reader.join()
        self._process.stdout.close()
        self._process.wait()

    def _read(self):
        for line in self._process.stdout:
            if line.strip().isdigit():
                self.percents.append(int(line))


def report(name, contest, num_rounds):
    """Run in turns; print medians."""
    contest.loop()  # warms up both
    seconds: dict[str, list[float]] = {"stage": [], "loop": []}
    cpu_seconds: dict[str, list[float]] = {"stage": [], "loop": []}
    on_gpu = contest.device == "cuda" and torch.cuda.is_available()
    busy = {which: _Busy() for which in seconds}
    for number in range(num_rounds):
        order = ("stage", "loop") if number % 2 else ("loop", "stage")
        for which in order:
            with busy[which] if on_gpu else contextlib.nullcontext():
                started = time.process_time()
                seconds[which].append(getattr(contest, which)())
                cpu_seconds[which].append(time.process_time() - started)
    ratios, cpu_ratios = (
        [a / b for a, b in zip(one["loop"], one["stage"], strict=True)]
        for one in (seconds, cpu_seconds)
    )
    found = {
        "model": name,
        "images": len(contest.prompts),
        "batch": contest.batch_size,
        "images_per_s": {
            which: round(len(contest.prompts) / statistics.median(one), 2)
            for which, one in seconds.items()
        },
        "stage_to_loop": round(statistics.median(ratios), 3),
        "of_rounds": [round(one, 2) for one in ratios],
        "stage_to_loop_of_cpu_seconds": round(statistics.median(cpu_ratios), 3),
        "held_up_percent": round(100 * statistics.median(contest.held_up), 2),
    }
    if on_gpu:
        found["gpu_busy_percent"] = {
            which: round(statistics.mean(one.percents), 1) for which, one in busy.items()
        }
        found["peak_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 1)
    print(json.dumps(found), flush=True)


def drawing(size_px, length):
    return Drawing(
        steps=2,
        guidance=0.0,
        width_px=size_px,
        height_px=size_px,
        max_sequence_length=length,
        negative_prompt=None,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cuda", action="store_true")
    parser.add_argument(
        "--small", action="store_true", help="with --cuda: a small model, on the CPU"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, help="a round; default 256, 32, with --cuda 512")
    parser.add_argument("--sizes", nargs="+", choices=NUM_IMAGES, default=list(NUM_IMAGES))
    parser.add_argument("--batch", type=int, help="default 8, with --cuda 32")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        if args.cuda:
            device = "cpu" if args.small else "cuda"
            shape, size_px = (SMALL, 64) if args.small else (SCHNELL, 384)
            dtype = torch.bfloat16
            diffusion = in_memory(shape, drawing(size_px, 256), device, dtype)
            contest = Contest(root, diffusion, args.images or 512, args.batch or 32, device)
            report("small" if args.small else "schnell", contest, args.rounds)
            return
        for size in args.sizes:
            (root / size).mkdir()
            diffusion = from_disk("flux", size, root / size / "model", drawing(128, 64))
            num_images = args.images or NUM_IMAGES[size]
            contest = Contest(root / size, diffusion, num_images, args.batch or 8, "cpu")
            report(size, contest, args.rounds)


if __name__ == "__main__":
    main()
