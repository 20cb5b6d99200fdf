"""Changing a run that exists: new or changed inputs, failures to be tried again, resets."""

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from hpcpipe.config import Config
from hpcpipe.errors import BadInputError, ConfigError, PlanError, RunMismatchError
from hpcpipe.formats.listing import stat_input
from hpcpipe.manifest.claims import last_attempts
from hpcpipe.manifest.files import nonce, publish_file
from hpcpipe.manifest.journal import FINALIZE, Brief, Event, JournalReader, JournalWriter
from hpcpipe.manifest.plan import Plan, write_plan
from hpcpipe.manifest.rundir import RunDir
from hpcpipe.manifest.state import RunState
from hpcpipe.runtime.outputs import OutputFolder
from hpcpipe.runtime.planning import check_output_names, of_stage, planned
from hpcpipe.runtime.remarks import write_remarks
from hpcpipe.runtime.replanning import (
    ReplanContext,
    RetryContext,
    keep_artifacts,
    new_artifacts,
)
from hpcpipe.runtime.results import open_state
from hpcpipe.stage import Shard, Stage


def extend_plan(run: RunDir, config: Config) -> tuple[int, int]:
    """Take in inputs that are new or changed since the run was planned.

    Args:
        run: the run.
        config: its config.

    Returns:
        (number of new shards, number of shards to be redone because their inputs changed).

    Raises:
        ConfigError: the stage's plan cannot be extended.
        PlanError: the plan cannot be made, or two shards would write one file.
        RunMismatchError: somebody else extended the run at the same time, or an output of a new
            shard exists already.
        OSError: the run directory cannot be written.
    """
    if not config.stage.extendable:
        raise ConfigError(
            "extend=true: new inputs would change every shard of this plan; make a new run "
            "(another run_name and output)"
        )
    state, _ = open_state(run, config)
    with new_artifacts(run) as artifacts:
        ctx = ReplanContext(artifacts, config.stage_options, run, state.plan)
        news = _news(state.plan, planned(config, ctx))
        shards = _checked(run, config, state.plan, news)
        changed = [shard.id for shard in shards if state.plan.index(shard.id) is not None]
        if shards:
            _take_in(run, state, shards, changed, artifacts)
        else:
            keep_artifacts(run, artifacts)
        write_remarks(run.path, ctx.remarks)
    return len(shards) - len(changed), len(changed)


def retry_failures(run: RunDir, config: Config) -> tuple[int, int]:
    """Plan what failed inside finished shards: in new ones, or those again from what they made.

    Args:
        run: the run.
        config: its config.

    Returns:
        (number of new shards, number of shards to be done again); two zeros where nothing is worth
        another try.

    Raises:
        ConfigError: the stage has nothing of this kind.
        PlanError: the shards cannot be planned, or one has the id of a shard of other inputs.
        RunMismatchError: somebody else extended the run at the same time, or an output of a new
            shard exists already.
        OSError: the run directory cannot be written.
    """
    if type(config.stage).plan_retries is Stage.plan_retries:
        raise ConfigError(
            f"retry_failed=true: stage {config.stage_name} leaves nothing failed in finished "
            f"shards. Those that failed are tried again after: python -m hpcpipe retry {run.path}"
        )
    state, _ = open_state(run, config)
    with new_artifacts(run) as artifacts:
        folder = OutputFolder(run.info.output, config.run.checksum)
        ctx = RetryContext(artifacts, config.stage_options, run, state, folder)
        retries = of_stage(config, lambda: config.stage.plan_retries(ctx))
        shards = _checked(run, config, state.plan, retries)
        again = [shard.id for shard in shards if _is_again(state.plan, shard)]
        if shards:
            _take_in(run, state, shards, [], artifacts)
        if again:  # last of all: a kill before that leaves what is done as it is
            reset_shards(run, state, again)
    return len(shards) - len(again), len(again)


def _is_again(plan: Plan, shard: Shard) -> bool:
    """Tell whether the run has a shard already. Raises PlanError where that is another one."""
    index = plan.index(shard.id)
    if index is not None and plan.shard(index).inputs != shard.inputs:
        raise PlanError(
            f"the stage's plan_retries() gave shard {shard.id}, which the run has with other inputs"
        )
    return index is not None


def _checked(run: RunDir, config: Config, plan: Plan, shards: Iterator[Shard]) -> list[Shard]:
    known = _planned_names(config.stage, plan)
    return list(check_output_names(config, shards, run.info.output, known))


def _take_in(
    run: RunDir, state: RunState, shards: list[Shard], changed: list[str], artifacts: Path
) -> None:
    """Add shards to the plan; those that changed are to be done again."""
    keep_artifacts(run, artifacts)  # first, since workers read them as soon as there is the plan
    # Before, lest a kill between the two leave results of the old inputs; and after, since
    # workers that had not seen the new plan may have worked by the old one meanwhile.
    reset_shards(run, state, changed)
    _add_plan(run, state.plan, shards)
    reset_shards(run, state, changed)


def _news(plan: Plan, shards: Iterator[Shard]) -> Iterator[Shard]:
    for shard in shards:
        index = plan.index(shard.id)
        if index is None or plan.shard(index) != shard:
            yield shard


def _planned_names(stage: Stage, plan: Plan) -> dict[str, str]:
    """Output names that the plan has already, with their shards."""
    return {name: shard.id for shard in plan.shards() for name in stage.planned_outputs(shard)}


def retake_inputs(run: RunDir, state: RunState, shard_ids: Iterable[str]) -> int:
    """Take the inputs of shards as they are now, where they changed since they were planned.

    Args:
        run: the run.
        state: its state.
        shard_ids: the shards.

    Returns:
        Number of shards whose inputs changed.

    Raises:
        RunMismatchError: somebody else changed the run at the same time.
        OSError: the run directory cannot be written.
    """
    indexes = [state.plan.index(shard_id) for shard_id in shard_ids]
    shards = [state.plan.shard(index) for index in indexes if index is not None]
    pairs = zip(shards, map(_as_it_is_now, shards), strict=True)
    changed = [now for before, now in pairs if now != before]
    if changed:
        _add_plan(run, state.plan, changed)
    return len(changed)


def _as_it_is_now(shard: Shard) -> Shard:
    try:
        inputs = tuple(stat_input(item.path) for item in shard.inputs)
    except BadInputError:
        return shard  # still missing: the next attempt says so
    if inputs == shard.inputs:
        return shard
    num_bytes = sum(item.size_bytes for item in inputs) if shard.num_bytes is not None else None
    return msgspec.structs.replace(shard, inputs=inputs, num_bytes=num_bytes)


def _add_plan(run: RunDir, plan: Plan, shards: list[Shard]) -> None:
    """Add a plan file behind those that `plan` was read from."""
    final = run.path / f"plan-{plan.num_files + 1:04d}.jsonl"
    temp = run.path / f".{final.name}.{nonce()}"
    try:
        write_plan(temp, shards)
    except BaseException:
        temp.unlink(missing_ok=True)
        raise
    try:
        publish_file(temp, final)
    except FileExistsError:
        raise RunMismatchError(
            f"{run.path} was just extended by somebody else: try again"
        ) from None


def reset_shards(run: RunDir, state: RunState, shard_ids: list[str]) -> None:
    """Make shards pending again, whatever became of them, and finalize with them.

    Args:
        run: the run.
        state: its state.
        shard_ids: the shards.

    Returns:
        Nothing.

    Raises:
        OSError: the journal cannot be written.
    """
    writer = JournalWriter(run.journal / f"reset-{nonce()}.jsonl")
    writer.write(*_resets(run, state.plan, shard_ids))
    if run.info.has_finalize:
        # Looked up after the shards' lines are there: who claims it later sees those.
        writer.write(*_resets(run, state.plan, [FINALIZE]))
    writer.close()


def _resets(run: RunDir, plan: Plan, shard_ids: list[str]) -> list[Event]:
    attempts, at = last_attempts(run.claims), time.time()
    # Read after the claims: those of a run that was over may be gone.
    state = RunState(plan, 1, 1)
    for _, events in JournalReader(run.journal, Brief).batches():
        state.apply(events)
    blocks = map(state.block_name, shard_ids)
    return [
        Event("reset", max(attempts.get(block, 0), state.last_attempt(block)), shard_id, at=at)
        for shard_id, block in zip(shard_ids, blocks, strict=True)
    ]
