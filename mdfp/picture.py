"""Pictures of a volume and its labels, the way radiologists look at them.

Radiological convention: one looks at the patient from the feet and from the front, so the patient's right is on the
left of axial and coronal pictures, and marked R; sagittal pictures have the front on the left. Volumes are canonical
(index axes x, y, z run to Right, Anterior, Superior), which is how a corpus stores them.

Needs the `cli` extra (pillow). The font is the one that pillow carries.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mdfp.errors import require
from mdfp.sample import SampleImage

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont
    from PIL.ImageFont import ImageFont as BitmapFont

Colour = tuple[int, int, int]

PANEL_PX = 256
"""Edge of one panel."""
FILL = 0.28
"""How much of a label's colour covers its inside; its contour is opaque."""
LEGEND_ROWS = 2
"""Rows of structure names under a picture; what does not fit is counted."""

_GAP = 4
_BACKGROUND: Colour = (0, 0, 0)
_SHEET: Colour = (18, 18, 20)
_TEXT: Colour = (235, 235, 235)
_MARK: Colour = (255, 214, 102)


@dataclass(frozen=True)
class View:
    """One of the three directions to look in.

    Attributes:
        name: axial, coronal or sagittal.
        axis: array axis (0 z, 1 y, 2 x) that the slices are stacked along.
        flips: whether rows, columns of the slice run backwards in the picture.
        marks: letters at the left, right, top and bottom of the picture.
    """

    name: str
    axis: int
    flips: tuple[bool, bool]
    marks: tuple[str, str, str, str]


VIEWS = (
    View("axial", 0, (True, True), ("R", "L", "A", "P")),
    View("coronal", 1, (True, True), ("R", "L", "S", "I")),
    View("sagittal", 2, (True, True), ("A", "P", "S", "I")),
)
"""Rows and columns always run against the index: the index grows to R, A and S, pictures show R and A left, S and A up."""


@dataclass(frozen=True)
class Tile:
    """One picture of a contact sheet, with the words above it."""

    title: str
    image: Image


def colour(value: int) -> Colour:
    """The colour of a label value: always the same, and far from its neighbours'.

    Hues step by the golden angle, lightness cycles over five levels; all are readable on black and on grey.
    """
    if value <= 0:
        return _BACKGROUND
    hue = math.radians(value * 137.50776405 + 20.0)
    return _oklch(lightness=(0.72, 0.84, 0.66, 0.80, 0.76)[value % 5], chroma=0.15, hue=hue)


def _oklch(lightness: float, chroma: float, hue: float) -> Colour:
    """OKLCH to 8-bit sRGB (Björn Ottosson, "A perceptual color space for image processing", 2020)."""
    a, b = chroma * math.cos(hue), chroma * math.sin(hue)
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )
    clipped = [min(1.0, max(0.0, c)) for c in linear]
    red, green, blue = (round(255 * (12.92 * c if c <= 0.0031308 else 1.055 * c ** (1 / 2.4) - 0.055)) for c in clipped)
    return red, green, blue


def flatten(layers_zyx: Iterable[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Several masks of one grid as one; later layers cover earlier ones where they hold something.

    Raises:
        ValueError: no layer, or layers of different shapes.
    """
    layers = list(layers_zyx)
    if not layers or len({x.shape for x in layers}) != 1:
        raise ValueError(f"expected layers of one shape, found {[x.shape for x in layers]}")
    result = layers[0]
    for layer in layers[1:]:
        result = np.where(layer > 0, layer, result)
    return result


def default_window(image: SampleImage) -> tuple[float, float]:
    """Physical values shown as black and white: the image's default normalisation, else its 1st and 99th percentile."""
    normalisation, percentiles = image.normalisation, image.stored_intensity.percentiles
    if normalisation.lower < normalisation.upper:
        return normalisation.lower, normalisation.upper
    return (
        (percentiles[1], percentiles[-2])
        if percentiles
        else (image.stored_intensity.minimum, image.stored_intensity.maximum)
    )


def sample_view(
    image: SampleImage,
    stored_zyx: npt.NDArray[Any],
    label_zyx: npt.NDArray[Any] | None = None,
    *,
    names: Mapping[int, str] | None = None,
    focus: Sequence[int] = (),
    caption: str = "",
    panel_px: int = PANEL_PX,
) -> Image:
    """`orthoview` of a sample's image as its member holds it; window and spacing come from the record.

    Args:
        image: the record of the image.
        stored_zyx: shape (z, y, x), stored numbers; of an image over time (t, z, y, x), or of its `shown_frame` alone. Which
            it is stands in the caption.
        label_zyx: see `orthoview`.
        names: see `orthoview`.
        focus: see `orthoview`.
        caption: see `orthoview`.
        panel_px: see `orthoview`.

    Raises:
        ValueError: not a volume with a spacing.
    """
    spacing = image.stored.spacing_xyz_mm
    if image.axes not in ("zyx", "tzyx") or spacing is None:
        raise ValueError(f"a picture of three planes needs a volume (axes zyx) with a spacing, found axes {image.axes}")
    if image.axes == "tzyx":
        stored_zyx = stored_zyx[shown_frame(image)] if stored_zyx.ndim == 4 else stored_zyx
        caption = f"{caption}   {frame_caption(image)}" if caption else frame_caption(image)
    lower, upper = ((v - image.offset) / image.scale for v in default_window(image))
    return orthoview(
        stored_zyx,
        spacing,
        window=(lower, upper),
        label_zyx=label_zyx,
        names=names,
        focus=focus,
        caption=caption,
        panel_px=panel_px,
    )


def shown_frame(image: SampleImage) -> int:
    """The time point of an image over time that is shown: the middle one."""
    return image.stored.shape[0] // 2


def frame_caption(image: SampleImage) -> str:
    """Which time point is shown, for a caption; counted from 1."""
    return f"time point {shown_frame(image) + 1} of {image.stored.shape[0]}"


def orthoview(
    volume_zyx: npt.NDArray[Any],
    spacing_xyz_mm: Sequence[float],
    *,
    window: tuple[float, float],
    label_zyx: npt.NDArray[Any] | None = None,
    names: Mapping[int, str] | None = None,
    focus: Sequence[int] = (),
    caption: str = "",
    panel_px: int = PANEL_PX,
) -> Image:
    """Axial, coronal and sagittal slice side by side, in true proportions, with the labels drawn over them.

    Args:
        volume_zyx: shape (z, y, x), canonical: x grows to the patient's Right, y to Anterior, z to Superior.
        spacing_xyz_mm: mm between voxel centres along x, y, z.
        window: values of the volume shown as black and white.
        label_zyx: integers of the same shape, 0 for nothing. The slices go through the labels where they are largest;
            without labels, through the middle.
        names: label value -> name, for a legend of what is seen.
        focus: label values to go through, where there are any of them; default: all.
        caption: a line under the picture.
        panel_px: edge of a panel.

    Returns:
        An RGB picture, `3 * panel_px` and two gaps wide.

    Raises:
        ValueError: not three axes, or a label of another shape.
        MissingExtraError: pillow is not installed.
    """
    require("PIL", "cli")
    from PIL import Image, ImageDraw

    if volume_zyx.ndim != 3 or len(spacing_xyz_mm) != 3:
        raise ValueError(
            f"expected a volume of three axes with three spacings, found {volume_zyx.shape}, {spacing_xyz_mm}"
        )
    if label_zyx is not None and label_zyx.shape != volume_zyx.shape:
        raise ValueError(f"the label's shape {label_zyx.shape} is not the volume's {volume_zyx.shape}")
    centre_zyx = _slices(volume_zyx.shape, label_zyx, focus)
    panels, seen = [], set()
    for view in VIEWS:
        plane = _plane(volume_zyx, view, centre_zyx)
        marked = None if label_zyx is None else _plane(label_zyx, view, centre_zyx)
        seen |= set() if marked is None else set(np.unique(marked).tolist()) - {0}
        panels.append(_panel(plane, marked, _plane_spacing(spacing_xyz_mm, view), window, view, panel_px))
    width = 3 * panel_px + 2 * _GAP
    below = footer(width, caption, [(v, names[v]) for v in sorted(seen) if v in names] if names else [])
    result = Image.new("RGB", (width, panel_px + (below.height if below else 0)), _BACKGROUND)
    for n, panel in enumerate(panels):
        result.paste(panel, (n * (panel_px + _GAP), 0))
    lines = ImageDraw.Draw(result)
    for n in (1, 2):
        x = n * (panel_px + _GAP) - _GAP // 2
        lines.line([(x, 0), (x, panel_px)], fill=(50, 50, 54))
    if below:
        result.paste(below, (0, panel_px))
    return result


def contact_sheet(tiles: Sequence[Tile], *, columns: int | None = None, heading: str = "") -> Image:
    """Many pictures on one, each under its title.

    Args:
        tiles: the pictures; they may differ in size.
        columns: pictures beside each other; default: one up to four pictures, else two.
        heading: a line at the top.

    Raises:
        ValueError: no tiles.
        MissingExtraError: pillow is not installed.
    """
    require("PIL", "cli")
    from PIL import Image, ImageDraw

    if not tiles:
        raise ValueError("a contact sheet needs at least one picture")
    columns = columns or (1 if len(tiles) <= 4 else 2)
    columns = min(columns, len(tiles))
    margin, title_px = 14, 26
    cell = max(t.image.width for t in tiles)
    rows = [tiles[i : i + columns] for i in range(0, len(tiles), columns)]
    heights = [max(t.image.height for t in row) + title_px for row in rows]
    top = 40 if heading else 0
    width = columns * cell + (columns + 1) * margin
    sheet = Image.new("RGB", (width, top + sum(heights) + (len(rows) + 1) * margin), _SHEET)
    draw = ImageDraw.Draw(sheet)
    if heading:
        draw.text((margin, margin), _fitting(heading, _font(20), width - 2 * margin), fill=_TEXT, font=_font(20))
    y = top + margin
    for row, height in zip(rows, heights, strict=True):
        for column, tile in enumerate(row):
            x = margin + column * (cell + margin)
            draw.text((x, y + 2), _fitting(tile.title, _font(15), cell), fill=_TEXT, font=_font(15))
            sheet.paste(tile.image, (x, y + title_px))
        y += height + margin
    return sheet


def png(image: Image, *, colours: int | None = None) -> bytes:
    """PNG file of a picture.

    Args:
        image: the picture.
        colours: at most this many colours (2 to 256), a third of the bytes; default: all.
    """
    buffer = io.BytesIO()
    (image.quantize(colours) if colours else image).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _slices(shape_zyx: tuple[int, ...], label_zyx: npt.NDArray[Any] | None, focus: Sequence[int]) -> tuple[int, ...]:
    """Index z, y, x of the slices to show."""
    shown = None
    if label_zyx is not None:
        shown = np.isin(label_zyx, list(focus)) if focus else label_zyx > 0
        if focus and not shown.any():
            shown = label_zyx > 0
    if shown is None or not shown.any():
        return tuple(n // 2 for n in shape_zyx)
    result = []
    for axis in range(3):
        area = np.count_nonzero(shown, axis=tuple(a for a in range(3) if a != axis))
        largest = np.flatnonzero(area == area.max())
        result.append(int(largest[len(largest) // 2]))
    return tuple(result)


def _plane(array_zyx: npt.NDArray[Any], view: View, centre_zyx: tuple[int, ...]) -> npt.NDArray[Any]:
    """The slice as it stands in the picture: rows from the top, columns from the left."""
    plane = np.take(array_zyx, centre_zyx[view.axis], axis=view.axis)
    rows, columns = (slice(None, None, -1) if flip else slice(None) for flip in view.flips)
    return plane[rows, columns]


def _plane_spacing(spacing_xyz_mm: Sequence[float], view: View) -> tuple[float, float]:
    """Mm from row to row and from column to column."""
    row, column = (float(spacing_xyz_mm[2 - a]) for a in range(3) if a != view.axis)
    return row, column


def _panel(
    plane: npt.NDArray[Any],
    label: npt.NDArray[Any] | None,
    spacing_mm: tuple[float, float],
    window: tuple[float, float],
    view: View,
    edge_px: int,
) -> Image:
    from PIL import Image, ImageDraw

    size_mm = (plane.shape[0] * spacing_mm[0], plane.shape[1] * spacing_mm[1])
    px_per_mm = edge_px / max(size_mm)
    height, width = (max(1, round(mm * px_per_mm)) for mm in size_mm)
    grey = Image.fromarray(_windowed(plane, window)).resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.repeat(np.asarray(grey)[:, :, None], 3, axis=2)
    if label is not None:
        pixels = overlaid(pixels, nearest(label, height, width))
    panel = Image.new("RGB", (edge_px, edge_px), _BACKGROUND)
    panel.paste(Image.fromarray(pixels), ((edge_px - width) // 2, (edge_px - height) // 2))
    draw = ImageDraw.Draw(panel)
    _draw_marks(draw, view, edge_px)
    _draw_scale(draw, px_per_mm, edge_px)
    return panel


def _windowed(plane: npt.NDArray[Any], window: tuple[float, float]) -> npt.NDArray[np.uint8]:
    lower, upper = window
    span = upper - lower if upper > lower else 1.0
    grey = (plane.astype(np.float64) - lower) / span * 255.0
    return np.clip(np.nan_to_num(grey, nan=0.0), 0.0, 255.0).round().astype(np.uint8)


def nearest(plane: npt.NDArray[Any], height: int, width: int) -> npt.NDArray[Any]:
    """A mask (y, x) with another number of rows and columns."""
    rows = ((np.arange(height) + 0.5) * plane.shape[0] / height).astype(np.intp)
    columns = ((np.arange(width) + 0.5) * plane.shape[1] / width).astype(np.intp)
    return plane[rows[:, None], columns[None, :]]


def overlaid(pixels: npt.NDArray[np.uint8], label: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Labels over grey: a thin opaque contour, and a veil inside that lets the image through."""
    contour = np.zeros(label.shape, dtype=bool)
    vertical, horizontal = label[1:] != label[:-1], label[:, 1:] != label[:, :-1]
    contour[1:] |= vertical
    contour[:-1] |= vertical
    contour[:, 1:] |= horizontal
    contour[:, :-1] |= horizontal
    result = pixels.astype(np.float64)
    for value in np.unique(label).tolist():
        if value == 0:
            continue
        inside = label == value
        tint = np.array(colour(int(value)), dtype=np.float64)
        result[inside] = (1 - FILL) * result[inside] + FILL * tint
        result[inside & contour] = tint
    return result.round().astype(np.uint8)


def _draw_marks(draw: ImageDraw, view: View, edge_px: int) -> None:
    font = _font(max(11, edge_px // 16))
    middle, inset = edge_px // 2, 4
    places = (
        (inset, middle, "lm"),
        (edge_px - inset, middle, "rm"),
        (middle, inset, "mt"),
        (middle, edge_px - inset, "mb"),
    )
    for mark, (x, y, anchor) in zip(view.marks, places, strict=True):
        draw.text((x, y), mark, fill=_MARK, font=font, anchor=anchor, stroke_width=2, stroke_fill=(0, 0, 0))


def _draw_scale(draw: ImageDraw, px_per_mm: float, edge_px: int) -> None:
    """A bar of a round length, at most a quarter of the panel."""
    lengths = [m * 10**e for e in range(-2, 4) for m in (1, 2, 5)]
    fitting = [mm for mm in lengths if mm * px_per_mm <= edge_px / 4]
    if not fitting:
        return
    length, y = round(fitting[-1] * px_per_mm), edge_px - 6
    draw.line([(6, y), (6 + length, y)], fill=(0, 0, 0), width=4)
    draw.line([(6, y), (6 + length, y)], fill=_TEXT, width=2)
    draw.text(
        (6, y - 4),
        f"{fitting[-1]:g} mm",
        fill=_TEXT,
        font=_font(10),
        anchor="ls",
        stroke_width=1,
        stroke_fill=(0, 0, 0),
    )


def footer(width: int, caption: str, legend: Sequence[tuple[int, str]]) -> Image | None:
    """Legend and caption under the panels."""
    from PIL import Image, ImageDraw

    font, line = _font(13), 20
    rows, left_out = _legend_rows(legend, font, width)
    if not rows and not caption:
        return None
    result = Image.new("RGB", (width, (len(rows) + bool(caption)) * line + 6), _BACKGROUND)
    draw = ImageDraw.Draw(result)
    y = 4
    for n, row in enumerate(rows):
        for x, value, name in row:
            draw.rectangle([x, y + 3, x + 10, y + 13], fill=colour(value))
            draw.text((x + 15, y), name, fill=_TEXT, font=font)
        if left_out and n == len(rows) - 1:
            x, _, name = row[-1]
            draw.text((x + 15 + _length(name, font) + 14, y), f"+ {left_out} more", fill=(170, 170, 170), font=font)
        y += line
    if caption:
        draw.text((4, y), _fitting(caption, font, width - 8), fill=(190, 190, 190), font=font)
    return result


def _legend_rows(
    legend: Sequence[tuple[int, str]], font: FreeTypeFont | BitmapFont, width: int
) -> tuple[list[list[tuple[int, int, str]]], int]:
    """Rows of (x, value, name) that fit, and how many entries do not."""
    rows: list[list[tuple[int, int, str]]] = []
    more = 80  # room for "+ 12 more" in the last row
    for n, (value, name) in enumerate(legend):
        needed = 15 + _length(name, font) + 14
        x = 4 + sum(15 + _length(shown, font) + 14 for _, _, shown in rows[-1]) if rows else 4
        if not rows or x + needed > width - (more if len(rows) == LEGEND_ROWS else 0):
            if len(rows) == LEGEND_ROWS:
                return rows, len(legend) - n
            rows.append([])
            x = 4
        rows[-1].append((x, value, name))
    return rows, 0


def _font(size_px: int) -> FreeTypeFont | BitmapFont:
    from PIL import ImageFont

    return ImageFont.load_default(size_px)


def _length(text: str, font: FreeTypeFont | BitmapFont) -> int:
    return math.ceil(font.getlength(text))


def _fitting(text: str, font: FreeTypeFont | BitmapFont, width: int) -> str:
    """`text`, cut with three dots where it is too long."""
    if _length(text, font) <= width:
        return text
    while text and _length(text + "...", font) > width:
        text = text[:-1]
    return text.rstrip() + "..."
