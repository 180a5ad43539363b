"""Read a YAML file into a pydantic model; when it is wrong, say file, line, what was expected and the nearest name."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import pydantic
import yaml

from mdfp.errors import UsageError
from schemas.suggest import nearest

Model = TypeVar("Model", bound=pydantic.BaseModel)
Key = str | int


def load(model: type[Model], path: str | Path) -> Model:
    """The file's content as a `model`.

    Raises:
        UsageError: the file is missing, is not YAML, or breaks the model; a line for each fault, with its line number.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    return loads(model, text, str(path))


def loads(model: type[Model], text: str, where: str) -> Model:
    """Like `load`, from text; `where` is what messages call it."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise UsageError(f"{where}{line}: not YAML: {error.problem}") from error
    if not isinstance(content, dict):
        raise UsageError(f"{where}: expected keys and values ({', '.join(model.model_fields)}), found {content!r}")
    _check_keys_once(node, where)
    try:
        return model.model_validate(content)
    except pydantic.ValidationError as error:
        faults = list(dict.fromkeys(_describe(fault, model, node, where) for fault in _one_per_union(error, model)))
        raise UsageError("\n".join(faults)) from error


def _check_keys_once(node: yaml.Node | None, where: str) -> None:
    """YAML readers let a later key win in silence; here a key that is written twice is a mistake.

    Raises:
        UsageError: a mapping has a key twice.
    """
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            line = key_node.start_mark.line + 1
            if key in seen:
                raise UsageError(f"{where}:{line}: the key {key!r} is written twice, first in line {seen[key]}")
            seen[key] = line
            _check_keys_once(value_node, where)
    elif isinstance(node, yaml.SequenceNode):
        for child in node.value:
            _check_keys_once(child, where)


def _one_per_union(error: pydantic.ValidationError, model: type[pydantic.BaseModel]) -> list[Any]:
    """The faults, with those of the alternatives of one field made one: nobody wrote three spacings.

    A mapping can only have been meant as the alternative that is one, so its own faults are the ones to tell.
    """
    result: dict[Any, Any] = {}
    for number, fault in enumerate(error.errors()):
        loc = tuple(fault["loc"])
        told: tuple[Any, Any] | None = (number, fault)
        for depth, field in _unions_on_the_way(model, loc):
            value = _value_at(error, loc[:depth])
            if not isinstance(value, dict):
                told = (
                    loc[:depth],
                    {"type": "union", "loc": loc[:depth], "input": value, "msg": f"expected {field.description}"},
                )
                break
            if loc[depth] not in {m.__name__ for m in _models_in(field.annotation)}:
                told = None
                break
        if told is not None:
            result.setdefault(*told)
    return list(result.values())


def _unions_on_the_way(model: Any, loc: tuple[Key, ...]) -> list[tuple[int, Any]]:
    """(length of its location, field) of each field that has alternatives, from the file's top down to `loc`."""
    found = []
    models = [model]
    for depth, part in enumerate(loc, start=1):
        fields = [m.model_fields[part] for m in models if part in m.model_fields]
        if fields:
            if _alternatives(fields[0]) and len(loc) > depth:
                found.append((depth, fields[0]))
            models = [m for f in fields for m in _models_in(f.annotation)]
        else:  # the place of an item, the name of an alternative, or the tag of a discriminated union
            models = [m for m in models if m.__name__ == part or _has_tag(m, part)] or models
    return found


def _alternatives(field: Any) -> bool:
    """Whether a field takes values of several kinds (None and the members of a discriminated union aside)."""
    if field.discriminator is not None or typing.get_origin(field.annotation) not in (typing.Union, types.UnionType):
        return False
    return len([a for a in typing.get_args(field.annotation) if a is not type(None)]) > 1


def _has_tag(model: Any, tag: Key) -> bool:
    return any(tag in typing.get_args(f.annotation) for f in model.model_fields.values())


def _value_at(error: pydantic.ValidationError, place: tuple[Key, ...]) -> Any:
    """What was written at a location: the input of the shallowest fault below it."""
    below = [f for f in error.errors() if tuple(f["loc"][: len(place)]) == place]
    shallowest = min(below, key=lambda f: len(f["loc"]))
    whole = next((f for f in below if len(f["loc"]) == len(place) + 1), shallowest)
    return whole["input"]


def _describe(fault: Any, model: type[pydantic.BaseModel], node: yaml.Node | None, where: str) -> str:
    keys = _keys_in(node, fault["loc"])
    name = ".".join(str(k) for k in keys) or "the file"
    kind = fault["type"]
    if kind == "extra_forbidden":
        valid = _fields_at(model, keys[:-1])
        message = f"unknown key {str(keys[-1]) if keys else ''!r}{nearest(str(keys[-1]), valid) if keys else ''}"
        message += f" (valid: {', '.join(valid)})" if valid else ""
        name = ".".join(str(k) for k in keys[:-1]) or "the file"
    elif kind == "missing" and isinstance(fault["loc"][-1], int):
        message = f"expected more than the {len(fault['input'])} values of {fault['input']!r}"
    elif kind == "missing":
        message = f"{fault['loc'][-1]!r} is missing"
    elif kind == "literal_error":
        valid = [v.strip(" '") for v in str(fault["ctx"]["expected"]).replace(" or ", ", ").split(",")]
        message = f"expected {fault['ctx']['expected']}, found {fault['input']!r}{nearest(str(fault['input']), valid)}"
    else:
        text = str(fault["msg"]).removeprefix("Value error, ")
        message = text[0].lower() + text[1:]
        if kind != "value_error":
            message += f", found {fault['input']!r}"
    return f"{where}:{_line(node, keys)}: {name}: {message}"


def _keys_in(node: yaml.Node | None, loc: Iterable[Key]) -> list[Key]:
    """The part of a pydantic location that names keys of the file (union members and validators are not keys)."""
    keys: list[Key] = []
    for part in loc:
        child = _child(node, part)
        if child is not None:
            keys.append(part)
            node = child
    return keys


def _child(node: yaml.Node | None, key: Key) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        for key_node, value_node in node.value:
            if key_node.value == str(key):
                return typing.cast(yaml.Node, value_node)
    if isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
        return typing.cast(yaml.Node, node.value[key])
    return None


def _line(node: yaml.Node | None, keys: list[Key]) -> int:
    line = node.start_mark.line if node else 0
    for key in keys:
        if isinstance(node, yaml.MappingNode):
            for key_node, _ in node.value:
                if key_node.value == str(key):
                    line = key_node.start_mark.line
        node = _child(node, key)
        if node is not None and isinstance(key, int):
            line = node.start_mark.line
    return line + 1


def _fields_at(model: Any, keys: list[Key]) -> list[str]:
    """Field names of the model found by following `keys` down; for a union, those of all its models."""
    models = [model]
    for key in keys:
        found: list[Any] = []
        for m in models:
            field = getattr(m, "model_fields", {}).get(str(key))
            found += _models_in(field.annotation) if field else ([m] if isinstance(key, int) else [])
        models = found
    return list(dict.fromkeys(f for m in models for f in getattr(m, "model_fields", {})))


def _models_in(annotation: Any) -> list[Any]:
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return [annotation]
    return [m for a in typing.get_args(annotation) for m in _models_in(a)]
