"""The same bits on every CPU: what a worker's vector instructions could change is switched off, one kind at a time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

NORMALISE = """
import hashlib
import numpy as np
from mdfp import canonical
from mdfp.sample import Acquisition
from schemas.case import ArrayHeader, CaseImage
from schemas.recipe import Recipe
from transforms.normalise.image import normalise_image
from transforms.volume import Volume

n = np.arange(24 * 37 * 41, dtype=np.int64)
array = ((n * n * 7919 + n * 104729 + 31) % 4099 - 1100).astype(np.int16).reshape(24, 37, 41)
affine = np.array([[-0.69, 0.06, 0.3, 31.7], [-0.07, -0.81, 0.4, -17.2], [0.03, 0.1, 2.4, 102.1], [0, 0, 0, 1.0]])
header = ArrayHeader("ct", "nifti", "zyx", (), None, None, None, None, "int16", 1.0, 0.0, None, "regular", 0)
recipe = Recipe(corpus="c", out="o", sources=({"id": "s"},), terms={"accept": ("own-data",)},
                geometry={"spacing_mm": (1.3, 1.3, 1.7)})
result = normalise_image(Volume(array[:, ::-1], affine), CaseImage(header, "CT", Acquisition()), recipe)
print(hashlib.sha256(result.array_zyx.tobytes() + canonical.dumps(result.record)).hexdigest())
"""

AVX512 = "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR"


def normalised_sha256(cache: Path, **environment: str) -> str:
    finished = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", NORMALISE],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "NUMBA_CACHE_DIR": str(cache), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.strip()


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Hash on this machine as it is."""
    return normalised_sha256(tmp_path_factory.mktemp("usual"))


@pytest.mark.parametrize(
    "environment",
    [
        {"NUMBA_CPU_NAME": "x86-64-v2", "NUMBA_CPU_FEATURES": ""},
        {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": ""},
        {"OPENBLAS_CORETYPE": "Haswell", "NPY_DISABLE_CPU_FEATURES": AVX512},
    ],
    ids=lambda e: " ".join(e),
)
def test_other_cpu_features_give_the_same_bits(tmp_path: Path, usual: str, environment: dict[str, str]) -> None:
    assert normalised_sha256(tmp_path, **environment) == usual
