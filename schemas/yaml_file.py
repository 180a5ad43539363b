"""Read a YAML file into a pydantic model; when it is wrong, say file, line, what was expected and the nearest name."""

from __future__ import annotations

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
    try:
        return model.model_validate(content)
    except pydantic.ValidationError as error:
        faults = list(dict.fromkeys(_describe(fault, model, node, where) for fault in error.errors()))
        raise UsageError("\n".join(faults)) from error


def _describe(fault: Any, model: type[pydantic.BaseModel], node: yaml.Node | None, where: str) -> str:
    keys = _keys_in(node, fault["loc"])
    name = ".".join(str(k) for k in keys) or "the file"
    kind = fault["type"]
    if kind == "extra_forbidden":
        valid = _fields_at(model, keys[:-1])
        message = f"unknown key {str(keys[-1]) if keys else ''!r}{nearest(str(keys[-1]), valid) if keys else ''}"
        message += f" (valid: {', '.join(valid)})" if valid else ""
        name = ".".join(str(k) for k in keys[:-1]) or "the file"
    elif kind == "missing":
        message, name = f"{fault['loc'][-1]!r} is missing", name
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
