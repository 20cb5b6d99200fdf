import shlex

from hpcpipe.launch.start import start
from tests.toys.runs import toy_config, write_inputs


def test_names_with_spaces_and_quotes_reach_sbatch_whole(tmp_path):
    folder = tmp_path / "it's my data"
    folder.mkdir()
    write_inputs(folder, a="one")
    started = start(toy_config(folder, launcher="script"), "submit")
    lines = (started.run_dir / "submit.sbatch").read_text().splitlines()
    flags = [shlex.split(line.removeprefix("#SBATCH ")) for line in lines if "#SBATCH" in line]
    assert all(len(flag) == 1 for flag in flags)
    assert [f"--output={started.run_dir}/logs/slurm-%A_%a.out"] in flags
    assert shlex.split(lines[-1])[-2] == str(started.run_dir)


def test_a_time_limit_of_minutes_is_warned_of(tmp_path, capsys):
    write_inputs(tmp_path, a="one")
    start(toy_config(tmp_path, launcher="script", resources__time_min=5), "submit")
    assert "warning: resources.time_min=5: workers are told" in capsys.readouterr().err
    start(toy_config(tmp_path, launcher="script", resources__time_min=30), "submit")
    assert capsys.readouterr().err == ""
