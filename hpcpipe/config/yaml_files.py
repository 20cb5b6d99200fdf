"""Reading one YAML file, and what is wrong with it in one line: file, place, what to do."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcpipe.errors import ConfigError

if TYPE_CHECKING:
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError


def read_yaml(path: Path) -> Any:
    """Read a YAML file as OmegaConf does.

    Args:
        path: the file.

    Returns:
        A ``DictConfig`` or ``ListConfig``, interpolations as they are written.

    Raises:
        ConfigError: it is not UTF-8, no YAML, or holds a value that a configuration cannot.
        OSError: it cannot be read.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    data = path.read_bytes()
    try:
        return OmegaConf.create(data.decode("utf-8"))
    except UnicodeDecodeError as err:
        line = data.count(b"\n", 0, err.start) + 1
        raise ConfigError(f"{path}, line {line}: not UTF-8: save the file as UTF-8") from err
    except YAMLError as err:
        raise ConfigError(f"{path}{_explain_yaml(err)}") from err
    except OmegaConfBaseException as err:
        raise ConfigError(f"{path}: {_explain_value(err)}") from err
    except RecursionError as err:
        raise ConfigError(f"{path}: a value contains itself: write it out") from err


def _explain_yaml(err: "YAMLError") -> str:
    mark = getattr(err, "problem_mark", None)
    if mark is None:
        first = str(err).splitlines()[0]
        return f": {first}: remove what is no text from the file"
    line = f", line {mark.line + 1}: {err.problem}"
    begin = getattr(err, "context_mark", None)
    if begin is not None and err.context:
        line += f", {err.context} that begins on line {begin.line + 1}"
    return (
        f"{line}. Mend the YAML there: close brackets and quotes, put text with : # [ {{ in quotes"
    )


def _explain_value(err: "OmegaConfBaseException") -> str:
    key = f"{err.full_key}: " if err.full_key else ""
    first = str(err.msg or err).splitlines()[0]
    return f"{key}{first}. A reference is written ${{NAME}}, the two characters themselves \\${{"
