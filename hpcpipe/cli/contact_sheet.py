"""``hpcpipe contact-sheet``: look at random samples of what a run or pipeline has made so far."""

import argparse
from pathlib import Path

from hpcpipe.cli.find_pipeline import named_pipeline
from hpcpipe.cli.verb import run_of, runs_folder, shown, verb_parser
from hpcpipe.console import plural, say, size
from hpcpipe.errors import ConfigError
from hpcpipe.formats.contact_sheet import Section, write_page
from hpcpipe.manifest.files import replace
from hpcpipe.manifest.pipeline_dir import PipelineDir
from hpcpipe.manifest.rundir import RunDir
from hpcpipe.runtime.contact_sheet import FILE, NUM_SAMPLES, can_show, section_of
from hpcpipe.runtime.find import own_stage
from hpcpipe.stage import Stage


def main(argv: list[str]) -> int:
    """Write a contact sheet.

    Args:
        argv: arguments after the verb.

    Returns:
        0.

    Raises:
        HpcPipeError: there is no such run, its stage shows nothing, or the run is another's.
        OSError: the run cannot be read.
        SystemExit: the arguments are wrong, or help was asked for.
    """
    args = _parse(argv)
    pipeline = named_pipeline(args.run, runs_folder())
    if pipeline is None:
        run = run_of(args, "contact-sheet")
        stage = own_stage(run)
        if not can_show(stage):
            raise ConfigError(f"stage {run.info.stage} has no contact sheets")
        sections = [section_of(run, stage, args.number, args.seed)]
        folder, title = run.path, f"{run.info.stage}: {run.path.name}"
    else:
        sections = _sections(pipeline, args.number, args.seed)
        folder, title = pipeline.path, f"{pipeline.info.name}: {pipeline.path.name}"
    _write(args.output or folder / FILE, write_page(title, sections))
    num_samples = sum(len(section.looks) for section in sections)
    path = args.output or folder / FILE
    say(f"sheet      {shown(path)}")
    say(f"shown      {plural(num_samples, 'sample')}, {size(path.stat().st_size)}")
    return 0


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = verb_parser(
        "contact-sheet",
        "Show random samples of what a run has made so far, or every step of a pipeline, on one\n"
        "HTML page that needs nothing else. A run whose stage shows samples writes one by itself\n"
        "when it is done. This imports the run's stage, so that it must be a run of your own.",
        "examples:\n"
        "  hpcpipe contact-sheet fairclip               all steps of a pipeline\n"
        "  hpcpipe contact-sheet /data/edits -n 200 -o look.html",
    )
    parser.add_argument(
        *("-n", "--number"),
        type=_number,
        default=NUM_SAMPLES,
        help=f"how many samples, of all steps together ({NUM_SAMPLES}); 48 are up to 5 MB",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the choice of samples (0)")
    parser.add_argument(
        *("-o", "--output"),
        type=Path,
        metavar="FILE",
        help=f"where to ({FILE} in the run's or pipeline's directory)",
    )
    return parser.parse_args(argv)


def _number(given: str) -> int:
    if not given.isdecimal() or not 1 <= int(given) <= 10_000:
        raise argparse.ArgumentTypeError(f"{given!r}: give a number from 1 to 10000")
    return int(given)


def _sections(pipeline: PipelineDir, num_samples: int, seed: int) -> list[Section]:
    """A part for each step that has begun and shows samples; the last one first."""
    found: list[tuple[str, RunDir, Stage]] = []
    for step in pipeline.info.steps:
        run = step.find_run()
        if run is not None and can_show(stage := own_stage(run)):
            found.append((step.name, run, stage))
    if not found:
        raise ConfigError(f"no step of {pipeline.path} has anything to be shown yet")
    share = -(-num_samples // len(found))
    return [
        section_of(run, stage, share, seed, f"{name} ({run.info.stage})")
        for name, run, stage in reversed(found)
    ]


def _write(path: Path, page: bytes) -> None:
    try:
        replace(path.absolute(), page)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written: {error.strerror}; name another file: -o FILE"
        ) from error
