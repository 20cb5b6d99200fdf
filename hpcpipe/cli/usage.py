"""The help texts, made of the YAML files' own comments."""

import textwrap
from collections.abc import Sequence

from hpcpipe.compose import conf_files
from hpcpipe.config.convert import unknown_key
from hpcpipe.errors import ConfigError

_HEAD = """\
usage: hpcpipe stage=NAME [KEY=VALUE ...]              run a stage in this process
       hpcpipe stage=NAME [KEY=VALUE ...] -m           submit it as one SLURM array
       hpcpipe stage=NAME [KEY=VALUE ...] -m launcher=local    N workers on this machine
       hpcpipe stage=NAME --help                       its options
       hpcpipe VERB [RUN] [--help]

The same command again resumes a run, or adds workers to one that is going on.
"""
_TAIL = """\
flags: -m, --multirun   start workers; A=1,2 then makes one run for each value
       --cfg job        print the composed configuration and stop
       -h, --help       this text; with stage=NAME the stage's options
       --version        print the version
A value with commas, braces, brackets or = in it is quoted twice: 'stage.input="/data/{a,b}.tar"'
"""


def general(verbs: dict[str, str]) -> str:
    """Build the text of ``hpcpipe --help``.

    Args:
        verbs: verb -> its line.

    Returns:
        The text, ending in a newline.

    Raises:
        OSError: hpcpipe's own configuration cannot be read.
    """
    stages = [
        (name, conf_files.summary(conf_files.read_text(file)))
        for name, file in conf_files.group_files("stage").items()
    ]
    return "\n".join(
        [
            _HEAD,
            _table("verbs", list(verbs.items())),
            _table("stages", stages),
            _common_options(),
            _TAIL,
        ]
    )


def for_arguments(args: list[str], verbs: dict[str, str]) -> str:
    """Build the help that fits the other arguments: a stage's options, or the general text.

    Args:
        args: all arguments.
        verbs: verb -> its line.

    Returns:
        The text, ending in a newline.

    Raises:
        ConfigError: ``stage=NAME`` names no stage.
        OSError: a configuration file cannot be read.
    """
    names = [arg.removeprefix("stage=") for arg in args if arg.startswith("stage=")]
    if not names:
        return general(verbs)
    files = conf_files.group_files("stage")
    if names[-1] not in files:
        raise ConfigError(unknown_choice("stage", names[-1]))
    text = conf_files.read_text(files[names[-1]])
    options = conf_files.options(text)
    return "\n".join(
        [
            f"stage={names[-1]}: {conf_files.summary(text)}\n",
            _option_table("options", options, "stage."),
            _common_options(),
        ]
    )


def unknown_choice(group: str, name: str) -> str:
    """Word the message for a choice that does not exist.

    Args:
        group: config group, e.g. ``stage``.
        name: what the user wrote.

    Returns:
        One line naming the nearest choice, all there are, and where they are looked up.

    Raises:
        Nothing.
    """
    files = conf_files.group_files(group)
    folders = ", ".join(str(folder / group) for folder in conf_files.search_dirs())
    if "/" in name:
        return (
            f"{group}={name}: a name is wanted, not a path: {group}=NAME reads NAME.yaml from "
            f"{folders}; there are: {', '.join(files)}"
        )
    line = unknown_key(name, files, "").replace("no such option", f"no such {group}")
    return f"{group}={line} (looked in {folders})"


def _common_options() -> str:
    file = conf_files.hidden_main_config() or conf_files.main_dir() / "config.yaml"
    options = conf_files.options(conf_files.read_text(file))
    table = _option_table("common options", [option for option in options if option.value], "")
    choices = [
        f"{group}={'|'.join(conf_files.group_files(group))}"
        for group in ("launcher", "resources", "site")
    ]
    sections = "launcher.KEY, resources.KEY, site.KEY, paths.KEY, run.KEY: --cfg job shows them all"
    return f"{table}  {' '.join(choices)}\n  {sections}\n"


def _option_table(title: str, options: list[conf_files.OptionText], prefix: str) -> str:
    rows: list[tuple[str, str]] = []
    for option in options:
        if option.heading:
            rows.append(("", option.heading))
        value = "VALUE (required)" if option.value == "???" else option.value or "..."
        rows.append((f"{prefix}{option.name}={value}", option.comment))
    return _table(title, rows)


def _table(title: str, rows: Sequence[tuple[str, str]]) -> str:
    """Lay out names and texts in two columns; a text without a name takes the whole width."""
    width = min(max((len(name) for name, _ in rows), default=0), 32)
    lines = [f"{title}:"]
    for name, text in rows:
        if not name:
            lines += [f"  {line}" for line in textwrap.wrap(text, 98)]
            continue
        wrapped = textwrap.wrap(text, 96 - width) or [""]
        is_long = len(name) > width
        lines += [f"  {name}"] if is_long else []
        lines.append(f"  {'' if is_long else name:{width}}  {wrapped[0]}".rstrip())
        lines += [f"  {'':{width}}  {more}" for more in wrapped[1:]]
    return "\n".join(lines) + "\n"
