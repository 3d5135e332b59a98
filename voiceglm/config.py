"""Configuration as data: one YAML file becomes nested frozen dataclasses, or one clear error.

What a field may be: ``int``, ``float``, ``str``, ``bool``, ``Path``, a dataclass,
``Literal[...]``, ``X | None`` and other unions, ``tuple[X, ...]``, ``tuple[X, Y]``, ``list[X]``,
``dict[str, X]``, ``Any``.
A whole number is taken where a float is asked for, a list where a tuple is; nothing else is
converted in silence.
"""

import copy
import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from voiceglm.errors import ConfigError

T = TypeVar("T")


def build(cls: type[T], values: Mapping[str, Any], *, where: str = "") -> T:
    """Build dataclass ``cls`` from plain values, refusing names it does not declare.

    Args:
        cls: A dataclass, whose fields may be dataclasses.
        values: One value per field; a field with a default may be left out.
        where: What to put before a field's name in messages, for example ``"optim."``.

    Raises:
        ConfigError: On an unknown name, naming the nearest known one, on a missing or a
            mistyped value, and on whatever the dataclass itself refuses.
    """
    declared = {field.name: field for field in fields(cls) if field.init}  # type: ignore[arg-type]
    hints = get_type_hints(cls)
    for name in values:
        if name not in declared:
            raise ConfigError(f"unknown setting {where}{name}{_suggestion(name, declared, where)}")
    for name, field in declared.items():
        if name not in values and _is_required(field):
            raise ConfigError(f"{where}{name} is missing; it has no default")
    return cls(
        **{name: _convert(hints[name], value, f"{where}{name}") for name, value in values.items()}
    )


def load_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML file that holds one mapping.

    Raises:
        ConfigError: If the file is missing, unreadable, not YAML, or not a mapping.
    """
    path = Path(path)
    if path.is_dir():
        raise ConfigError(f"{path} is a folder, expected a YAML file")
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"no such file: {path}") from None
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not text, expected a YAML file") from None
    values = _parse(text, str(path))
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds {type(values).__name__}, expected settings (name: value)")
    return values


def override(values: Mapping[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """Return a copy of ``values`` with each ``"a.b=c"`` applied in order; ``c`` is read as YAML.

    >>> override({"optim": {"steps": 10}}, ["optim.steps=20", "name=try"])
    {'optim': {'steps': 20}, 'name': 'try'}

    Raises:
        ConfigError: If a setting has no ``=``, or goes through something that has no parts.
    """
    changed = copy.deepcopy(dict(values))
    for setting in settings:
        path, equals, text = setting.partition("=")
        *parents, last = path.strip().split(".")
        if not equals or not all([*parents, last]):
            raise ConfigError(f"cannot read setting {setting!r}, expected name=value or a.b=value")
        place = changed
        for depth, name in enumerate(parents, start=1):
            if place.get(name) is None:
                place[name] = {}
            place = place[name]
            if not isinstance(place, dict):
                raise ConfigError(f"cannot set {path}: {'.'.join(parents[:depth])} has no parts")
        place[last] = _parse(text, setting)
    return changed


def _is_required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _suggestion(name: object, known: Iterable[str], where: str) -> str:
    near = difflib.get_close_matches(str(name), list(known), n=1)
    return f"; did you mean {where}{near[0]}?" if near else f"; known: {', '.join(sorted(known))}"


def _convert(kind: Any, value: Any, path: str) -> Any:
    """Return ``value`` as the type ``kind`` asks for, or say why not."""
    origin = get_origin(kind)
    if kind is Any:
        return value
    if origin in (Union, UnionType):
        return _convert_union(kind, value, path)
    if origin is Literal:
        return _convert_literal(kind, value, path)
    if origin in (tuple, list):
        return _convert_sequence(kind, value, path)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise _mistyped(kind, value, path)
        return {name: _convert(get_args(kind)[1], v, f"{path}.{name}") for name, v in value.items()}
    if is_dataclass(kind) and isinstance(kind, type):
        return _convert_dataclass(kind, value, path)
    if kind is float and type(value) is int:
        return float(value)
    if kind is Path and isinstance(value, str):
        return Path(value)
    if isinstance(kind, type) and (isinstance(value, kind) and not _is_bool_as_number(kind, value)):
        return value
    raise _mistyped(kind, value, path)


def _is_bool_as_number(kind: type, value: Any) -> bool:
    return type(value) is bool and kind is not bool and kind is not object


def _convert_union(kind: Any, value: Any, path: str) -> Any:
    members = get_args(kind)
    if value is None and type(None) in members:
        return None
    exact = [member for member in members if member is type(value)]
    others = [member for member in members if member is not type(None)]
    if len(others) == 1:  # X | None: the message about X is the useful one
        return _convert(others[0], value, path)
    for member in [*exact, *others]:
        try:
            return _convert(member, value, path)
        except ConfigError:
            continue
    raise _mistyped(kind, value, path)


def _convert_literal(kind: Any, value: Any, path: str) -> Any:
    for allowed in get_args(kind):
        if type(allowed) is type(value) and allowed == value:
            return value
    allowed = " or ".join(repr(choice) for choice in get_args(kind))
    raise ConfigError(f"{path} must be {allowed}, got {value!r}")


def _convert_sequence(kind: Any, value: Any, path: str) -> Any:
    container, members = get_origin(kind), get_args(kind)
    if not isinstance(value, (list, tuple)):
        raise _mistyped(kind, value, path)
    if container is list or members[-1] is Ellipsis:
        members = (members[0],) * len(value)
    if len(members) != len(value):
        raise ConfigError(f"{path} must hold {len(members)} values, got {len(value)}: {value!r}")
    return container(
        _convert(member, item, f"{path}[{position}]")
        for position, (member, item) in enumerate(zip(members, value, strict=True))
    )


def _convert_dataclass(kind: type, value: Any, path: str) -> Any:
    if isinstance(value, kind):
        return value
    if not isinstance(value, Mapping):
        raise ConfigError(f"{path} must hold settings (name: value), got {value!r}")
    return build(kind, value, where=f"{path}.")


def _mistyped(kind: Any, value: Any, path: str) -> ConfigError:
    name = kind.__name__ if type(kind) is type else str(kind).replace("typing.", "")
    return ConfigError(f"{path} must be {name}, got {value!r}")


class _Loader(yaml.SafeLoader):
    """YAML as people write it: ``3e-4`` is a number, and a name given twice is a mistake."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen and key.value != "<<":
                line = key.start_mark.line + 1
                raise yaml.MarkedYAMLError(problem=f"{key.value!r} is given twice (line {line})")
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def _parse(text: str, where: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        line = f" (line {mark.line + 1})" if mark else ""
        raise ConfigError(f"{where} is not YAML: {problem}{line}") from None
