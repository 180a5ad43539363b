"""One image, from as published to as stored: array, affine and record change together, here and nowhere else."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from mdfp import geometry
from mdfp.geometry import Affine
from mdfp.sample import Grid, SampleAnnotation, SampleImage
from schemas.case import CaseImage
from schemas.reasons import Reason
from schemas.recipe import Geometry, Limits, Recipe
from transforms.normalise import intensity, over_time
from transforms.normalise.grid import POSITION_DECIMALS, OutputGrid, acquisition_axis, output_grid, target_spacing
from transforms.normalise.intensity import Encoding
from transforms.normalise.over_time import Image
from transforms.normalise.resample import resample
from transforms.normalise.shared_grid import SharedGrid, sample, shared_grid
from transforms.normalise.statistics import Measured, body_box, body_threshold, measure
from transforms.normalise.survey import Box, Survey
from transforms.normalise.taps import output_size
from transforms.rejected import Rejected
from transforms.volume import Volume, VoxelGrid

MIN_CT_SPAN_HU = 100.0
"""A CT whose values span less is probably not in HU: air and water alone are 1000 HU apart."""


@dataclass(frozen=True, eq=False)
class NormalisedImage:
    """An image as stored.

    Attributes:
        array: stored values, C order, axes as in the record.
        record: what the index says of it.
        grid: where its voxels lie at each time, and the taps that made them from `canonical`; labels are brought to it the
            same way.
        canonical: where the native voxels were, axes along R, A, S. The voxels themselves are not kept: they are the
            largest thing in a case, and its labels need only know where they were.
        crop: box of the whole resampled grid that was kept, or None when nothing was cut off; `grid` is cut already.
        done: what was done, step by step.
        warnings: what a user may want to look at.
        annotations: what an image over time says itself: `frame_time`.
    """

    array: npt.NDArray[Any]
    record: SampleImage
    grid: OutputGrid | SharedGrid
    canonical: VoxelGrid
    crop: Box | None
    done: tuple[str, ...]
    warnings: tuple[str, ...]
    annotations: tuple[SampleAnnotation, ...] = ()

    @property
    def array_zyx(self) -> npt.NDArray[Any]:
        """The stored values of a volume.

        Raises:
            ValueError: it is an image over time.
        """
        if self.array.ndim != 3:
            raise ValueError(f"expected a volume, found axes {self.record.axes}")
        return self.array


def normalise_image(
    volume: Image, case_image: CaseImage, recipe: Recipe, reference: OutputGrid | None = None
) -> NormalisedImage:
    """Turn, resample, encode and describe an image as the recipe asks.

    Memory at its highest is the volume's own buffer, the stored array, and one of a few planes; a copy of the buffer is
    added only where its fastest axis in memory is not x, or its type has no kernel (see `transforms.normalise.layout`).
    Of an image over time: all of it as read and as stored, and what one time point takes.

    Args:
        volume: as read, native values and geometry; or an image over time, whose time points are all treated alike (see
            `transforms.normalise.over_time`): one grid, one scale and offset, one crop.
        case_image: what the inventory knows of it.
        recipe: geometry, intensity and limits are used.
        reference: stored grid of another image of the case, which this one is to share; None: a grid of its own.

    Raises:
        Rejected: NOT_FINITE, more such voxels than the limits allow; TOO_LARGE, the output grid exceeds the limits;
            OFF_GRID, no voxel of the reference lies in the field of view.
    """
    modality = case_image.modality
    done: list[str] = []
    warnings: list[str] = []
    canonical = working(over_time.canonicalise(volume))
    native_code = geometry.orientation_code(volume.affine_ras)
    if native_code != "RAS":
        done.append(f"axes turned from {native_code} to RAS")

    threshold = body_threshold(modality)
    seen, digest = over_time.survey_and_hash(canonical.array, scale=canonical.scale, offset=canonical.offset)
    _check_finite(seen, recipe.limits)
    native = measure(canonical.array, threshold, scale=canonical.scale, offset=canonical.offset, seen=seen)

    grid: OutputGrid | SharedGrid
    if reference is None:
        grid = _output_grid(canonical, modality, recipe)
    else:
        grid = shared_grid(canonical.affine_ras, reference, low_pass=recipe.geometry.low_pass)
    code = intensity.encoding(
        modality,
        volume.array.dtype if canonical.scale == volume.scale else canonical.array.dtype,
        seen,
        scale=canonical.scale,
        offset=canonical.offset,
        padding=canonical.padding,
        store=recipe.intensity.store,
    )
    code = replace(code, unit=code.unit or case_image.header.unit)
    floored = modality == "CT" and recipe.intensity.store != "native"
    padding_voxels = _replaced(canonical.array, native, code) if floored else 0
    replaces = padding_voxels + seen.nonfinite > 0
    own_range = _own_range(native, code, floored=floored)
    mapping: dict[str, Any] = {
        "dtype": code.dtype,
        "lower": code.lower if replaces else None,
        "padding": code.padding if replaces else None,
        "gain": code.gain,
        "bias": code.bias,
        "within": None if recipe.geometry.interpolation == "linear" else own_range,
    }
    if isinstance(grid, SharedGrid):
        fill = code.lower * code.gain + code.bias if floored and code.lower is not None else own_range[0]
        array, outside = _sampled(canonical.array, grid, fill=fill, kernel=recipe.geometry.interpolation, **mapping)
        _check_overlap(outside, grid, case_image.header.name)
        if outside:
            done.append(
                f"{outside} voxels outside its field of view set to {fill * code.scale + code.offset:g}"
                f"{f' {code.unit}' if code.unit else ''}"
            )
    else:
        taps = grid.taps_zyx
        array = over_time.each(canonical.array, grid.shape_zyx, lambda part: resample(part, taps, **mapping))
    done += _resampling_done(canonical, grid, recipe.geometry)
    done += _intensity_done(code, native, padding_voxels, canonical, modality)
    if modality == "CT" and native.stats.maximum - native.stats.minimum < MIN_CT_SPAN_HU:
        warnings.append(
            f"CT values run from {native.stats.minimum:g} to {native.stats.maximum:g}, expected a span of at least"
            f" {MIN_CT_SPAN_HU:g} HU: the source may not be in HU"
        )

    crop = None
    if recipe.geometry.crop == "foreground" and isinstance(grid, OutputGrid):
        box = body_box(over_time.survey(array), threshold, scale=code.scale, offset=code.offset)
        if box is None:
            warnings.append("no body found, not cropped")
        elif box != (0, 0, 0, *grid.shape_zyx):
            crop, grid = box, grid.cut(box)
            array = np.ascontiguousarray(array[..., box[0] : box[3], box[1] : box[4], box[2] : box[5]])
            done.append("cropped to the body")

    asked = recipe.intensity.modalities.get(modality)
    percents = intensity.wanted_percentiles(modality, asked)
    stored = measure(
        array, threshold, scale=code.scale, offset=code.offset, percents=percents, seen=over_time.survey(array)
    )
    normalisation = intensity.default_normalisation(modality, asked, stored.percentiles)
    if recipe.intensity.store == "normalised":
        array = intensity.bake(array, normalisation, scale=code.scale, offset=code.offset)
        code = replace(code, dtype=array.dtype, scale=1 / intensity.NORMALISED_STEPS, offset=0.0, unit=None)
        done.append(f"{normalisation.kind} [{normalisation.lower:g}, {normalisation.upper:g}] mapped to [0, 1]")
        level = (stored.stats.mean if threshold is None else threshold) - normalisation.lower
        level = min(max(level / (normalisation.upper - normalisation.lower), 0.0), 1.0)
        normalisation = intensity.BAKED
        baked = measure(array, level, scale=code.scale, seen=over_time.survey(array))
        stored = replace(baked, body_box=stored.body_box)

    record = SampleImage(
        name=case_image.header.name,
        modality=modality,
        axes="zyx" if array.ndim == 3 else "tzyx",
        dtype=array.dtype.name,
        unit=code.unit,
        scale=code.scale,
        offset=code.offset,
        native=over_time.grid_over_time(grid_record(volume.shape_zyx, volume.affine_ras), array),
        stored=over_time.grid_over_time(grid_record(grid.shape_zyx, grid.affine_ras), array),
        native_dtype=case_image.header.dtype,
        obliquity_deg=geometry.obliquity_deg(volume.affine_ras),
        acquisition=case_image.acquisition,
        acquisition_axis="xyz"[acquisition_axis(geometry.spacing_xyz_mm(canonical.affine_ras))],
        native_intensity=native.stats,
        stored_intensity=stored.stats,
        normalisation=normalisation,
        padding_voxels=padding_voxels,
        nonfinite_voxels=native.survey.nonfinite,
        body_box=stored.body_box,
        content_hash=digest,
        times_ms=over_time.times_ms(volume),
    )
    told = over_time.frame_time(volume, record.name)
    return NormalisedImage(array, record, grid, canonical.grid, crop, tuple(done), tuple(warnings), told)


def grid_record(shape_zyx: tuple[int, int, int], affine_ras: Affine) -> Grid:
    """Where voxels lie, as the index says it."""
    return Grid(
        shape=shape_zyx,
        spacing_xyz_mm=tuple(round(s, POSITION_DECIMALS - 1) for s in geometry.spacing_xyz_mm(affine_ras)),
        orientation=geometry.orientation_code(affine_ras),
        affine_ras=tuple(float(v) for v in np.asarray(affine_ras).reshape(-1)),
    )


def _sampled(array: npt.NDArray[Any], grid: SharedGrid, **how: Any) -> tuple[npt.NDArray[Any], int]:
    """`shared_grid.sample` of each volume; the voxels outside the field of view are those of one."""
    outside = 0

    def one(part: npt.NDArray[Any]) -> npt.NDArray[Any]:
        nonlocal outside
        made, outside = sample(part, grid, **how)
        return made

    return over_time.each(array, grid.shape_zyx, one), outside


@overload
def working(canonical: Volume) -> Volume: ...
@overload
def working(canonical: Image) -> Image: ...
def working(canonical: Image) -> Image:
    """A canonical volume whose rows are contiguous and whose scale is positive."""
    if canonical.scale == 0:
        raise ValueError("a volume's scale is zero: readers turn that into 1")
    if canonical.scale > 0:
        return over_time.with_array(canonical, over_time.settle(canonical.array))
    # A negative slope reverses the order of values; the physical numbers themselves do not have that trap.
    physical = over_time.physical(canonical.array, canonical.scale, canonical.offset)
    padding = None if canonical.padding is None else canonical.padding * canonical.scale + canonical.offset
    return over_time.with_array(canonical, over_time.settle(physical), scale=1.0, offset=0.0, padding=padding)


def _check_finite(seen: Survey, limits: Limits) -> None:
    fraction = seen.nonfinite / seen.voxels
    if fraction > limits.max_nonfinite_fraction or seen.nonfinite == seen.voxels:
        raise Rejected(
            Reason.NOT_FINITE,
            f"expected at most {limits.max_nonfinite_fraction:g} of the voxels to be NaN or infinite, found"
            f" {seen.nonfinite} of {seen.voxels} ({fraction:.4g})",
        )


def _output_grid(canonical: Image, modality: str, recipe: Recipe) -> OutputGrid:
    wanted = target_spacing(
        geometry.spacing_xyz_mm(canonical.affine_ras),
        recipe.geometry.spacing_for(modality),
        upsample=recipe.geometry.upsample == "allow",
    )
    limits = recipe.limits
    native_mm = geometry.spacing_xyz_mm(canonical.affine_ras)
    x, y, z = (output_size(n, s, t) for n, s, t in zip(canonical.shape_zyx[::-1], native_mm, wanted, strict=True))
    times = canonical.array.size // math.prod(canonical.shape_zyx)
    if times * z * y * x > limits.max_voxels or max(z, y, x) > limits.max_edge:
        shown = f"{x} x {y} x {z} voxels" + (f" at each of {times} time points" if times > 1 else "")
        raise Rejected(
            Reason.TOO_LARGE,
            f"at {_mm(wanted)} the volume would have {shown}, expected at most {limits.max_voxels} and"
            f" {limits.max_edge} along an axis",
        )
    return output_grid(
        canonical.shape_zyx,
        canonical.affine_ras,
        wanted,
        low_pass=recipe.geometry.low_pass,
        kernel=recipe.geometry.interpolation,
    )


def _replaced(array: npt.NDArray[Any], native: Measured, code: Encoding) -> int:
    """Finite voxels that were below the floor or equal to the padding value."""
    assert code.lower is not None
    if native.distribution.counts is not None:
        return native.distribution.replaced(code.lower, code.padding)
    total = 0
    for plane in array:
        replaced = (plane < code.lower) & np.isfinite(plane)
        if code.padding is not None:
            replaced |= plane == code.padding
        total += int(np.count_nonzero(replaced))
    return total


def _own_range(native: Measured, code: Encoding, *, floored: bool) -> tuple[float, float]:
    """Stored numbers between which the image's own values lie: what interpolation must not leave."""
    low, high = native.survey.minimum, native.survey.maximum
    if floored and code.lower is not None:
        low, high = max(low, code.lower), max(high, code.lower)
    return low * code.gain + code.bias, high * code.gain + code.bias


def _mm(spacing_xyz_mm: tuple[float, ...]) -> str:
    return " x ".join(f"{s:g}" for s in spacing_xyz_mm) + " mm"


def _check_overlap(outside: int, grid: SharedGrid, name: str) -> None:
    if outside == math.prod(grid.shape_zyx):
        raise Rejected(
            Reason.OFF_GRID,
            f"image {name!r}: expected it to overlap the reference image of its case, found all {outside} voxels of that"
            " image's grid outside its field of view",
        )


def _resampling_done(canonical: Image, grid: OutputGrid | SharedGrid, geometry_wanted: Geometry) -> list[str]:
    if grid.identity:
        return []
    kernel = geometry_wanted.interpolation + (", low-pass where coarser" if geometry_wanted.low_pass else "")
    native = _mm(geometry.spacing_xyz_mm(canonical.affine_ras))
    onto = ", the grid of the reference" if isinstance(grid, SharedGrid) else ""
    return [f"resampled from {native} to {_mm(grid.spacing_xyz_mm)}{onto} ({kernel})"]


def _intensity_done(
    code: Encoding, native: Measured, padding_voxels: int, canonical: Image, modality: str
) -> list[str]:
    done = []
    if native.survey.nonfinite:
        done.append(f"{native.survey.nonfinite} voxels that were not finite replaced")
    if padding_voxels:
        done.append(f"{padding_voxels} padding voxels set to {intensity.CT_FLOOR_HU:g} HU")
    if (code.scale, code.offset) != (canonical.scale, canonical.offset):
        target = "HU" if modality == "CT" else f"{code.dtype.name} between its own minimum and maximum"
        done.append(f"stored as {target}")
    return done
