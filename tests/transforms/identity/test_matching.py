from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import pytest

from examples.phantom.variations import VARIATIONS
from mdfp.errors import UsageError
from schemas.identity import FingerprintRow
from transforms.identity.align import likeness, prepare
from transforms.identity.fingerprint import fingerprint
from transforms.identity.matching import RADIUS, match, thumbnails
from transforms.identity.table import FingerprintFile, Fingerprints, key_of, parquet, table_of


@pytest.fixture(scope="module")
def rows(scan):
    """Five people, three of them written in other ways too, one of them twice in equal voxels."""
    volumes = {f"a-{n}": scan(f"person {n}") for n in range(5)}
    for n, name in enumerate(["all of it", "clamped to [-160, 240]", "10 % of slices at one end"]):
        volumes[f"b-{n}"] = VARIATIONS[name](volumes[f"a-{n}"])
    volumes["c-0"] = VARIATIONS["turned to PIR"](volumes["a-0"])
    made = []
    for case, volume in volumes.items():
        f = fingerprint(volume)
        made.append(
            FingerprintRow(
                case[0], case, "ct", "CT", f"key of {case}", f.content_hash, f.code, f.thumbnail.cells_zyx.tobytes(),
                f.thumbnail.box_mm, f.thumbnail.voxels_xyz, None, "",
            )
        )  # fmt: skip
    made.append(FingerprintRow("d", "d-0", "", "", "k", None, None, None, (), (), None, "unreadable"))
    return made


def matched(table):
    cubes = table.select(["cells", "box_mm", "voxels_xyz"])
    return match(table["content_hash"].to_pylist(), table["code"].to_pylist(), lambda r: cubes.take(pa.array(r)))


def test_copies_are_found_and_nothing_else(rows):
    found = matched(table_of(rows))
    content = {r.case_id: r.content_hash for r in rows}
    assert content["c-0"] == content["a-0"]
    want = {tuple(sorted((content[f"a-{n}"], content[f"b-{n}"]))) for n in range(3)}
    assert {(m.hash_a, m.hash_b) for m in found.matches} == want


def test_the_matches_are_those_of_comparing_each_with_each(rows):
    known = [r for r in rows if r.code is not None]
    cubes = [prepare(t) for t in thumbnails(table_of(known).select(["cells", "box_mm", "voxels_xyz"]))]
    want = set()
    for a, b in itertools.combinations(range(len(known)), 2):
        bits = np.bitwise_count(np.frombuffer(known[a].code, "u1") ^ np.frombuffer(known[b].code, "u1")).sum()
        if (
            bits <= RADIUS
            and known[a].content_hash != known[b].content_hash
            and likeness(cubes[a], cubes[b]).same_image
        ):
            want.add(tuple(sorted((known[a].content_hash, known[b].content_hash))))
    assert {(m.hash_a, m.hash_b) for m in matched(table_of(rows)).matches} == want


def test_matches_do_not_depend_on_the_order_of_rows(rows):
    assert matched(table_of(rows)).matches == matched(table_of(rows[::-1])).matches


def test_nothing_has_no_matches():
    assert matched(table_of([])).matches == ()


def test_several_files_are_one_table_of_the_rows_that_count(rows, tmp_path):
    (tmp_path / "one.parquet").write_bytes(parquet(table_of(rows[:4])))
    one = FingerprintFile(str(tmp_path / "one.parquet"), "one")
    other = FingerprintFile(parquet(table_of(rows[4:])), "other")
    keep = np.array([r.case_id != "a-1" for r in rows])
    both = Fingerprints([other, one], [keep[4:], keep[:4]])
    whole = table_of(sorted((r for r, k in zip(rows, keep, strict=True) if k), key=lambda r: r.case_id))
    assert both.light["case_id"].to_pylist() == whole["case_id"].to_pylist()
    wanted = np.array([5, 0, 3])
    assert both.cubes(wanted).to_pylist() == whole.select(["cells", "box_mm", "voxels_xyz"]).take(wanted).to_pylist()
    assert both.digest() == Fingerprints([one, other], [keep[:4], keep[4:]]).digest()


def test_a_file_of_something_else_is_refused(tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"no table")
    with pytest.raises(UsageError, match="no Parquet file"):
        FingerprintFile(str(tmp_path / "x.parquet"), "x")
    with pytest.raises(UsageError, match="has the columns"):
        FingerprintFile(parquet(pa.table({"case_id": ["a"]})), "x")


def test_a_key_follows_the_case_and_its_objects():
    assert len({key_of("a", "b"), key_of("b", "a"), key_of("a", "c"), key_of("c", "b")}) == 4
