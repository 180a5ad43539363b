"""Imports go one way, the reader stays light, and no module of ours hides one of the standard library."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

LAYERS = ("mdfp", "schemas", "catalog", "transforms", "expectations", "pipelines", "portal")
"""From the lowest to the highest; a folder may import itself and those before it."""

HEAVY = {"apache_beam", "torch", "pandas", "numba", "SimpleITK", "great_expectations", "pydantic", "webdataset"}
"""What a training job must not pay for by `import mdfp`."""

IMPORT_SECONDS = 0.5

FOLDERS = [f for f in LAYERS if (ROOT / f).is_dir()]


def modules(folder):
    return sorted(p for p in (ROOT / folder).rglob("*.py") if "__pycache__" not in p.parts)


def imported(path):
    """(line, dotted name) of every import of a file, those inside functions too."""
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            yield node.lineno, node.module or ""


@pytest.mark.parametrize("folder", FOLDERS)
def test_imports_go_one_way(folder):
    above = set(LAYERS[LAYERS.index(folder) + 1 :]) | {"examples", "benchmarks", "tests", "infra"}
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: imports {name}"
        for path in modules(folder)
        for line, name in imported(path)
        if name.partition(".")[0] in above and not _demo(path, name)
    ]
    assert not wrong, f"{folder} may import {', '.join(LAYERS[: LAYERS.index(folder) + 1])} only:\n" + "\n".join(wrong)


def _demo(path, name):
    # The one way up: the demo command makes its own raw data with the phantom generator.
    return path == ROOT / "pipelines" / "demo.py" and name.partition(".")[0] == "examples"


@pytest.mark.parametrize("folder", [f for f in FOLDERS if f not in ("transforms", "pipelines")])
def test_only_pipelines_and_the_ptransforms_know_beam(folder):
    beam = [
        f"{p.relative_to(ROOT)}:{line}"
        for p in modules(folder)
        for line, n in imported(p)
        if n.startswith("apache_beam")
    ]
    assert not beam


@pytest.mark.parametrize("folder", [*FOLDERS, "examples", "benchmarks"])
def test_no_folder_hides_a_module_of_the_standard_library(folder):
    assert folder not in sys.stdlib_module_names


def test_no_top_level_module_hides_one_of_the_standard_library():
    top = {p.stem for p in ROOT.glob("*.py")} | {p.name for p in ROOT.iterdir() if (p / "__init__.py").exists()}
    assert not top & sys.stdlib_module_names


def _in_a_fresh_process(code):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1"}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    return run.stdout.strip()


def test_importing_mdfp_brings_nothing_heavy():
    out = _in_a_fresh_process("import sys, mdfp; print(*sorted({m.partition('.')[0] for m in sys.modules}))")
    assert not HEAVY & set(out.split())
    assert not set(LAYERS[1:]) & set(out.split())


def test_importing_mdfp_takes_less_than_half_a_second():
    code = "import time; start = time.perf_counter(); import mdfp; print(time.perf_counter() - start)"
    fastest = min(float(_in_a_fresh_process(code)) for _ in range(3))  # the machine may be busy once
    assert fastest < IMPORT_SECONDS


def test_opening_a_corpus_needs_none_of_the_folders_either():
    out = _in_a_fresh_process("import sys, mdfp; mdfp.open; print(*sorted({m.partition('.')[0] for m in sys.modules}))")
    assert not {"apache_beam", "torch", "pandas", "numba", "SimpleITK", "great_expectations", "pydantic"} & set(
        out.split()
    )
    assert not set(LAYERS[1:]) & set(out.split())
