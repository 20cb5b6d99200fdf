"""What SLURM does to running jobs: limits, preemption, requeue, cancellation.

All runs are submitted first, then everything is done to them at once, then each test looks at
its own: together they take as long as the slowest.
"""

import pytest

from tests.slurm.scenes import Scene
from tests.toys.runs import events_of, state_of
from tests.waiting import wait_until

pytestmark = pytest.mark.slurm

HIGH = ("--partition=high", "--cpus-per-task=8", "--mem=0", "--output=/dev/null", "--wrap=sleep 1")
LAUNCHERS = ("slurm", "script", "sbatch")
CANCELLED = ("slurm", "sbatch")
OUTPUTS = ("runs/*/*/submitit/1/*_log.out", "runs/*/*/logs/slurm-*.out", "hpcpipe-*.out")
WAITS = {"a": "x", "b": "wait 2"}


@pytest.fixture(scope="module")
def scenes(slurm, tmp_path_factory):
    """All runs, each with a shard at hand, and then what is done to them."""
    folder = tmp_path_factory.mktemp("events")
    made: dict[str, Scene] = {}

    def scene(name, texts, launcher="slurm", *options, **values):
        made[name] = Scene(slurm, folder / name, **texts).submit(launcher, *options, **values)

    with pytest.MonkeyPatch.context() as patch:
        for key, value in slurm.env.items():
            patch.setenv(key, value)
        patch.chdir(folder)
        slow = {"a": "one", "b": "two", "c": "slow 25"}
        scene("too near", slow, "sbatch", "--time=1", "--signal=B:CONT@1")
        scene("late", {"b": "hang 2"}, "sbatch", "--time=1", "--signal=B:USR2@1")
        for name, partition in (("preempted", "low"), ("grace", "lowgrace")):
            scene(name, WAITS, site__partition=partition)
        scene("preempted, stuck", {"a": "x", "b": "hang 2"}, site__partition="low")
        scene("steps", {"a": "x", "b": "steps 30 0.05 2"})
        scene("too long", {"b": "wait 9"}, resources__time_min=4, run__max_attempts=2)
        scene("warned, slurm", {"a": "wait 2", "b": "wait 2"}, launcher__array_size=2)
        for launcher in LAUNCHERS[1:]:
            scene(f"warned, {launcher}", WAITS, launcher)
        for launcher in CANCELLED:
            scene(f"scancel, {launcher}", WAITS, launcher)
        gate = {"a": f"gate {folder}/gate", "b": "hang 2"}
        scene("limit", gate, launcher__array_size=2)
        for name in ("refused", "requeue", "scancel --batch", "scancel --full"):
            scene(name, WAITS)
        _act(slurm, made)
        yield made


def _act(slurm, made):
    at_hand = {"warned, slurm": ("a", "b"), "limit": ("a", "b"), "too near": (), "late": ()}
    for name, one in made.items():
        wait_until(lambda one=one, name=name: one.is_at(*at_hand.get(name, ("b",))))
    slurm.sbatch(*HIGH)
    wait_until(lambda: list(made["steps"].run_dir.glob("partial/*/*/steps")))
    slurm.scontrol("update", f"jobid={made['refused'].task}", "requeue=0")
    for name in ("steps", "too long", "refused", *(f"warned, {how}" for how in LAUNCHERS)):
        for task in slurm.states(made[name].job):
            made[name].end_in(100, task)
    made["limit"].end_in(1, made["limit"].owner("b"))
    slurm.scontrol("requeue", made["requeue"].task)
    for launcher in CANCELLED:
        slurm.scancel(made[f"scancel, {launcher}"].job)
    for how in ("--batch", "--full"):
        slurm.scancel(how, made[f"scancel {how}"].task)


def check_it_came_back(one, note):
    """Its job gave the shard back, was queued again once, and finished the run."""
    assert one.ended() == ["COMPLETED"]
    one.check_result()
    assert (one.num("closed"), one.num("lost"), one.num("failed")) == (1, 0, 0)
    assert one.logs() == ["0", "0r1"]
    assert one.notes() == [note]
    first, second = (one.run_dir / "logs" / f"{one.job}_{log}.log" for log in one.logs())
    assert f"stopping: {note}" in first.read_text()
    assert "setting up" in second.read_text()
    # what SLURM itself keeps of a job's output
    (out,) = (path for pattern in OUTPUTS for path in one.folder.glob(pattern))
    assert out.read_text().count("Starting" if "submitit" in str(out) else "worker  ") == 2


@pytest.mark.parametrize("launcher", LAUNCHERS[1:])
def test_warned_of_the_limit_a_job_is_queued_again(scenes, launcher):
    check_it_came_back(scenes[f"warned, {launcher}"], "SIGUSR2; queued again")


def test_each_task_of_an_array_is_queued_again_once(scenes):
    # the last task of an array has the array's number: asking by that would end the others, too
    one = scenes["warned, slurm"]
    assert one.ended() == ["COMPLETED", "COMPLETED"]
    one.check_result()
    assert one.logs() == ["0", "0r1", "1", "1r1"]
    assert one.notes() == ["SIGUSR2; queued again"] * 2
    assert one.num("closed") == 2


def test_saved_progress_is_gone_on_from_after_the_limit(scenes):
    one = scenes["steps"]
    check_it_came_back(one, "SIGUSR2; queued again")
    (done,) = [event for event in events_of(one.run_dir, "done") if event.shard == "b"]
    assert (done.stats["steps_before"], done.stats["steps_taken"]) == (15, 15)


def test_a_worker_that_cannot_stop_in_time_is_ended_and_another_takes_over(scenes):
    one = scenes["limit"]
    stuck = one.owner("b")
    wait_until(lambda: one.cluster.states(one.job)[stuck] == "TIMEOUT")
    (one.folder.parent / "gate").touch()
    assert sorted(one.ended()) == ["COMPLETED", "TIMEOUT"]
    one.check_result()
    (lost,) = events_of(one.run_dir, "lost")
    assert lost.owner.rpartition("-")[0] == stuck
    assert one.logs() == ["0", "1"]


def test_what_has_not_stopped_is_given_back_before_the_limit_and_the_job_queued_again(scenes):
    one = scenes["late"]
    assert one.ended() == ["COMPLETED"]
    one.check_result()
    assert [event.error_class for event in events_of(one.run_dir, "failed")] == ["TimeLimitError"]
    assert (one.num("closed"), one.num("lost")) == (1, 0)
    assert one.logs() == ["0", "0r1"]
    assert one.notes() == ["SIGUSR2; queued again"]


def test_a_worker_stops_claiming_in_time_and_is_queued_again(scenes):
    one = scenes["too near"]
    assert one.ended() == ["COMPLETED"]
    one.check_result()
    assert (one.num("closed"), one.num("lost"), one.num("failed")) == (0, 0, 0)
    assert one.logs() == ["0", "0r1"]
    (note,) = one.notes()
    assert "s of the job are left, and a shard took up to 25 s; queued again" in note


def test_a_shard_longer_than_the_limit_is_not_tried_for_ever(scenes):
    one = scenes["too long"]
    wait_until(lambda: one.num("failed") == 1 and one.is_at("b") and one.logs() == ["0", "0r1"])
    one.end_in(100)
    assert one.ended() == ["COMPLETED"]
    failures = events_of(one.run_dir, "failed")
    assert [(e.attempt, e.error_class) for e in failures] == [
        (1, "TimeLimitError"),
        (2, "TimeLimitError"),
    ]
    assert "raise resources.time_min" in failures[0].error
    assert state_of(one.run_dir, one.config).status("b") == "quarantined"
    assert one.notes() == ["SIGUSR2", "SIGUSR2; queued again"]


def test_preempted_without_grace_a_job_comes_back(scenes):
    check_it_came_back(scenes["preempted"], "SIGTERM")


def test_preempted_with_grace_a_job_comes_back(scenes):
    check_it_came_back(scenes["grace"], "SIGTERM")


def test_preempted_with_no_time_to_give_back_it_takes_over_from_itself(scenes):
    one = scenes["preempted, stuck"]
    assert one.ended() == ["COMPLETED"]
    one.check_result()
    assert (one.num("closed"), one.num("lost")) == (0, 1)
    assert one.logs() == ["0", "0r1"]


def test_requeued_by_somebody_a_job_comes_back(scenes):
    check_it_came_back(scenes["requeue"], "SIGTERM")


@pytest.mark.parametrize("launcher", CANCELLED)
def test_a_cancelled_job_stays_cancelled_and_the_next_launch_goes_on(scenes, launcher):
    one = scenes[f"scancel, {launcher}"]
    assert one.ended() == ["CANCELLED"]
    assert one.logs() == ["0"]
    assert one.notes() == ["SIGTERM"]
    assert one.num("closed") == 1
    one.launch_again()
    one.check_result()
    assert one.num("lost") == 0


@pytest.mark.parametrize(
    ("how", "state", "num_closed"), [("--batch", "FAILED", 0), ("--full", "CANCELLED", 1)]
)
def test_other_ways_to_cancel_leave_it_ended_too(scenes, how, state, num_closed):
    one = scenes[f"scancel {how}"]
    assert one.ended() == [state]
    assert one.logs() == ["0"]
    assert one.num("closed") == num_closed
    one.launch_again()
    one.check_result()
    assert one.num("lost") == 1 - num_closed


def test_where_it_may_not_be_queued_again_the_job_fails_and_says_so(scenes):
    one = scenes["refused"]
    assert one.ended() == ["FAILED"]
    (note,) = one.notes()
    assert note.startswith("SIGUSR2; it was not queued again (")
    assert "disabled" in note
    assert one.num("closed") == 1
    one.launch_again()
    one.check_result()
