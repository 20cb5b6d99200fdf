"""What stages hand over ends up in journals and heartbeats, whatever it is."""

import asyncio
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpcpipe.errors import BadInputError
from hpcpipe.manifest.heartbeat import Heartbeat, read_beat
from tests.toys.runs import events_of, run_here, state_of, toy_config, write_inputs
from tests.toys.toy import Toy

TARGET = "tests.runtime.test_records.Rude"
ERRORS = {
    "exit": SystemExit(1),
    "cancelled": asyncio.CancelledError(),
    "surrogate": BadInputError("caf\udce9.jpg: no such key"),
    "endless": BadInputError("x" * 1_000_000),
}


@dataclass(frozen=True, kw_only=True)
class Rude(Toy):
    """Raises and counts what no stage should."""

    def process(self, shard: Any, ctx: Any, state: Any) -> None:
        text = Path(shard.inputs[0].path).read_text()
        if text in ERRORS:
            raise ERRORS[text]
        out = ctx.output(f"{shard.id}.out")
        out.num_samples = np.int64(7)
        ctx.progress(np.int64(7))
        ctx.count("caf\udce9")
        ctx.count("tokens", np.int64(3))
        ctx.count("loss", np.float32(0.5))
        ctx.count("score", math.nan)
        ctx.count("bytes", 1 << 70)


@pytest.mark.parametrize("text", ERRORS)
def test_whatever_a_stage_raises_is_charged_to_its_shard_and_the_others_finish(tmp_path, text):
    write_inputs(tmp_path, a=text, b="fine")
    config = toy_config(tmp_path, stage___target_=TARGET, run__max_attempts=2)
    started = run_here(config)
    assert started.exit_code == 3
    assert state_of(started.run_dir, config).quarantined() == {"a"}
    assert state_of(started.run_dir, config).is_done("b")
    failed = events_of(started.run_dir, "failed")
    assert failed[-1].error_class == type(ERRORS[text]).__name__
    assert 0 < len(failed[-1].error) <= 5000


def test_whatever_a_stage_counts_can_be_read_back(tmp_path, caplog):
    write_inputs(tmp_path, a="fine")
    started = run_here(toy_config(tmp_path, stage___target_=TARGET))
    assert started.exit_code == 0
    (done,) = events_of(started.run_dir, "done")
    assert done.stats == {
        "caf\\udce9": 1,
        "tokens": 3,
        "loss": 0.5,
        "bytes": 1 << 70,
    }
    assert done.outputs[0].num_samples == 7
    assert "counter score is nan" in caplog.text


def test_a_heartbeat_says_why_its_worker_stopped_in_any_words(tmp_path):
    heart = Heartbeat(tmp_path / "w.beat", 10, lambda: None)
    heart.end("no file caf\udce9" + os.fsdecode(b"\xff"))
    assert read_beat(tmp_path / "w.beat").note == "no file caf\\udce9\\udcff"
