"""What the verbs share: their parser, and the run they are about."""

import argparse
import os
import shlex
from pathlib import Path

from hpcpipe.cli import text
from hpcpipe.cli.find_pipeline import named_pipeline
from hpcpipe.compose.conf_files import hidden_main_config
from hpcpipe.config.yaml_files import read_yaml
from hpcpipe.errors import ConfigError, HpcPipeError
from hpcpipe.manifest.pipeline_dir import PipelineDir
from hpcpipe.manifest.rundir import RunDir
from hpcpipe.runtime.find import find_run, launched_at, list_runs, read_options
from hpcpipe.runtime.summary import Observer

NUM_LISTED = 10
_RUN_HELP = (
    "run directory, output folder of a run or pipeline, or the beginning of a name below the "
    "runs folder ($HPCPIPE_RUNS or ./runs)"
)


def verb_parser(name: str, description: str, examples: str) -> argparse.ArgumentParser:
    """Make the parser of a verb that is about one run.

    Args:
        name: the verb.
        description: what it does, as complete sentences.
        examples: command lines, and what else should stand below the options.

    Returns:
        The parser, with RUN in it.

    Raises:
        Nothing.
    """
    parser = argparse.ArgumentParser(
        prog=f"hpcpipe {name}",
        description=description,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("run", nargs="?", metavar="RUN", help=_RUN_HELP)
    return parser


def runs_folder() -> Path:
    """Tell where runs live unless a command says otherwise: ``paths.runs``.

    Returns:
        That of a ``config.yaml`` of the user's own, else $HPCPIPE_RUNS, else ``./runs``.

    Raises:
        ConfigError: the user's file is no YAML.
        OSError: it cannot be read.
    """
    own = hidden_main_config()
    if own is not None:
        from omegaconf import OmegaConf

        named = OmegaConf.select(read_yaml(own), "paths.runs")
        if isinstance(named, str):
            return Path(named).expanduser().absolute()
    return Path(os.environ.get("HPCPIPE_RUNS") or "runs").expanduser().absolute()


def run_of(args: argparse.Namespace, verb: str) -> RunDir:
    """Find the run that a verb was given; without one the newest runs are listed.

    Args:
        args: parsed arguments.
        verb: the verb.

    Returns:
        The run.

    Raises:
        ConfigError: no run was given.
        RunMismatchError: there is no such run, or several could be meant.
        OSError: a folder cannot be read.
    """
    if args.run is None:
        lines = run_list()
        raise ConfigError("\n".join([f"which run? python -m hpcpipe {verb} RUN", *lines]))
    pipeline = named_pipeline(args.run, runs_folder())
    if pipeline is not None:
        raise ConfigError(_runs_of(pipeline, args.run, verb))
    return find_run(args.run, runs_folder())


def _runs_of(pipeline: PipelineDir, name: str, verb: str) -> str:
    """Message for a verb that is about one run, and was given a pipeline."""
    runs = [step.find_run() for step in pipeline.info.steps]
    lines = [f"  python -m hpcpipe {verb} {shown(run.path)}" for run in runs if run]
    return "\n".join([f"{name} is a pipeline; name one of its runs:", *lines])


def run_list() -> list[str]:
    """Describe the newest runs.

    Returns:
        One line a run: when it was launched last, stage, name, state, done, path; or what to do
        where there are none.

    Raises:
        OSError: the runs folder cannot be read.
    """
    folder = runs_folder()
    paths = list_runs(folder)
    if not paths:
        return [f"no runs in {folder} (HPCPIPE_RUNS or a path names another place)"]
    lines = text.table([_row(path) for path in paths[:NUM_LISTED]], right=frozenset({4}))
    if len(paths) > NUM_LISTED:
        lines.append(f"and {len(paths) - NUM_LISTED:,} older ones in {folder}")
    return lines


def _row(path: Path) -> list[str]:
    at = text.moment(launched_at(path))[:16]
    try:
        run = RunDir(path)
        state, counts = Observer(run, read_options(run)).overview()
    except (OSError, HpcPipeError):
        return [at, path.parent.name, path.name, "unreadable", "", shown(path)]
    done = f"{counts['done']:,}/{sum(counts.values()):,}"
    return [at, run.info.stage, run.info.run_name, state, done, shown(path)]


def shown(path: Path | str) -> str:
    """Write a path as short as it can be typed from the current folder, quoted for a shell.

    Args:
        path: the path.

    Returns:
        Text to be pasted into a command.

    Raises:
        Nothing.
    """
    try:
        return shlex.quote(str(Path(path).relative_to(Path.cwd())))
    except (ValueError, OSError):
        return shlex.quote(str(path))
