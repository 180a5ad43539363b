"""The bytes of the format. A change here changes every corpus: raise `pixel_version` and say so in the changelog.

To renew the pinned numbers, run this file and take what it found; do it only for a change that is meant.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile

import blosc2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mdfp.codecs import VolumeCodec
from mdfp.tar import TarWriter, members
from mdfp.wds import decoder, shard_urls

TAR_SHA256 = "5b7b1ac50bed037975390b2e1819700495bf4c73107f5b0fa8f0091247aa5705"
FRAMES = {
    "int16": "f90f8f4bc2c1e0dbe3c5e9ed2ad4d0f163816fc59a8ada376b3443ea93519fff",
    "uint8": "a7646b2ec5c31e645438cc546823369fae38eedaf7e9e33ccbbd29c1940baadb",
    "float32": "158fd147279c7236c57acb90e2ec5166265ecfb1e313cc0b1f8d974f0e6a0202",
}


def tiny(dtype):
    z, y, x = np.ogrid[0:35, 0:41, 0:100]
    return ((z * 3 + y * 5 + x // 7) % 50).astype(dtype)


def test_a_tar_has_pinned_bytes():
    buffer = io.BytesIO()
    tar = TarWriter(buffer)
    tar.add("a.image.ct.b2nd", b"0123456789")
    tar.add("a.json", b"{}")
    assert tar.finish() == (hashlib.sha256(buffer.getvalue()).hexdigest(), len(buffer.getvalue()))
    assert hashlib.sha256(buffer.getvalue()).hexdigest() == TAR_SHA256


@pytest.mark.parametrize("dtype", list(FRAMES))
def test_a_frame_has_pinned_bytes(dtype):
    assert hashlib.sha256(VolumeCodec().encode(tiny(dtype))).hexdigest() == FRAMES[dtype]


@pytest.mark.parametrize(
    "variable",
    ["BLOSC_NTHREADS=3", "BLOSC_CLEVEL=9", "BLOSC_COMPRESSOR=lz4", "BLOSC_SHUFFLE=BITSHUFFLE", "BLOSC_DELTA=1"],
)
def test_the_environment_does_not_reach_the_bytes(variable, monkeypatch):
    name, value = variable.split("=")
    monkeypatch.setenv(name, value)
    assert hashlib.sha256(VolumeCodec().encode(tiny("int16"))).hexdigest() == FRAMES["int16"]
    assert os.environ[name] == value


def test_the_number_of_cores_does_not_reach_the_bytes(monkeypatch):
    monkeypatch.setattr(blosc2, "nthreads", 13)
    assert hashlib.sha256(VolumeCodec().encode(tiny("int16"))).hexdigest() == FRAMES["int16"]


@settings(max_examples=50, deadline=None)
@given(
    hnp.arrays(
        st.sampled_from([np.int16, np.uint8, np.uint16, np.float32, np.int32, np.float64]),
        hnp.array_shapes(min_dims=1, max_dims=4, max_side=40),
    )
)
def test_what_is_encoded_is_decoded(array):
    data = VolumeCodec().encode(array)
    assert VolumeCodec().encode(array) == data
    back = VolumeCodec().decode(data)
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


def test_byte_order_and_strides_do_not_reach_the_bytes():
    array = tiny(np.int16)
    codec = VolumeCodec()
    assert codec.encode(array.astype(">i2")) == codec.encode(array)
    assert codec.encode(np.asfortranarray(array)) == codec.encode(array)
    assert codec.encode(array[::-1].copy()[::-1]) == codec.encode(array)
    with pytest.raises(ValueError, match="at least one element"):
        codec.encode(np.zeros((0, 3)))


def test_members_lie_where_the_writer_says():
    buffer = io.BytesIO()
    tar = TarWriter(buffer)
    told = [tar.add(f"m{i}", bytes(i * 300)) for i in range(4)]
    tar.finish()
    buffer.seek(0)
    assert list(members(buffer)) == told
    with pytest.raises(ValueError, match="at most 100 ASCII"):
        tar.add("x" * 101, b"")


def test_a_tar_without_its_end_reads_as_cut_short():
    buffer = io.BytesIO()
    TarWriter(buffer).add("m", bytes(10_000))
    buffer.seek(0)
    data = io.BytesIO(buffer.getvalue()[:5000])
    with pytest.raises(tarfile.ReadError):
        list(members(data))


def test_tarfile_and_blosc2_alone_read_a_shard(corpus, written):
    shard = written.root / corpus.splits["train"].urls[0]
    with tarfile.open(shard) as tar:
        names = tar.getnames()
        key = names[0].split(".")[0]
        image = blosc2.ndarray_from_cframe(tar.extractfile(f"{key}.image.ct.b2nd").read())[...]
        facts = json.load(tar.extractfile(f"{key}.json"))
    np.testing.assert_array_equal(image, written.samples[key].image)
    assert facts["images"][0]["stored"]["affine_ras"] == list(written.samples[key].record.images[0].stored.affine_ras)


def test_plain_webdataset_reads_a_split_with_the_decoder(corpus, written):
    wds = pytest.importorskip("webdataset", reason="webdataset is not installed: pip install 'mdfp[webdataset]'")
    seen = {}
    for sample in wds.WebDataset(shard_urls(corpus, "train"), shardshuffle=False).decode(decoder):
        key = sample["__key__"]
        name = sample["json"]["images"][0]["name"]
        seen[key] = sample[f"image.{name}.b2nd"]
    assert set(seen) == set(corpus.samples.where(split="train").keys)
    for key, image in seen.items():
        np.testing.assert_array_equal(image, written.samples[key].image)
