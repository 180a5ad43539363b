"""One module writes a corpus. A stream on a store publishes what it has when an exception passes through it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]
LAYERS = ("mdfp", "schemas", "catalog", "transforms", "expectations", "pipelines")
SPEAKS_TO_STORES = ("mdfp/store.py", "transforms/stores/")
"""Where file systems and their libraries are known."""

LIBRARIES = {"fsspec", "s3fs", "gcsfs", "adlfs", "aiobotocore", "botocore", "boto3", "azure", "aiohttp"}
WRITERS = {"pipe", "pipe_file", "put_file", "upload", "upload_file", "put_object", "call_s3"}
"""Methods of file systems that write. `put` and `delete` are also everyday words: they are looked for on `remote`."""

HOLDS_THE_STORE = ("transforms/commit.py", "transforms/probe.py", "transforms/store.py")
"""The only ones that may reach through a store to what writes."""


def modules():
    for layer in LAYERS:
        yield from sorted((CHECKOUT / layer).rglob("*.py"))


def violations(name: str, tree: ast.AST) -> list[str]:
    found = []
    stores = name.startswith(SPEAKS_TO_STORES)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            if not stores and {n.partition(".")[0] for n in names} & LIBRARIES:
                found.append(f"{name}:{node.lineno}: imports a store's library")
        if isinstance(node, ast.Attribute):
            if node.attr in WRITERS and not stores:
                found.append(f"{name}:{node.lineno}: .{node.attr} writes to a store")
            if node.attr == "remote" and name not in HOLDS_THE_STORE:
                found.append(f"{name}:{node.lineno}: reaches through a store")
        if stores and isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "open":
            words = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
            if any(set(w) & set("wax+") and set(w) <= set("wraxbt+") for w in words):
                found.append(f"{name}:{node.lineno}: opens a stream to write")
    return found


def test_only_one_module_writes_to_stores():
    found = [
        line
        for file in modules()
        for line in violations(file.relative_to(CHECKOUT).as_posix(), ast.parse(file.read_text()))
    ]
    assert found == []


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("pipelines/x.py", "import fsspec"),
        ("pipelines/x.py", "from s3fs.core import S3FileSystem"),
        ("transforms/x.py", "fs.pipe_file('a', b'')"),
        ("transforms/x.py", "store.remote.replace('a', b'')"),
        ("transforms/stores/x.py", "fs.open(path, 'wb')"),
    ],
)
def test_the_rule_sees_what_it_forbids(name, code):
    assert violations(name, ast.parse(code))
