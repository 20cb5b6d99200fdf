"""Hydra's errors in our words: which key, what is valid, how to quote it."""

import contextlib
import re
import shlex
from collections.abc import Iterator
from typing import Any

from hpcpipe.cli.usage import unknown_choice
from hpcpipe.compose import conf_files, user_files
from hpcpipe.config.convert import unknown_key
from hpcpipe.config.resolve import dotted_names
from hpcpipe.errors import ConfigError


@contextlib.contextmanager
def in_our_words(overrides: list[str]) -> Iterator[None]:
    """Rewrite what Hydra raises within the block.

    Args:
        overrides: the user's overrides.

    Raises:
        ConfigError: in place of Hydra's own errors.
    """
    try:
        yield
    except Exception as err:
        ours = rewritten(err, overrides)
        if ours is err:
            raise
        raise ours from err


def rewritten(err: Exception, overrides: list[str]) -> Exception:
    """Turn an error of Hydra's into one that tells the user what to type.

    Args:
        err: what Hydra raised.
        overrides: the user's overrides.

    Returns:
        A ConfigError, or `err` itself when it is not about the configuration.

    Raises:
        OSError: a configuration file cannot be opened.
    """
    from hydra.errors import HydraException, MissingConfigException, OverrideParseException
    from omegaconf.errors import OmegaConfBaseException

    if isinstance(err, OverrideParseException):
        return ConfigError(_explain_grammar(err.override, overrides))
    if isinstance(err, MissingConfigException) and err.missing_cfg_file:
        group, _, name = err.missing_cfg_file.partition("/")
        if group in conf_files.GROUPS and err.options:
            return ConfigError(unknown_choice(group, name))
    if problem := user_files.unreadable(err, overrides):
        return problem
    # Some mistakes in choices (resources=null) come out of Hydra as ValueError.
    if isinstance(err, HydraException | OmegaConfBaseException | ValueError):
        return ConfigError(_explain(err, overrides) + _hint_at_hidden_config())
    return err


def quoted(override: str) -> str:
    """Write an override so that shell and Hydra take its value as plain text.

    Args:
        override: ``KEY=VALUE``.

    Returns:
        e.g. ``'stage.input="/data/{a,b}.tar"'``.

    Raises:
        Nothing.
    """
    key, _, value = override.partition("=")
    return shlex.quote(f"{key}={quote_value(value)}")


def quote_value(value: str) -> str:
    """Quote a value for Hydra's grammar.

    Args:
        value: any text.

    Returns:
        The text in double quotes, which Hydra takes as it is.

    Raises:
        Nothing.
    """
    value = re.sub(r'(\\*)"', lambda match: match[1] * 2 + r"\"", value)
    value = re.sub(r"(\\+)$", lambda match: match[1] * 2, value)
    return f'"{value}"'


def _explain_grammar(override: str, overrides: list[str]) -> str:
    key = override.partition("=")[0]
    given = next((text for text in overrides if text.lstrip("+~") == override), override)
    return f"{key}: this value has to be quoted twice; write: {quoted(given)}"


def _explain(err: Exception, overrides: list[str]) -> str:
    text = str(err)
    first = text.splitlines()[0] if text else type(err).__name__
    if match := re.match(r"In '?([\w/]+)'?: Could not override '(\w+)@", text):
        return (
            f"conf/{match[1]}.yaml: to choose {match[2]} there, write in its defaults: "
            f"- override /{match[2]}@_global_.{match[2]}: NAME"
        )
    if match := re.match(r"Could not (?:override|append|delete)[^']*'([^'=@]+)", text):
        return _explain_key(match[1], overrides)
    if match := re.match(r"Ambiguous value for argument '([^=]+)=(.*)'$", first):
        return (
            f"{match[1]}: several values make several runs, and need -m. If it is one value with "
            f"commas in it, write: {quoted(f'{match[1]}={match[2]}')}"
        )
    if match := re.match(r"Multiple values for (\w+)", text):
        return f"{match[1]} is given more than once"
    if file := user_files.named_in(first):
        return f"{file}: {first}"
    read = ", ".join(map(str, user_files.chosen_files(overrides)))
    return f"{first} (look in {read})" if read else first


def _explain_key(key: str, overrides: list[str]) -> str:
    parent, _, name = key.rpartition(".")
    cfg = _composed(overrides)
    valid = _valid_keys(parent, cfg)
    if name in valid:  # it is a mapping, which was given keys that it has not
        return (
            f"{key}: keys of a mapping are changed one by one: {key}.KEY=VALUE; new ones are added "
            f"by +{key}.KEY=VALUE, and one is taken away by '~{key}.KEY'"
        )
    if valid:
        return unknown_key(name, valid, parent, dotted_names(cfg))
    return f"{key}: no such option (to add a key to a mapping, write +{key}=VALUE)"


def _composed(overrides: list[str]) -> Any:
    """Compose once more with only the choices of groups."""
    import hydra
    from hydra.errors import HydraException

    choices = [
        text for text in overrides if re.match(r"(stage|pipeline|resources|site|launcher)=\w", text)
    ]
    choices = [text for text in choices if "," not in text]
    try:
        with hydra.initialize_config_dir(str(conf_files.main_dir()), version_base="1.3"):
            return hydra.compose("config", choices)
    except HydraException:
        return {}


def _valid_keys(parent: str, cfg: Any) -> list[str]:
    from omegaconf import DictConfig, OmegaConf

    section = OmegaConf.select(cfg, parent) if cfg and parent else cfg
    if not isinstance(section, DictConfig):
        return []
    return [str(name) for name in section if name != "_target_"]


def _hint_at_hidden_config() -> str:
    hidden = conf_files.hidden_main_config()
    return f"\n({hidden} is read instead of hpcpipe's own config.yaml)" if hidden else ""
