"""The help texts, made of the YAML files' own comments."""

import textwrap
from collections.abc import Sequence

from hpcpipe.cli import choice_options
from hpcpipe.compose import conf_files
from hpcpipe.config.convert import unknown_key
from hpcpipe.errors import ConfigError

_HEAD = """\
usage: hpcpipe stage=NAME [KEY=VALUE ...]              run a stage in this process
       hpcpipe stage=NAME [KEY=VALUE ...] -m           submit it as one SLURM array
       hpcpipe stage=NAME [KEY=VALUE ...] -m launcher=local    N workers on this machine
       hpcpipe stage=NAME --help                       its options
       hpcpipe pipeline=NAME [...]                     several stages in order, the same way
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

OF_ONE_RUN = ("run_dir", "limit")
"""Common options that a pipeline's steps have and a pipeline has not."""


def general(verbs: dict[str, str]) -> str:
    """Build the text of ``hpcpipe --help``.

    Args:
        verbs: verb -> its line.

    Returns:
        The text, ending in a newline.

    Raises:
        OSError: hpcpipe's own configuration cannot be read.
    """
    return "\n".join(
        [
            _HEAD,
            _table("verbs", list(verbs.items())),
            _table("stages", summaries("stage")),
            _table("pipelines", summaries("pipeline")),
            _common_options(),
            _TAIL,
        ]
    )


def summaries(group: str) -> list[tuple[str, str]]:
    """List the choices of a config group with the first comment line of each.

    Args:
        group: e.g. ``stage``.

    Returns:
        Name and line, sorted by name.

    Raises:
        OSError: a file cannot be read.
    """
    files = conf_files.group_files(group)
    return [(name, conf_files.summary(conf_files.read_text(file))) for name, file in files.items()]


def for_arguments(args: list[str], verbs: dict[str, str]) -> str:
    """Build the help that fits the other arguments: a stage's options, or the general text.

    Args:
        args: all arguments.
        verbs: verb -> its line.

    Returns:
        The text, ending in a newline.

    Raises:
        ConfigError: ``stage=NAME`` or ``pipeline=NAME`` names none.
        OSError: a configuration file cannot be read.
    """
    named = [arg.partition("=") for arg in args if arg.startswith(("stage=", "pipeline="))]
    if not named:
        return general(verbs)
    group, _, name = named[-1]
    files = conf_files.group_files(group)
    if name not in files:
        raise ConfigError(unknown_choice(group, name))
    text = conf_files.read_text(files[name])
    options = choice_options.of_choice(name, files)
    if group == "pipeline":  # its steps have a table of their own
        options = [option for option in options if option.name.partition(".")[0] != "steps"]
    parts = [f"{group}={name}: {conf_files.summary(text)}\n"]
    parts.append(_option_table("options", options, f"{group}."))
    if group == "pipeline":
        return "\n".join([*parts, _steps(text), _common_options(without=OF_ONE_RUN)])
    return "\n".join([*parts, _common_options()])


def _steps(text: str) -> str:
    """The steps of a pipeline as the settings that one could type."""
    lines = ["steps, in order; STEP.KEY=VALUE changes any setting of one:"]
    steps = conf_files.block(text, "steps")
    for step in conf_files.options(steps, has_opening=False):
        lines.append(f"  {step.name}: {step.comment}".rstrip(": "))
        for setting in conf_files.options(conf_files.block(steps, step.name), has_opening=False):
            comment = f"  # {setting.comment}" if setting.comment else ""
            lines.append(f"    {step.name}.{setting.name}={setting.value}{comment}")
    return "\n".join(lines) + "\n"


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
    other = {"stage": "pipeline", "pipeline": "stage"}.get(group)
    if other and name in conf_files.group_files(other):
        return f"{group}={name}: {name} is a {other}: type {other}={name}"
    line = unknown_key(name, files, "").replace("no such option", f"no such {group}")
    return f"{group}={line} (looked in {folders})"


def _common_options(without: Sequence[str] = ()) -> str:
    file = conf_files.hidden_main_config() or conf_files.main_dir() / "config.yaml"
    options = conf_files.options(conf_files.read_text(file))
    shown = [option for option in options if option.value and option.name not in without]
    table = _option_table("common options", shown, "")
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
        if is_long and not text:
            continue
        lines.append(f"  {'' if is_long else name:{width}}  {wrapped[0]}".rstrip())
        lines += [f"  {'':{width}}  {more}" for more in wrapped[1:]]
    return "\n".join(lines) + "\n"
