"""Damaged SEG and RTSTRUCT files: refused with a reason, or read; nothing else, and no memory for what is not there."""

from __future__ import annotations

import random
import tracemalloc

import numpy as np
import pytest
from pydicom import uid

from mdfp import geometry
from schemas.case import ArrayHeader
from schemas.recipe import Limits
from tests.drawn_objects import Scan, outline, rtstruct, seg, written
from transforms.read import drawing
from transforms.read.array import Blob, read_array
from transforms.read.dicom import HeaderCutError
from transforms.read.header import array_header
from transforms.rejected import Rejected

pytest.importorskip("highdicom", reason="writes the objects; pip install -e '.[dev]'")

MUTATIONS = 150
LIMITS = Limits(max_bytes=1 << 26)


def header(form: str) -> ArrayHeader:
    scan = Scan()
    return array_header(
        name="drawn", format=form, shape_zyx=scan.shape_zyx, affine_ras=geometry.lps_to_ras(scan.affine_lps),
        dtype=np.dtype(np.uint8), scale=1.0, offset=0.0, file_bytes=1,
    )  # fmt: skip


def objects():
    scan = Scan()
    masks = (np.random.default_rng(1).random((*scan.shape_zyx, 2)) < 0.3).astype(np.uint8)
    rois = [("a", [outline(scan, (1, 1, 8, 7), z) for z in range(4)]), ("b", [outline(scan, (2, 2, 5, 5), 1)])]
    deflated = seg(scan, masks, ["a", "b"])
    deflated.file_meta.TransferSyntaxUID = uid.DeflatedExplicitVRLittleEndian
    return {
        "binary": seg(scan, masks, ["a", "b"]),
        "rle": seg(scan, masks[..., 0], ["a"], kind="LABELMAP", syntax=uid.RLELossless),
        "deflated": deflated,
        "implicit contours": rtstruct(scan, rois),
        "explicit contours": rtstruct(scan, rois, syntax=uid.ExplicitVRLittleEndian),
    }


def mutated(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 8))):
        at = chance.randrange(128, len(changed))
        changed[at] = chance.choice((0, 1, 0x7F, 0xFF, changed[at] ^ (1 << chance.randrange(8))))
    if chance.random() < 0.2:
        changed = changed[: chance.randrange(140, len(changed))]
    return bytes(changed)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["binary", "rle", "deflated", "implicit contours", "explicit contours"])
def test_any_damage_is_a_reject_or_harmless(name):
    data = written(objects()[name])
    form = "rtstruct" if "contours" in name else "seg"
    assert read_array(header(form), [Blob("x", data)], LIMITS).array_zyx.any()
    chance, refused = random.Random(name), 0
    tracemalloc.start()
    for _ in range(MUTATIONS):
        broken = mutated(data, chance)
        try:
            drawing.describe(broken, path="x", file_bytes=len(broken))
            volume = read_array(header(form), [Blob("x", broken)], LIMITS)
            assert volume.array_zyx.shape == Scan().shape_zyx
            assert volume.array_zyx.max() <= 1
        except HeaderCutError:
            raise
        except Rejected:
            refused += 1
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert refused > MUTATIONS // 20
    assert peak < 64 << 20
