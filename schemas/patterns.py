"""Path patterns with named fields: `imagesTr/{case}_0000.nii.gz`.

`{name}` matches within one path segment, `{name:regex}` what the expression says, `*` anything within a segment, `**`
any number of segments, `?` one character. A field that occurs twice must match the same text.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Annotated

from pydantic import BeforeValidator

_TOKEN = re.compile(
    r"\{(?P<field>\w+)(?::(?P<regex>(?:[^{}]|\{\d+(?:,\d*)?\})+))?\}|(?P<deep>\*\*/?)|(?P<star>\*)|(?P<one>\?)"
)


@cache
def compile_pattern(pattern: str) -> re.Pattern[str]:
    """The regular expression of a pattern, anchored at both ends.

    Raises:
        ValueError: an embedded expression is not valid.
    """
    parts: list[str] = []
    seen: set[str] = set()
    end = 0
    for token in _TOKEN.finditer(pattern):
        parts.append(re.escape(pattern[end : token.start()]))
        if field := token["field"]:
            parts.append(f"(?P={field})" if field in seen else f"(?P<{field}>{token['regex'] or '[^/]+?'})")
            seen.add(field)
        elif token["deep"]:
            parts.append("(?:.*/)?" if token["deep"].endswith("/") else ".*")
        else:
            parts.append("[^/]*" if token["star"] else "[^/]")
        end = token.end()
    parts.append(re.escape(pattern[end:]))
    try:
        return re.compile("".join(parts) + r"\Z")
    except re.error as error:
        raise ValueError(f"pattern {pattern!r}: {error}") from error


def fields(pattern: str) -> tuple[str, ...]:
    """Names of the fields of a pattern, in order of first appearance."""
    return tuple(compile_pattern(pattern).groupindex)


def literal(pattern: str) -> str:
    """The text of a pattern outside its fields and wildcards: how specific it is."""
    return _TOKEN.sub("", pattern)


def match(pattern: str, path: str) -> dict[str, str] | None:
    """The fields of `path` when it matches the whole pattern, else None."""
    found = compile_pattern(pattern).match(path)
    return found.groupdict() if found else None


def fill(template: str, values: dict[str, str]) -> str:
    """`template` with its fields replaced.

    Raises:
        KeyError: a field has no value.
    """
    return re.sub(r"\{(\w+)(?::[^{}]*)?\}", lambda m: values[m[1]], template)


def _pattern(value: str) -> str:
    compile_pattern(value)
    return value


Pattern = Annotated[str, BeforeValidator(_pattern)]
"""A path below the source's root, with named fields."""
