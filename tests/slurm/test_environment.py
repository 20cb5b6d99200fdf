"""What workers run in on a real SLURM: another Python, a stage of the user's own."""

import sys
from pathlib import Path

import pytest

from tests.models import folders
from tests.slurm.user import SMALL, User, alive, field, run_dir
from tests.toys.runs import events_of, write_inputs
from tests.user_project import make_project
from tests.waiting import wait_until

pytestmark = pytest.mark.slurm

IMAGE = """\
#!/bin/sh
# stands for: apptainer exec IMAGE; like that it replaces itself
[ "$1" = exec ] || exit 9
shift 2
INSIDE=image exec "$@"
"""


@pytest.fixture
def user(slurm, tmp_path):
    return User(slurm, tmp_path)


def test_workers_in_a_container_are_warned_and_queued_again(user):
    container = user.folder / "container"
    container.write_text(IMAGE)
    container.chmod(0o755)
    write_inputs(user.folder, a="wait", b="wait")
    command = [
        "stage=toy", f"stage.input={user.folder}/in", *SMALL, "launcher.array_size=1",
        f"site.python={container} exec image.sif {sys.executable}",
    ]  # fmt: skip
    stdout = user.ok(*command, "-m")
    path, array = run_dir(user, stdout), field(stdout, "array")
    wait_until(lambda: any(b'"shard":"' in p.read_bytes() for p in path.glob("workers/*.beat")))
    (pid,) = alive(path)
    assert b"INSIDE=image" in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    user.cluster.scancel("--signal=USR2", "--batch", array)
    wait_until(lambda: list((path / "logs").glob(f"{array}_0r1.log")))
    assert len(events_of(path, "closed")) == 1
    user.ok("cancel", str(path))
    assert set(user.cluster.wait_for([array]).values()) == {"CANCELLED"}
    script = user.ok(*command, "launcher=script", "-m")
    text = (user.folder / field(script, "script")).read_text()
    assert f"exec {container} exec image.sif {sys.executable} -m hpcpipe work" in text


def test_a_stage_found_by_a_relative_python_path_is_found_by_workers(user):
    make_project(user.folder / "project")
    (user.folder / "project" / "code").mkdir()
    module = user.folder / "project" / "code" / "line_stage.py"
    (user.folder / "project" / "line_stage.py").rename(module)
    write_inputs(user.folder, a="one", b="two")
    # SLURM's variable: nothing of the user's environment reaches the job
    user.env |= {"HPCPIPE_CONF": "project/conf", "PYTHONPATH": "project/code"}
    user.env["SBATCH_EXPORT"] = "NONE"
    command = ["stage=lines", f"stage.input={user.folder}/in", *SMALL, "paths.code=/"]
    command += ["resources=cpu", "resources.cpus=1", "resources.mem_gb=0.5", "wait=true", "-m"]
    done = user.hpcpipe(*command)
    assert done.returncode == 0, done.stdout + done.stderr
    (user.folder / "in" / "c.txt").write_text("three")
    taken = user.folder / "project" / "code" / "elsewhere.py"
    script = user.ok(*[arg for arg in command if arg != "wait=true"], "launcher=script",
                     "extend=true")  # fmt: skip
    module.rename(taken)
    job = user.cluster.sbatch(str(user.folder / field(script, "script")))
    assert set(user.cluster.wait_for(job).values()) == {"FAILED"}
    shown = user.ok("status", str(run_dir(user, script)))
    assert "ended without starting" in shown
    assert "there is no module line_stage for line_stage.Lines" in shown


def test_a_node_that_sees_another_cache_of_models_says_so_and_takes_no_shard(user):
    folders.write_model(folders.cached(user.folder / "home" / "hub", "org/llama"))
    write_inputs(user.folder, a="one")
    user.env["HF_HOME"] = str(user.folder / "home")
    command = ["stage=modelled", f"stage.input={user.folder}/in", "stage.model=org/llama", *SMALL]
    stdout = user.ok(*command, 'site.setup=["export HF_HOME=/nowhere"]', "-m")
    path = run_dir(user, stdout)
    user.cluster.wait_for([field(stdout, "array")])
    shown = " ".join(user.ok("status", str(path)).split())
    assert "SetupError: model org/llama is not in the cache /nowhere/hub on " in shown
    assert "HF_HOME has to name a folder on a filesystem that all nodes share" in shown
    assert events_of(path, "done", "failed") == []
    assert user.hpcpipe(*command, "wait=true", "-m").returncode == 0
    assert (path / "out" / "a.out").read_text() == folders.COMMIT
