"""Plain values to typed options, and a user's mistake to one line that names the key.

Knows nothing of Hydra, files or runs; `hpcpipe.config` uses it. A type error comes out as
``stage.shard_bytes: expected int or null, got str 'abc'``.
"""

import dataclasses
import difflib
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from hpcpipe.errors import ConfigError
from hpcpipe.stage import PATH

T = TypeVar("T")

MISSING = "???"
"""How YAML marks a value that the user has to give."""

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kKMGTP]i?)?B")
_SIZE_PREFIXES = "KMGTP"
_NAMES = {
    type(None): "null",
    list: "a list",
    tuple: "a list",
    dict: "a mapping",
    Any: "anything",
    bool: "true or false",
}


def build(cls: type[T], values: Any, where: str) -> T:
    """Build a dataclass from plain values, checking every key and type.

    Args:
        cls: a dataclass; its annotations say what each option may be.
        values: option -> plain value (what YAML gives).
        where: dotted prefix for messages, e.g. ``stage``.

    Returns:
        The instance.

    Raises:
        ConfigError: keys are unknown or missing, or values have the wrong type; one line each.
    """
    checked = convert_fields(cls, values, where)
    try:
        return cls(**checked)
    except ConfigError as err:
        if str(err).split(" ")[0] in checked:  # options that do not know where they are nested
            raise ConfigError(f"{where}.{err}") from err
        raise
    except (TypeError, ValueError) as err:
        raise ConfigError(f"{where}: {err}".lstrip(": ")) from err


def convert_fields(
    cls: type, values: Any, where: str, skip: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Convert the values of a dataclass's fields without building it.

    Args:
        cls: a dataclass.
        values: option -> plain value.
        where: dotted prefix for messages.
        skip: fields that are left out of the check and of the result.

    Returns:
        Field -> converted value; fields that have a default and no value are absent.

    Raises:
        ConfigError: as for `build`.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where}: expected a mapping of options, got {values!r}")
    hints = field_types(cls)
    unknown = [key for key in values if key not in hints]
    below = [f"{where}.{name}" for name in _names_below(hints)] if unknown else []
    problems = [unknown_key(key, hints, where, below) for key in unknown]
    checked: dict[str, Any] = {}
    for field in dataclasses.fields(cls):
        if field.name in skip:
            continue
        value = values.get(field.name, MISSING)
        path = f"{where}.{field.name}".lstrip(".")
        if value is None and field.default_factory is not dataclasses.MISSING:
            continue  # a list or mapping whose lines are all commented out
        if value == MISSING:
            if field.name in values or not has_default(field):
                problems.append(f"{path} is required: add {path}=VALUE")
            continue
        try:
            checked[field.name] = convert(value, hints[field.name], path)
        except ConfigError as err:
            problems.append(str(err))
    if problems:
        raise ConfigError("\n".join(problems))
    return checked


def convert(value: Any, hint: Any, where: str) -> Any:
    """Convert one plain value to the type its annotation names.

    Args:
        value: what YAML gave.
        hint: the annotation; nested dataclasses are built too. An option whose name ends in
            ``_bytes`` also takes sizes such as ``500MB`` or ``1GiB``.
        where: dotted path for messages.

    Returns:
        The typed value.

    Raises:
        ConfigError: the value does not fit the type.
    """
    if isinstance(value, Mapping):
        for arm in map(_bare, union_arms(hint)):
            if dataclasses.is_dataclass(arm) and isinstance(arm, type):
                return build(arm, value, where)
    if isinstance(value, str) and where.endswith("_bytes"):
        value = parse_size_bytes(value, where)
    _check_places(value, hint, where)
    try:
        return msgspec.convert(value, hint, strict=True)
    except msgspec.ValidationError as err:
        raise ConfigError(_explain(str(err), value, hint, where)) from err
    except TypeError as err:
        raise ConfigError(f"{where}: its annotation {hint} is not supported: {err}") from err


def _check_places(value: Any, hint: Any, where: str) -> None:
    """Refuse a path that is empty, which would mean the current folder to whoever joins it."""
    for arm in union_arms(hint):
        origin, args = typing.get_origin(arm), typing.get_args(arm)
        if value == "" and origin is Annotated and PATH in arm.__metadata__:
            raise ConfigError(
                f"{where} is empty (an unset variable?): give a path, or leave it out"
            )
        if isinstance(value, list) and origin is list:
            for index, item in enumerate(value):
                _check_places(item, args[0], f"{where}[{index}]")
        if isinstance(value, Mapping) and origin is dict:
            for key, item in value.items():
                _check_places(item, args[1], f"{where}.{key}")


def parse_size_bytes(text: str, where: str) -> int | str:
    """Read a size such as ``1GiB``, ``500MB`` or ``64kB``.

    Args:
        text: the size; anything that is not one is returned as it is, for the type check.
        where: dotted path for messages.

    Returns:
        Number of bytes, or `text`.

    Raises:
        ConfigError: the size is no whole number of bytes.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        return text
    number, prefix = match.groups()
    base = 1024 if prefix and prefix.endswith("i") else 1000
    exponent = _SIZE_PREFIXES.index(prefix[0].upper()) + 1 if prefix else 0
    size_bytes = float(number) * base**exponent
    if not size_bytes.is_integer():
        raise ConfigError(f"{where}: {text} is no whole number of bytes")
    return int(size_bytes)


def field_types(cls: type) -> dict[str, Any]:
    """Look up the annotations of a dataclass's fields, ``Annotated`` marks included.

    Args:
        cls: a dataclass.

    Returns:
        Field name -> annotation, in the order of the fields.

    Raises:
        ConfigError: an annotation cannot be resolved.
    """
    try:
        hints = typing.get_type_hints(cls, include_extras=True)
    except NameError as err:
        raise ConfigError(
            f"{cls.__qualname__}: {err}: the types of its fields must be importable when it runs"
        ) from err
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def union_arms(hint: Any) -> Iterator[Any]:
    """Yield the alternatives of an annotation, each with its ``Annotated`` marks.

    Args:
        hint: any annotation; one that is no union yields itself.

    Yields:
        The alternatives.

    Raises:
        Nothing.
    """
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        for arm in typing.get_args(hint):
            yield from union_arms(arm)
    else:
        yield hint


def unknown_key(key: str, valid: Iterable[str], where: str, elsewhere: Iterable[str] = ()) -> str:
    """Word the message for a key that does not exist.

    Args:
        key: what the user wrote.
        valid: the keys there are.
        where: dotted prefix, "" at the top.
        elsewhere: dotted names of all options, to recognise one that was put in a wrong place.

    Returns:
        One line naming the key, the nearest valid one and all valid ones.

    Raises:
        Nothing.
    """
    names = list(valid)
    others: dict[str, list[str]] = {}
    for option in elsewhere:
        others.setdefault(option.rpartition(".")[2], []).append(option)
    near = others.get(key) or difflib.get_close_matches(key, names, n=1, cutoff=0.6)
    if not near and (found := difflib.get_close_matches(key, others, n=1, cutoff=0.75)):
        near = others[found[0]]
    hint = f" (did you mean {' or '.join(near)}?)" if near else ""
    owner = f"{where}." if where else ""
    return f"{owner}{key}: no such option{hint}; there are: {', '.join(names)}"


def _names_below(hints: Mapping[str, Any]) -> Iterator[str]:
    """Dotted names of the options that stand one level deeper."""
    for name, hint in hints.items():
        for arm in union_arms(hint):
            if dataclasses.is_dataclass(arm):
                yield from (f"{name}.{field.name}" for field in dataclasses.fields(arm))


def has_default(field: "dataclasses.Field[Any]") -> bool:
    """Tell whether a field of a dataclass may be left out. Raises nothing."""
    return (
        field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
    )


def _explain(message: str, value: Any, hint: Any, where: str) -> str:
    reason, _, inner = message.partition(" - at `$")
    index = inner.rstrip("`")
    if "..." in index:  # msgspec does not say which entry of a mapping it was
        return f"{where}: an entry of it is wrong: {reason.replace('`', '').lower()}"
    bad = _dig(value, index)
    got = "null" if bad is None else f"{type(bad).__name__} {bad!r}"
    bound = re.search(r"`\w+` ([<>]=? \S+)", reason)
    if bound:
        return f"{where}{index}: must be {bound[1]}, got {bad!r}"
    if index:
        expected = reason.removeprefix("Expected ").split(",")[0].replace("`", "")
        return f"{where}{index}: expected {expected.replace('|', 'or')}, got {got}"
    line = f"{where}: expected {_describe(hint)}, got {got}"
    if isinstance(value, int | float) and "str" in _describe(hint):
        line += f" (for text, put quotes inside quotes: '{where}=\"{value}\"')"
    if isinstance(value, str) and "list" in _describe(hint):
        line += f" (for one, in brackets: '{where}=[{value}]')"
    return line


def _dig(value: Any, index: str) -> Any:
    for step in re.findall(r"\[(\d+)\]|\.(\w+)", index):
        value = value[int(step[0])] if step[0] else value[step[1]]
    return value


def _bare(arm: Any) -> Any:
    """An annotation without its ``Annotated`` marks."""
    return typing.get_args(arm)[0] if typing.get_origin(arm) is Annotated else arm


def _describe(hint: Any) -> str:
    names = []
    for arm in union_arms(hint):
        bare = _bare(arm)
        if typing.get_origin(bare) is Literal:
            names += [str(choice) for choice in typing.get_args(bare)]
            continue
        bare = dict if dataclasses.is_dataclass(bare) else typing.get_origin(bare) or bare
        names.append(_NAMES.get(bare) or str(getattr(bare, "__name__", bare)))
    return " or ".join(names)
