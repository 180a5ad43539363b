"""Pictures of pictures: a 2-D image or a frame of a film, with its mask, boxes and points drawn over it.

Needs the `cli` extra (pillow).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mdfp.errors import require
from mdfp.picture import _BACKGROUND, _fitting, _font, colour, default_window, footer, nearest, overlaid
from mdfp.sample import SampleAnnotation, SampleImage

if TYPE_CHECKING:
    from PIL.Image import Image

EDGE_PX = 512
"""Longest side of the drawn picture, before its caption."""
_LINE_PX = 20


def flat_view(
    image: SampleImage,
    stored: npt.NDArray[Any],
    annotations: Sequence[SampleAnnotation] = (),
    *,
    label_yx: npt.NDArray[Any] | None = None,
    names: Mapping[int, str] | None = None,
    caption: str = "",
    edge_px: int = EDGE_PX,
) -> Image:
    """A picture as its member holds it, windowed by its default normalisation; of a film the middle frame.

    Under it stand the names of what the mask shows, the classes and findings that are present, and the caption.

    Args:
        image: the record of the image.
        stored: its array, axes as in the record.
        annotations: of the sample; boxes and points of this image are drawn, numbered by colour.
        label_yx: mask of a picture, integers of its rows and columns, 0 for nothing.
        names: value of the mask -> name, for a legend of what is seen.
        caption: a line under it.
        edge_px: longest side.

    Raises:
        ValueError: not a picture or film, or a mask of another size.
        MissingExtraError: pillow is not installed.
    """
    require("PIL", "cli")
    from PIL import Image, ImageDraw

    if image.axes not in ("yx", "yxc", "tyx", "tyxc"):
        raise ValueError(f"expected a picture or film, found axes {image.axes}")
    frame_number = stored.shape[0] // 2 if "t" in image.axes else 0
    frame = stored[frame_number] if "t" in image.axes else stored
    shown = Image.fromarray(_eight_bits(image, frame)).convert("RGB")
    factor = edge_px / max(shown.size)
    width, height = (max(1, round(n * factor)) for n in shown.size)
    shown = shown.resize((width, height), Image.Resampling.BILINEAR if factor < 4 else Image.Resampling.NEAREST)
    if label_yx is not None:
        if "t" in image.axes or label_yx.shape != frame.shape[:2]:
            raise ValueError(f"the mask's shape {label_yx.shape} is not the picture's {frame.shape[:2]}")
        shown = Image.fromarray(overlaid(np.asarray(shown), nearest(label_yx, height, width)))
    draw = ImageDraw.Draw(shown)
    mine = [a for a in annotations if a.image == image.name and a.index_xyz]
    for number, a in enumerate(mine, start=1):
        if "t" in image.axes and not a.index_xyz[2] - 0.5 <= frame_number <= a.index_xyz[-1] + 0.5:
            continue
        # Index coordinates count pixel centres; the picture's edge is at -0.5.
        corners = [
            ((x + 0.5) * factor, (y + 0.5) * factor) for x, y in zip(a.index_xyz[::3], a.index_xyz[1::3], strict=True)
        ]
        if len(corners) == 1:
            (x, y), r = corners[0], 4
            draw.ellipse([x - r, y - r, x + r, y + r], outline=colour(number), width=2)
        else:
            draw.rectangle([corners[0], corners[1]], outline=colour(number), width=2)
        draw.text((corners[0][0] + 4, corners[0][1] + 2), a.name, fill=colour(number), font=_font(13))
    lines = [line for line in (_findings(annotations), caption) if line]
    seen = sorted(set(np.unique(label_yx).tolist()) - {0}) if label_yx is not None else []
    legend = footer(max(width, 256), "", [(v, names[v]) for v in seen if v in names]) if names else None
    under = len(lines) * _LINE_PX + (6 if lines else 0) + (legend.height if legend else 0)
    result = Image.new("RGB", (max(width, 256), height + under), _BACKGROUND)
    result.paste(shown, ((result.width - width) // 2, 0))
    if legend:
        result.paste(legend, (0, height))
        height += legend.height
    words = ImageDraw.Draw(result)
    for n, line in enumerate(lines):
        words.text(
            (4, height + 4 + n * _LINE_PX),
            _fitting(line, _font(13), result.width - 8),
            fill=(190, 190, 190),
            font=_font(13),
        )
    return result


def _eight_bits(image: SampleImage, frame: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    if "c" in image.axes and frame.shape[-1] == 2:
        frame = frame[..., 0]
    if "c" in image.axes and frame.dtype == np.uint8:
        return np.ascontiguousarray(frame[..., :3] if frame.ndim == 3 else frame)
    lower, upper = ((v - image.offset) / image.scale for v in default_window(image))
    span = upper - lower if upper > lower else 1.0
    grey = np.clip((frame.astype(np.float64) - lower) / span * 255.0, 0.0, 255.0).round().astype(np.uint8)
    return np.ascontiguousarray(grey[..., :3] if grey.ndim == 3 else grey)


def _findings(annotations: Sequence[SampleAnnotation]) -> str:
    """Classes and findings that are there, or may be: `diagnosis: nevus   pneumonia   edema (uncertain)`."""
    words = []
    for a in annotations:
        if a.kind == "class" and a.state in ("present", "uncertain"):
            name = f"{a.name}: {a.value}" if a.value else a.name
            words.append(name if a.state == "present" else f"{name} (uncertain)")
    return "   ".join(words)
