"""Films: every frame, as FFmpeg's own conversion shows it, and what is cut or strange refused."""

from __future__ import annotations

import io

import numpy as np
import pytest

from schemas.reasons import Reason
from schemas.recipe import Limits
from transforms.read import video
from transforms.rejected import Rejected

av = pytest.importorskip("av", reason="av is not installed: pip install 'mdfp[build]'")

LIMITS = Limits()


def frames(count=7, rows=48, columns=64):
    y, x = np.mgrid[0:rows, 0:columns]
    film = np.stack([np.stack([y * 4, x * 3 + 5 * t, (x + y) * 2 + t], axis=-1) for t in range(count)])
    return np.clip(film, 0, 255).astype(np.uint8)


def encoded(film, form, codec, pixel_format, rate=25):
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=form) as out:
        stream = out.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = film.shape[2], film.shape[1], pixel_format
        out.metadata["title"] = "PLANTED NAME"
        for frame in film:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24" if frame.ndim == 3 else "gray")))
        out.mux(stream.encode())
    return buffer.getvalue()


def read(data, limits=LIMITS):
    asked = []

    def part(start, stop):
        asked.append((start, stop))
        return data[start:stop]

    found = video.header(part, name="film", file_bytes=len(data), limits=limits)
    assert all(0 <= a < b <= len(data) for a, b in asked)
    return video.read(data, found.header, limits), found.header


@pytest.mark.parametrize(
    ("form", "codec", "pixel_format"),
    [("matroska", "ffv1", "bgr0"), ("mov", "png", "rgb24"), ("avi", "ffv1", "bgr0")],
)
def test_lossless_films_come_back_exactly(form, codec, pixel_format):
    film = frames()
    found, header = read(encoded(film, form, codec, pixel_format))
    np.testing.assert_array_equal(found.array, film)
    assert (header.axes, header.shape, header.format) == ("tyxc", film.shape, "video")
    assert (found.frame_time_ms, header.spacing_xyz_mm, header.affine_ras) == (40, None, None)


def test_grey_films_have_no_channels():
    film = frames()[..., 1]
    found, header = read(encoded(film, "avi", "ffv1", "gray"))
    assert header.axes == "tyx"
    np.testing.assert_array_equal(found.array, film)


@pytest.mark.parametrize(
    ("form", "codec", "pixel_format"),
    [
        ("mp4", "libx264", "yuv420p"),
        ("mp4", "mpeg4", "yuv420p"),
        ("avi", "mjpeg", "yuvj420p"),
        ("avi", "mjpeg", "yuvj444p"),
    ],
)
def test_colours_are_those_of_ffmpegs_own_conversion(form, codec, pixel_format):
    data = encoded(frames(), form, codec, pixel_format)
    found, _ = read(data)
    with av.open(io.BytesIO(data)) as file:
        shown = [f.to_ndarray(format="rgb24", interpolation="POINT") for f in file.decode(video=0)]
    assert found.array.shape == np.stack(shown).shape
    difference = np.abs(found.array.astype(int) - np.stack(shown))
    # Chroma is repeated here and interpolated there; smooth pictures differ by little.
    assert difference.mean() < 2
    np.testing.assert_array_equal(found.array, read(data)[0].array)


def test_fixed_point_is_the_standards_formula():
    """BT.601 and BT.709 in floating point, over all corners and some of the middle."""
    values = np.array([0, 1, 16, 77, 128, 200, 235, 240, 255], np.uint8)
    y, u, v = (a.ravel() for a in np.meshgrid(values, values, values))
    for red, blue, bt709 in ((0.299, 0.114, False), (0.2126, 0.0722, True)):
        for full in (False, True):
            luma = y.astype(float) / 255 if full else (y.astype(float) - 16) / 219
            cb, cr = ((c.astype(float) - 128) / (255 if full else 224) for c in (u, v))
            r, b = luma + 2 * (1 - red) * cr, luma + 2 * (1 - blue) * cb
            g = (luma - red * r - blue * b) / (1 - red - blue)
            expected = np.clip(np.stack([r, g, b], axis=-1) * 255, 0, 255)
            found = video.yuv_to_rgb(y, u, v, full_range=full, bt709=bt709)
            assert np.abs(found - expected).max() <= 0.51


FILM = encoded(frames(), "mp4", "mpeg4", "yuv420p")
AVI = encoded(frames(), "avi", "mjpeg", "yuvj420p")


@pytest.mark.parametrize(
    ("data", "reasons"),
    [
        (b"", {Reason.UNREADABLE}),
        (b"#EXTM3U\nfile:///etc/passwd\n", {Reason.UNREADABLE}),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", {Reason.UNREADABLE}),
        (FILM[:60], {Reason.UNREADABLE}),
        (FILM[: len(FILM) // 2], {Reason.UNREADABLE, Reason.TRUNCATED, Reason.NO_PIXELS}),
        (FILM[:-400], {Reason.UNREADABLE, Reason.TRUNCATED, Reason.NO_PIXELS}),
        (AVI[: len(AVI) // 2], {Reason.UNREADABLE, Reason.TRUNCATED}),
        (encoded(frames(), "matroska", "ffv1", "yuv420p10le"), {Reason.UNSUPPORTED}),
    ],
)
def test_what_cannot_be_read_has_its_reason(data, reasons):
    with pytest.raises(Rejected) as refused:
        read(data)
    assert refused.value.reason in reasons


def test_limits_hold_before_frames_are_decoded():
    with pytest.raises(Rejected, match=r"7×48×64×3 .*64512 values; the recipe's limits allow 1000"):
        read(FILM, Limits(max_voxels=1000))
