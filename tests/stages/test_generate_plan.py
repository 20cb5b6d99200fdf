"""generate_images: what is planned, and which options are refused. Loads no model."""

import json

import pytest

from hpcpipe.compose.api import compose_run
from hpcpipe.errors import BadInputError, ConfigError, PlanError
from hpcpipe.formats.captions import encode_captions
from hpcpipe.formats.selected import Selected, encode_selected
from hpcpipe.runtime.planning import PlanContext
from hpcpipe.stage import Model
from hpcpipe.stages import _generate_plan
from hpcpipe.stages._generate_samples import read_samples


def stage(root, **options):
    return compose_run("generate_images", input=str(root / "prompts"), **options).stage


def plan(stage, root):
    return list(stage.plan(PlanContext(root / "artifacts", vars(stage))))


def selected(key, record=None):
    return Selected(
        key=key,
        caption=f"caption of {key}",
        json={"uid": key} if record is None else record,
        faces=(),
        tar="/data/0.tar",
        image="webp",
        offset_bytes=512,
        size_bytes=9,
    )


def write_prompts(root, shard="0", prompts=None):
    path = root / "prompts" / f"{shard}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_captions({"k0": "a nurse"} if prompts is None else prompts))
    return path


def write_selected(root, shard="0", keys=("k0",)):
    path = root / "selected" / f"{shard}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(encode_selected(selected(key)) for key in keys))
    return path


def test_a_shard_has_its_prompts_what_was_noted_of_them_and_the_samples(tmp_path):
    prompts = [write_prompts(tmp_path, shard) for shard in ("0", "1")]
    notes = tmp_path / "prompts/1.meta.jsonl"
    notes.write_text('{"key": "k0", "status": "ok", "model": "tulu3"}\n')
    lists = [write_selected(tmp_path, shard) for shard in ("0", "1")]
    one = stage(tmp_path, selected=str(tmp_path / "selected"))
    shards = plan(one, tmp_path)
    assert [shard.id for shard in shards] == ["0", "1"]
    assert [[item.path for item in shard.inputs] for shard in shards] == [
        [str(prompts[0]), str(lists[0])],
        [str(prompts[1]), str(notes), str(lists[1])],
    ]
    assert list(one.planned_outputs(shards[0])) == ["0.tar", "0.meta.jsonl"]
    (sample,) = read_samples(one, shards[1])
    assert sample.rewriting == {"model": "tulu3"}
    assert sample.original == ({"uid": "k0"}, "caption of k0", "/data/0.tar")


def test_where_there_are_lists_no_shard_is_looked_for_by_itself(tmp_path, monkeypatch):
    looked = []
    monkeypatch.setattr(_generate_plan, "_folders", lambda root, ids: looked.append(ids))
    write_prompts(tmp_path)
    path = write_selected(tmp_path)
    (shard,) = plan(stage(tmp_path, selected=str(tmp_path / "selected")), tmp_path)
    assert (shard.inputs[-1].path, looked) == (str(path), [])


def test_however_many_folders_there_are_the_run_that_made_them_is_read_once(tmp_path):
    listed = []

    class Counted(PlanContext):
        def list_inputs(self, location, suffixes=()):
            listed.append(location)
            return super().list_inputs(location, suffixes)

    for shard in ("a/0", "b/c/0", "b/c/d/0"):
        write_prompts(tmp_path, shard)
        write_selected(tmp_path / "[1]", shard)
    (tmp_path / "prompts/b/c/0.meta.jsonl").write_text('{"key": "k0"}\n')
    one = compose_run(
        "generate_images",
        input=str(tmp_path / "prompts/**/*.json"),
        selected=str(tmp_path / "[1]/selected"),
    ).stage
    shards = list(one.plan(Counted(tmp_path / "artifacts", vars(one))))
    assert [(shard.id, shard.meta) for shard in shards] == [
        ("a/0", {"selected": 1}),
        ("b/c/0", {"meta": 1, "selected": 2}),
        ("b/c/d/0", {"selected": 1}),
    ]
    assert len(listed) == 3


def test_ids_are_kept_in_folders(tmp_path):
    for shard in ("a/0", "b/0"):
        write_prompts(tmp_path, shard)
        write_selected(tmp_path, shard)
    one = compose_run(
        "generate_images",
        input=str(tmp_path / "prompts/*/*.json"),
        selected=str(tmp_path / "selected"),
    ).stage
    assert [(shard.id, len(shard.inputs)) for shard in plan(one, tmp_path)] == [
        ("a/0", 2),
        ("b/0", 2),
    ]


def test_loose_edits_that_could_be_of_two_shards_are_refused(tmp_path):
    """``a/b/c.jpg`` would be of the sample ``b/c`` of ``a`` and of ``c`` of ``a/b``."""
    for shard, key in (("a", "b/c"), ("a/b", "c")):
        write_prompts(tmp_path, shard, {key: "a nurse"})
    options = {"input": str(tmp_path / "prompts/**/*.json"), "model": "tiny"}
    loose = compose_run("generate_images", edits_format="files", **options).stage
    with pytest.raises(PlanError, match=r"'a' and 'a/b' .* stage\.edits_format=tar"):
        plan(loose, tmp_path)
    tars = compose_run("generate_images", edits_format="tar", **options).stage
    assert [shard.id for shard in plan(tars, tmp_path)] == ["a", "a/b"]


def test_what_is_left_out_is_told_apart(tmp_path):
    write_prompts(
        tmp_path, prompts={"k0": "a nurse", "k1": " ", "../k2": "x", "k3": "not selected"}
    )
    write_selected(tmp_path, keys=("k0", "k1", "k4"))
    one = stage(tmp_path, selected=str(tmp_path / "selected"))
    samples = read_samples(one, plan(one, tmp_path)[0])
    assert [(sample.key, sample.left_out) for sample in samples] == [
        ("k0", ""),
        ("k1", "empty"),
        ("../k2", "unsafe_key"),
        ("k3", "not_selected"),
        ("k4", "missing"),
    ]


def test_the_samples_of_the_original_scripts_are_folders_of_json(tmp_path):
    write_prompts(tmp_path, prompts={"k0": "a nurse", "k1": "a man", "k2": "a doctor"})
    folder = tmp_path / "edits/0"
    folder.mkdir(parents=True)
    (folder / "k0.json").write_text(json.dumps({"caption": "ein Arzt", "uid": "k0"}))
    (folder / "k1.json").write_text("{damaged")
    (folder / "k0.jpg").write_bytes(b"an image")
    one = stage(tmp_path, selected=str(tmp_path / "edits"))
    (shard,) = plan(one, tmp_path)
    samples = read_samples(one, shard)
    assert [sample.left_out for sample in samples] == ["", "malformed_json", "not_selected"]
    assert samples[0].original == ({"caption": "ein Arzt", "uid": "k0"}, "ein Arzt", None)


@pytest.mark.parametrize("edits_format", ["tar", "files"])
def test_the_samples_of_the_original_scripts_are_not_written_over(tmp_path, edits_format):
    write_prompts(tmp_path)
    (tmp_path / "edits/0").mkdir(parents=True)
    (tmp_path / "edits/0/k0.json").write_text('{"caption": "ein Arzt"}')
    (tmp_path / "other").symlink_to(tmp_path / "edits")
    places = {"selected": str(tmp_path / "edits"), "output": str(tmp_path / "other/")}
    with pytest.raises(PlanError, match=r"stage.output is the folder of stage.selected"):
        plan(stage(tmp_path, edits_format=edits_format, **places), tmp_path)


def test_prompts_alone_are_enough(tmp_path):
    write_prompts(tmp_path)
    one = stage(tmp_path)
    (sample,) = read_samples(one, plan(one, tmp_path)[0])
    assert (sample.left_out, sample.original.json) == ("", {})


def test_a_shard_whose_samples_are_not_there_says_so_for_each_prompt(tmp_path):
    write_prompts(tmp_path, "0")
    write_prompts(tmp_path, "1")
    write_selected(tmp_path, "0")
    one = stage(tmp_path, selected=str(tmp_path / "selected"))
    samples = [read_samples(one, shard)[0].left_out for shard in plan(one, tmp_path)]
    assert samples == ["", "not_selected"]


def test_a_folder_of_other_samples_is_refused(tmp_path):
    write_prompts(tmp_path, "0")
    write_selected(tmp_path, "7")
    one = stage(tmp_path, selected=str(tmp_path / "selected"))
    with pytest.raises(PlanError, match=r"no samples of any of the 1 shards: expected 0\.jsonl"):
        plan(one, tmp_path)
    with pytest.raises(PlanError, match=r"stage\.selected: .*nowhere"):
        plan(stage(tmp_path, selected=str(tmp_path / "nowhere")), tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("prompts/0.json", "[]", "expected an object of captions"),
        ("prompts/0.meta.jsonl", '{"status": "ok"}\n', r"line 1 is no note of a prompt: 'key'"),
        ("selected/0.jsonl", "{}\n", r"line 1 is no selected sample"),
    ],
)
def test_a_damaged_file_is_the_shards_fault(tmp_path, name, content, message):
    write_prompts(tmp_path)
    write_selected(tmp_path)
    (tmp_path / name).write_text(content)
    one = stage(tmp_path, selected=str(tmp_path / "selected"))
    with pytest.raises(BadInputError, match=message):
        read_samples(one, plan(one, tmp_path)[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "fp16"}, "stage.dtype"),
        ({"width_px": 100}, "stage.width_px=100: must be a multiple of 8"),
        ({"height_px": 0}, "stage.height_px=0"),
        ({"guidance": float("nan")}, "stage.guidance=nan: must be a number"),
        ({"guidance": float("inf")}, "stage.guidance=inf: must be a number"),
        ({"max_sequence_length": 0}, "stage.max_sequence_length=0: must be 1 or more"),
        ({"steps": 0}, "stage.steps=0: must be 1 or more"),
        ({"batch_size": 0}, "stage.batch_size=0"),
        ({"image_quality": 101}, "stage.image_quality is 101, and goes from 0 to 100 for jpg"),
        ({"image_format": "png", "image_quality": 90}, "goes from 0 to 9 for png"),
        ({"edits_format": "zip"}, "edits_format"),
    ],
)
def test_options_that_cannot_be_are_refused_at_launch(tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        stage(tmp_path, **options)


def test_the_model_is_named_for_the_launch_to_look_for(tmp_path):
    one = stage(tmp_path, model="org/tiny", revision="v1")
    assert list(one.models()) == [Model("org/tiny", "v1", "diffusers")]
