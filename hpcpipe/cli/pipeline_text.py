"""What `status`, `cancel` and `retry` print of a pipeline."""

from pathlib import Path

from hpcpipe.cli import text
from hpcpipe.cli.find_pipeline import list_pipelines
from hpcpipe.cli.go_on import launched
from hpcpipe.cli.pipelines import LIVE, PipelineView, StepView
from hpcpipe.cli.verb import NUM_LISTED, runs_folder, shown
from hpcpipe.formats.remote import display
from hpcpipe.runtime.accounting import used_in_words
from hpcpipe.runtime.contact_sheet import FILE

_BAR = 20


def lines(view: PipelineView, width: int) -> list[str]:
    """Show a pipeline: one line a step, and what keeps those that are not on their way.

    Args:
        view: the pipeline.
        width: characters a line.

    Returns:
        The lines.

    Raises:
        Nothing.
    """
    num_complete = sum(step.state == "complete" for step in view.steps)
    rows = [
        f"pipeline   {shown(view.pipeline_dir)}",
        f"state      {view.state}, {num_complete} of {len(view.steps)} steps complete",
        *([f"used       {used}"] if (used := used_in_words(view.accounting)) else []),
        "",
        *(text.cut(line, width) for line in text.table([_row(step) for step in view.steps])),
    ]
    for step in view.steps:
        if step.reason:
            rows += ["", f"{step.name} is {step.state}", *_indented(step.reason)]
    return [*rows, "", *_advice(view)]


def _row(step: StepView) -> list[str]:
    if not step.num_shards:
        after = f"after {', '.join(step.needs)}" if step.needs else ""
        jobs = f"plan job {step.plan_job}" if step.plan_job and step.state in LIVE else ""
        return [step.name, step.state, "", after, jobs]
    counts = ((step.pending, "pending"), (step.quarantined, "quarantined"))
    rest = "".join(f", {number:,} {state}" for number, state in counts if number)
    moving = text.rate(step.shards_per_s) if step.shards_per_s else ""
    if step.eta_s is not None:
        moving += f", ETA {text.duration(step.eta_s)}"
    tasks = ", ".join(f"{number:,} {state.lower()}" for state, number in step.jobs.items())
    return [
        step.name,
        step.state,
        text.bar(step.done, step.num_shards, _BAR),
        f"{step.done:,} of {step.num_shards:,} done{rest}",
        moving or tasks,
    ]


def _indented(reason: str) -> list[str]:
    return [f"  {line}" for line in reason.splitlines()]


def _advice(view: PipelineView) -> list[str]:
    """What was made, and the commands that go on from here."""
    open_runs = [step for step in view.steps if step.run_dir and step.state != "complete"]
    rows = _results(view) if view.state == "complete" else []
    rows += [
        f"look       python -m hpcpipe status {shown(step.run_dir)}    ({step.name})"
        for step in open_runs
    ]
    if any(step.quarantined for step in view.steps):
        rows.append(f"retry      python -m hpcpipe retry {shown(view.pipeline_dir)}")
    if view.state in LIVE:
        rows.append(f"cancel     python -m hpcpipe cancel {shown(view.pipeline_dir)}")
    elif view.state != "complete":
        rows.append(go_on(view))
    return rows


def _results(view: PipelineView) -> list[str]:
    """Where the outputs lie that no other step reads, and the command to look at samples."""
    read = {name for step in view.steps for name in step.needs}
    rows = [f"output     {display(step.output)}" for step in view.steps if step.name not in read]
    if any((Path(step.run_dir) / FILE).exists() for step in view.steps):
        rows.append(f"look       python -m hpcpipe contact-sheet {shown(view.pipeline_dir)}")
    return rows


def go_on(view: PipelineView) -> str:
    """Write the command that works on what is left. Raises ConfigError and OSError."""
    return launched(view.cwd, view.command, Path(view.pipeline_dir))


def pipeline_list() -> list[str]:
    """Name the newest pipelines.

    Returns:
        A heading and one line a pipeline; nothing where there are none.

    Raises:
        OSError: the runs folder cannot be read.
    """
    paths = list_pipelines(runs_folder())
    rows = [f"  {shown(path)}" for path in paths[:NUM_LISTED]]
    return ["", "pipelines", *rows] if rows else []
