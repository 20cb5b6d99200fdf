"""``hpcpipe fetch-models``: download what the stages of a command load, where there is internet."""

import argparse
import contextlib
import os
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path

from hpcpipe.__main__ import VERBS
from hpcpipe.cli.find_pipeline import named_pipeline
from hpcpipe.cli.verb import runs_folder
from hpcpipe.compose.unstarted import compose_unstarted
from hpcpipe.config import Config, load
from hpcpipe.console import plural, say, size, warn
from hpcpipe.errors import ConfigError, SetupError
from hpcpipe.launch.quota import rooms
from hpcpipe.manifest.pipeline_dir import PipelineDir
from hpcpipe.models.hub import FoundModel, cache_folder, find
from hpcpipe.models.hub_fetch import Download, download, look_up, remove_unfinished
from hpcpipe.runtime.find import config_name, find_run
from hpcpipe.stage import Model

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(argv: list[str]) -> int:
    """Find the models of a command's stages, and download those that are not there.

    Args:
        argv: arguments after the verb.

    Returns:
        0 once all models are there.

    Raises:
        HpcPipeError: the command is wrong, or a model cannot be had.
        OSError: a file cannot be read.
        SystemExit: help was asked for.
    """
    words = _parse(argv)
    configs = _configs(words)
    models = list(dict.fromkeys(model for each in configs for model in each.stage.models()))
    if not models:
        say(f"no models: {', '.join(dict.fromkeys(each.stage_name for each in configs))}")
        return 0
    wanted = [each for model in models if (each := _look(model))]
    if not wanted:
        return 0
    _check_room(sum(each.num_bytes for each in wanted))
    with _ended_at_once():
        for each in wanted:
            _tell("fetched", each.model, download(each))
    return 0


@contextlib.contextmanager
def _ended_at_once() -> Iterator[None]:
    """Obey Ctrl-C and the like: the client's threads would download their files to the end."""

    def end(number: int, frame: object) -> None:
        remove_unfinished()
        warn(f"{signal.Signals(number).name}: what is whole stays; the same command goes on")
        os._exit(128 + number)

    # What is ignored stays so: nohup means that the end of a login is to end nothing.
    before = {number: signal.getsignal(number) for number in _ENDING}
    before = {number: old for number, old in before.items() if old is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _parse(argv: list[str]) -> list[str]:
    parser = argparse.ArgumentParser(
        prog="hpcpipe fetch-models",
        usage="hpcpipe fetch-models (stage=NAME | pipeline=NAME) [KEY=VALUE ...] | RUN",
        description="Download the models that the stages of a command load into the Hugging Face\n"
        "cache (HF_HOME). Run it where there is internet; workers only look there. Put the words\n"
        "of your launch behind it: inputs and outputs may be left out.",
        epilog="examples:\n"
        "  hpcpipe fetch-models stage=generate_images\n"
        "  hpcpipe fetch-models pipeline=fairclip pipeline.input='/data/*.tar' -m\n"
        "  hpcpipe fetch-models runs/generate_images/first\n"
        "\nWhat is there already is left as it is. A licence is accepted on the model's page;\n"
        "then comes hf auth login, or HF_TOKEN. HF_ENDPOINT names a mirror.\n"
        "\nexit codes: 0 all models are there, 2 one cannot be had, 4 the Hub cannot be reached",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("words", nargs="*", metavar="KEY=VALUE", help="the words of a launch")
    args, flags = parser.parse_known_args(argv)
    return [*args.words, *flags]


def _configs(words: list[str]) -> list[Config]:
    if not words:
        raise ConfigError("which models? python -m hpcpipe fetch-models stage=NAME [KEY=VALUE ...]")
    if len(words) > 1 or "=" in words[0]:
        return compose_unstarted(words, VERBS)
    pipeline = named_pipeline(words[0], runs_folder())
    if pipeline is not None:
        return list(_configs_of(pipeline))
    run = find_run(words[0], runs_folder())
    return [load(run.path, config_name(run))]


def _configs_of(pipeline: PipelineDir) -> Iterable[Config]:
    """The configuration of each step that was launched, or waits for its plan."""
    jobs = {job.step: job for job in pipeline.read_jobs()}
    for step in pipeline.info.steps:
        run, job = step.find_run(), jobs.get(step.name)
        if run is not None:
            yield load(run.path, config_name(run))
        elif job is not None:
            yield load(Path(step.run_dir), str(pipeline.jobs / f"{job.number}.yaml"))


def _look(model: Model) -> Download | None:
    """Find a model, or else ask the Hub about it."""
    try:
        found = find(model)
    except SetupError:
        if model.name.startswith("/"):
            raise
    else:
        _tell("there", model, found)
        return None
    wanted = look_up(model)
    say(
        f"{'to fetch':10} {_name(model)}: {size(wanted.num_bytes)} of "
        f"{plural(len(wanted.files), 'file')}, commit {wanted.commit[:12]}"
    )
    return wanted


def _tell(state: str, model: Model, found: FoundModel) -> None:
    num_bytes = sum(path.stat().st_size for path in found.path.rglob("*") if path.is_file())
    say(f"{state:10} {_name(model)}: {size(num_bytes)} in {found.path}")


def _name(model: Model) -> str:
    revision = f" at {model.revision}" if model.revision else ""
    return f"{model.name}{revision} ({model.library})"


def _check_room(num_bytes: int) -> None:
    """Refuse what does not fit, the user's quota included."""
    folder = cache = cache_folder()
    while not folder.is_dir():
        folder = folder.parent
    for room in rooms(folder):
        if room.num_bytes is not None and room.num_bytes < num_bytes:
            raise SetupError(
                f"{size(num_bytes)} are to be downloaded to {cache}, and {size(room.num_bytes)} "
                f"are left {room.limit}. Free some, or set HF_HOME to a folder with room on a "
                "shared filesystem, for this command and for the launch"
            )
