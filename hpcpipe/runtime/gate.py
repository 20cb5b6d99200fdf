"""Whether a step of a pipeline may be planned, and whether its plan still holds.

What it reads has to be complete, and then to stay as it was.

Only the manifests are asked. That all jobs of a step have ended says nothing: workers may be
lost for good, or have been cancelled.
"""

from hpcpipe.errors import UpstreamIncompleteError
from hpcpipe.manifest.pipeline_dir import PipelineDir
from hpcpipe.manifest.pipeline_records import Step
from hpcpipe.runtime.find import read_options
from hpcpipe.runtime.sources import changed_sources, digest
from hpcpipe.runtime.summary import Observer

COMPLETE = 0


def check_upstream(pipeline: PipelineDir, step: Step) -> None:
    """Refuse a step whose input is not there yet.

    Args:
        pipeline: the pipeline.
        step: the step that is about to be planned.

    Raises:
        UpstreamIncompleteError: a step that it needs is not complete; the message says why, and
            how to go on.
        HpcPipeError: a run is damaged.
        OSError: a run cannot be read.
    """
    above = [pipeline.step(name) for name in step.needs]
    reasons = [why_incomplete(one) or _why_behind(pipeline, one) for one in above]
    if found := [reason for reason in reasons if reason]:
        raise UpstreamIncompleteError("\n".join([f"step {step.name} was not planned", *found]))


def _why_behind(pipeline: PipelineDir, step: Step) -> str:
    """Why a complete step is outdated; what it reads may be in the making just now."""
    if any(why_incomplete(pipeline.step(name)) for name in step.needs):
        return ""
    return why_outdated(pipeline, step)


def why_incomplete(step: Step) -> str:
    """Say what is missing of a step.

    Args:
        step: the step.

    Returns:
        A sentence with what to do; empty where the step is complete, quarantined shards within
        its ``run.max_failed_fraction`` included.

    Raises:
        HpcPipeError: its run is damaged.
        OSError: its run cannot be read.
    """
    run = step.find_run()
    if run is None:
        return f"step {step.name} was never planned, so it has no output"
    options = read_options(run)
    code, number = Observer(run, options).refresh()
    if code == COMPLETE:
        return ""
    num_shards = sum(number.values())
    look = f"python -m hpcpipe status {run.path}"
    if number["pending"]:
        return (
            f"step {step.name} is not complete: {number['pending']:,} of {num_shards:,} shards "
            f"are pending and its workers have ended. See {look}, then launch the pipeline again"
        )
    if number["quarantined"] > options.max_failed_fraction * num_shards:
        return (
            f"step {step.name} failed: {number['quarantined']:,} of {num_shards:,} shards are "
            f"quarantined, more than {step.name}.run.max_failed_fraction="
            f"{options.max_failed_fraction:g} allows. See {look}"
        )
    return f"step {step.name} is not complete: its last step (finalize) is not done. See {look}"


def sources_of(pipeline: PipelineDir, step: Step) -> dict[str, str]:
    """Tell what the steps hold now that a step reads from.

    Args:
        pipeline: the pipeline.
        step: the step.

    Returns:
        A digest by output folder; nothing for steps that were not planned.

    Raises:
        HpcPipeError: a run is damaged.
        OSError: a run cannot be read.
    """
    above = [pipeline.step(name) for name in step.needs]
    return {one.output: digest(run) for one in above if (run := one.find_run())}


def why_outdated(pipeline: PipelineDir, step: Step) -> str:
    """Say what a step has not taken in of what the steps above hold.

    Args:
        pipeline: the pipeline.
        step: a step; those it needs are complete.

    Returns:
        A sentence; empty where it was planned from what is there now, or was not planned.

    Raises:
        HpcPipeError: a run is damaged.
        OSError: a run cannot be read.
    """
    run = step.find_run()
    changed = changed_sources(run, sources_of(pipeline, step)) if run else ()
    if not changed:
        return ""
    return (
        f"{', '.join(changed)} has changed since step {step.name} was planned: launch with "
        "extend=true, or give the step another output"
    )
