"""What is handed to sbatch; what becomes of it is tested on a real SLURM."""

import os
import stat

import pytest

from hpcpipe.errors import LaunchError
from hpcpipe.launch import queue_watch
from hpcpipe.launch.queue_watch import QueueWatch
from hpcpipe.launch.start import start
from tests.toys.runs import toy_config, write_inputs

SBATCH = """#!/bin/sh
tail -n 1 "$1" >/dev/null
n=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\).*/\\1/p' "$1")
cp "$1" {folder}/submitted-$n
env > {folder}/env
if [ "${{n:-0}}" -ge {limit} ]; then echo 'sbatch: error: AssocMaxSubmitJobLimit' >&2; exit 1; fi
echo Submitted batch job 77
"""
SCONTROL = "#!/bin/sh\necho 'MaxArraySize            = 1001'\n"


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """Stand-ins for SLURM's commands, for answers that a real one does not easily give."""
    folder = tmp_path / "bin"
    folder.mkdir()

    def install(limit=1000):
        scripts = {
            "sbatch": SBATCH.format(folder=tmp_path, limit=limit),
            "srun": "#!/bin/sh\n",
            "scontrol": SCONTROL,
            "squeue": "#!/bin/sh\n",
        }
        for name, text in scripts.items():
            (folder / name).write_text(text)
            (folder / name).chmod(stat.S_IRWXU)

    install()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return install


def submitted(tmp_path, last_index):
    return (tmp_path / f"submitted-{last_index}").read_text()


def test_the_script_has_what_was_asked_for_and_nothing_else(tmp_path, cluster):
    write_inputs(tmp_path, a="1", b="2", c="3")
    config = toy_config(
        tmp_path,
        site={"partition": "p", "account": "a", "qos": None, "setup": ["module load x"],
              "slurm": {"constraint": "skylake"}},
        resources={"cpus": 3, "gpus": 1, "mem_gb": None, "time_min": 33},
        launcher__slurm={"comment": "hello"},
        launcher__max_parallel=2,
    )  # fmt: skip
    start(config, "submit")
    text = submitted(tmp_path, 2)
    for flag in (
        "--array=0-2%2", "--partition=p", "--account=a", "--constraint=skylake", "--comment=hello",
        "--cpus-per-task=3", "--gpus-per-node=1", "--time=33", "--requeue", "--signal=B:USR2@120",
        "--open-mode=append",
    ):  # fmt: skip
        assert f"#SBATCH {flag}\n" in text
    for absent in ("--mem", "--qos", "--wckey", "srun"):
        assert absent not in text
    assert "\nmodule load x\n" in text
    assert "\nexec " in text


def test_fewer_workers_are_submitted_where_the_account_allows_no_more(tmp_path, cluster):
    cluster(limit=8)
    write_inputs(tmp_path, **{f"s{n:02d}": "x" for n in range(40)})
    started = start(toy_config(tmp_path), "submit")
    assert (started.run_dir / "launches" / "1.json").exists()
    assert sorted(path.name for path in (started.run_dir / "submitit").iterdir()) == ["1"]
    assert '"num_workers":5' in (started.run_dir / "launches" / "1.json").read_text()
    assert '"array_job":"77"' in (started.run_dir / "launches" / "1.json").read_text()


def test_a_limit_that_lets_nothing_through_is_an_error(tmp_path, cluster, capfd):
    cluster(limit=0)
    write_inputs(tmp_path, a="1", b="2")
    said = r"nothing of it is queued:\n  sbatch: error: AssocMaxSubmitJobLimit\nsee site"
    with pytest.raises(LaunchError, match=said):
        start(toy_config(tmp_path), "submit")
    assert "AssocMaxSubmitJobLimit" not in capfd.readouterr().err  # said once, by the error


def test_a_mistyped_submitit_option_is_told_with_the_valid_ones(tmp_path, cluster):
    write_inputs(tmp_path, a="1")
    told = (
        r"nothing of it is queued:\nlauncher\.slurm\.partitoin: no such option "
        r"\(did you mean partition\?\); there are: account, [a-z_, ]*$"
    )
    with pytest.raises(LaunchError, match=told):
        start(toy_config(tmp_path, launcher__slurm={"partitoin": "p"}), "submit")


def test_the_surrounding_job_is_hidden_from_sbatch(tmp_path, cluster, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "5")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    monkeypatch.setenv("SBATCH_ACCOUNT", "mine")
    write_inputs(tmp_path, a="1")
    start(toy_config(tmp_path), "submit")
    env = (tmp_path / "env").read_text()
    assert "SLURM_JOB_ID" not in env
    assert "SLURM_CONF=/etc/slurm.conf" in env
    assert "SBATCH_ACCOUNT=mine" in env
    assert os.environ["SLURM_JOB_ID"] == "5"


def test_whoever_waits_is_told_once_why_nothing_begins(tmp_path, cluster, monkeypatch):
    """Until everything is over; a running task needs no words."""
    monkeypatch.setattr(queue_watch, "QUEUE_POLL_S", 0)
    told = []
    queue = QueueWatch(lambda: ["77"], told.append)
    answers = [
        ["PENDING N/A None", "PENDING N/A None"],
        ["PENDING N/A Resources", "PENDING N/A Nodes are down", "PENDING N/A Resources"],
        ["PENDING N/A Resources"],
        ["RUNNING N/A None", "PENDING N/A Priority"],
    ]
    for lines in answers:
        rows = "".join(f"echo '77 {index} {line}'\n" for index, line in enumerate(lines))
        (tmp_path / "bin" / "squeue").write_text(f"#!/bin/sh\n{rows}")
        assert not queue.is_over()
    assert told == ["waiting    3 pending in the queue (Resources, Nodes are down)"]
    (tmp_path / "bin" / "squeue").write_text("#!/bin/sh\nexit 1\n")
    assert not queue.is_over()
    (tmp_path / "bin" / "squeue").write_text("#!/bin/sh\n")
    assert queue.is_over()


def test_workers_in_the_queue_keep_what_they_asked_for(tmp_path, cluster, capsys):
    """Whoever asks for more is told that none of them got it."""
    write_inputs(tmp_path, a="1")
    start(toy_config(tmp_path), "submit")
    (tmp_path / "bin" / "squeue").write_text("#!/bin/sh\necho 77 0 PENDING N/A Resources\n")
    start(toy_config(tmp_path), "submit")
    assert capsys.readouterr().out.count("none were added\n") == 1
    start(toy_config(tmp_path, resources__mem_gb=9), "submit")
    told = "none were added; they ask for other resources than this command: "
    assert told in capsys.readouterr().out
