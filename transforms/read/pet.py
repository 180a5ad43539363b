"""PET: from stored activity to the standardised uptake value by body weight, SUVbw in g/ml.

SUVbw = activity concentration (Bq/ml) · weight (g) / dose (Bq), dose and activity at one moment (PS3.3 C.8.9.1). Which
moment the activity is corrected to, DecayCorrection says; how the moment is found is the vendor-neutral way of QIBA
("Vendor-neutral pseudo-code for SUV calculation", "robust version"):

| Units | DecayCorrection | factor |
| --- | --- | --- |
| GML, SUVType BW or absent | any | 1 |
| BQML | ADMIN | weight / dose |
| BQML | START | weight / (dose · 2^(-(scan start - injection) / half life)) |
| BQML | NONE | weight / (dose · 2^(-(moment of the slice - injection) / half life)), for each slice |
| CNTS | any | Philips' SUV factor (7053,1000); else its activity factor (7053,1009), then as BQML |

Enhanced PET (PS3.3 C.8.22) has the unit in its RealWorldValueMappingSequence and the moment in DecayCorrectionDateTime.

Powers and logarithms are taken with `decimal`, whose results do not depend on the processor's mathematical library.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Context, Decimal

from pydicom.dataset import Dataset

from schemas.reasons import Reason
from transforms.read import values
from transforms.read.values import Attributes
from transforms.rejected import Rejected

GE_BLOCK, GE_SCAN_START = 0x00090010, 0x0009100D
PHILIPS_BLOCK, PHILIPS_SUV_FACTOR, PHILIPS_ACTIVITY_FACTOR = 0x70530010, 0x70531000, 0x70531009
PRIVATE_TAGS = (GE_BLOCK, GE_SCAN_START, PHILIPS_BLOCK, PHILIPS_SUV_FACTOR, PHILIPS_ACTIVITY_FACTOR)
"""Private elements that are read, at the place their blocks always have in PET files."""

UCUM_UNITS = {"Bq/ml": "BQML", "{SUVbw}g/ml": "GML", "g/ml{SUVbw}": "GML"}
"""Measurement units of a real-world value mapping (PS3.16 CID 84, CID 85, and the order of words of older files)."""

_GE_CREATOR, _PHILIPS_CREATOR = "GEMS_PETD_01", "PHILIPS PET PRIVATE GROUP"

KEYWORDS = (
    "Units", "SUVType", "DecayCorrection", "CorrectedImage", "PatientWeight", "SeriesDate", "SeriesTime",
    "AcquisitionDate", "AcquisitionTime", "FrameReferenceTime", "ActualFrameDuration",
    "RadiopharmaceuticalInformationSequence", "NumberOfSlices", "DecayCorrected", "DecayCorrectionDateTime",
    "AttenuationCorrected",
)  # fmt: skip

_UNITS = frozenset(
    """
    CNTS NONE CM2 CM2ML PCNT CPS BQML MGMINML UMOLMINML MLMING MLG 1CM UMOLML PROPCNTS PROPCPS MLMINML MLML GML STDDEV
    """.split()  # noqa: SIM905 (easier to read)
)
_SUV_TYPES = frozenset({"BW", "BSA", "LBM", "LBMJAMES128", "LBMJANMA", "IBW"})
"""The standard's words, which may be quoted; other text of a header may not (C.8.9.1.1.3, C.8.9.1.1.18)."""

MIN_DOSE_BQ = 1e5
"""A dose below this, in Bq, was written in another unit (MBq, mCi): even mice get ten times more."""

MAX_UPTAKE_S = 24 * 3600.0
"""Injections are scanned within a day; a longer wait is a date that de-identification has moved."""

_DAY_S = 86400.0
_EXACT = Context(prec=30)


@dataclass(frozen=True)
class PetFields:
    """What an instance says of its activity. Moments are seconds on one scale and serve arithmetic only: no record has them.

    Attributes:
        units: Units (0054,1001).
        suv_type: SUVType (0054,1006).
        decay_correction: DecayCorrection (0054,1102).
        corrected: CorrectedImage (0028,0051).
        weight_kg: PatientWeight.
        dose_bq: RadionuclideTotalDose.
        half_life_s: RadionuclideHalfLife.
        injections: items of the RadiopharmaceuticalInformationSequence.
        injected_at_s: RadiopharmaceuticalStartDateTime.
        injected_time_s: RadiopharmaceuticalStartTime, since midnight.
        series_s: SeriesDate and SeriesTime.
        acquired_s: AcquisitionDate and AcquisitionTime: the start of the slice's bed position.
        ge_scan_s: GE's private start of the scan.
        frame_reference_s: FrameReferenceTime.
        frame_duration_s: ActualFrameDuration.
        philips_suv: Philips' factor from values to SUVbw.
        philips_activity: Philips' factor from values to Bq/ml.
        slices: NumberOfSlices: how many the volume has.
        corrected_to_s: DecayCorrectionDateTime of Enhanced PET.
    """

    units: str | None = None
    suv_type: str | None = None
    decay_correction: str | None = None
    corrected: tuple[str, ...] = ()
    weight_kg: float | None = None
    dose_bq: float | None = None
    half_life_s: float | None = None
    injections: int = 0
    injected_at_s: float | None = None
    injected_time_s: float | None = None
    series_s: float | None = None
    acquired_s: float | None = None
    ge_scan_s: float | None = None
    frame_reference_s: float | None = None
    frame_duration_s: float | None = None
    philips_suv: float | None = None
    philips_activity: float | None = None
    slices: int | None = None
    corrected_to_s: float | None = None


@dataclass(frozen=True)
class SuvFactors:
    """SUVbw = (stored · slope + intercept) · factor.

    Attributes:
        factors: one for each instance.
        note: which way was taken, for a person; it holds no value of the header.
    """

    factors: tuple[float, ...]
    note: str


def pet_fields(ds: Attributes) -> PetFields:
    """The fields of a header."""
    items = values.raw(ds, "RadiopharmaceuticalInformationSequence")
    dose = values.first_item(ds, "RadiopharmaceuticalInformationSequence") or Dataset()
    ge = values.text(ds, GE_BLOCK) == _GE_CREATOR
    philips = (values.text(ds, PHILIPS_BLOCK) or "").upper() == _PHILIPS_CREATOR
    return PetFields(
        units=values.text(ds, "Units"),
        suv_type=values.text(ds, "SUVType"),
        decay_correction=values.text(ds, "DecayCorrection") or _decay_of_enhanced(ds),
        corrected=values.texts(ds, "CorrectedImage") or _corrections_of_enhanced(ds),
        weight_kg=values.number(ds, "PatientWeight"),
        dose_bq=values.number(dose, "RadionuclideTotalDose"),
        half_life_s=values.number(dose, "RadionuclideHalfLife"),
        injections=len(items) if items else 0,
        injected_at_s=values.datetime_s(values.text(dose, "RadiopharmaceuticalStartDateTime")),
        injected_time_s=values.time_s(values.text(dose, "RadiopharmaceuticalStartTime")),
        series_s=values.moment_s(values.text(ds, "SeriesDate"), values.text(ds, "SeriesTime")),
        acquired_s=values.moment_s(values.text(ds, "AcquisitionDate"), values.text(ds, "AcquisitionTime")),
        ge_scan_s=values.datetime_s(values.text(ds, GE_SCAN_START)) if ge else None,
        frame_reference_s=_seconds(values.number(ds, "FrameReferenceTime")),
        frame_duration_s=_seconds(values.number(ds, "ActualFrameDuration")),
        philips_suv=values.number(ds, PHILIPS_SUV_FACTOR) if philips else None,
        philips_activity=values.number(ds, PHILIPS_ACTIVITY_FACTOR) if philips else None,
        slices=values.integer(ds, "NumberOfSlices"),
        corrected_to_s=values.datetime_s(values.text(ds, "DecayCorrectionDateTime")),
    )


def _decay_of_enhanced(ds: Attributes) -> str | None:
    """DecayCorrection in the words of classic PET: to a stated moment, or not at all."""
    return {"YES": "START", "NO": "NONE"}.get(values.text(ds, "DecayCorrected") or "")


def _corrections_of_enhanced(ds: Attributes) -> tuple[str, ...]:
    corrected = values.text(ds, "AttenuationCorrected")
    return () if corrected is None else ("ATTN",) if corrected == "YES" else ("NONE",)


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000.0


def suv_factors(fields: Sequence[PetFields]) -> SuvFactors:
    """The factors from physical values to SUVbw of the slices of one volume.

    Raises:
        Rejected: NO_SUV, with what is missing or what forbids it.
    """
    first = fields[0]
    for name, key in (("Units", "units"), ("DecayCorrection", "decay_correction"), ("SUVType", "suv_type")):
        if len({getattr(f, key) for f in fields}) > 1:
            raise Rejected(Reason.NO_SUV, f"expected one {name} in all slices of a volume, found several")
    if first.units == "GML":
        if first.suv_type not in (None, "BW"):
            raise Rejected(
                Reason.NO_SUV,
                f"expected uptake by body weight (SUVType BW), found {_quoted(first.suv_type, _SUV_TYPES)}",
            )
        return SuvFactors((1.0,) * len(fields), "values are SUVbw as they are (Units GML)")
    if first.units == "CNTS":
        return _from_counts(fields)
    if first.units != "BQML":
        raise Rejected(Reason.NO_SUV, f"expected Units BQML, GML or CNTS, found {_quoted(first.units, _UNITS)}")
    return _from_activity(fields, "Units BQML")


def _from_counts(fields: Sequence[PetFields]) -> SuvFactors:
    if all(_positive(f.philips_suv) for f in fields):
        factors = tuple(f.philips_suv or 0.0 for f in fields)
        return SuvFactors(factors, "SUVbw by the vendor's SUV factor (Units CNTS, Philips 7053,1000)")
    if all(_positive(f.philips_activity) for f in fields):
        way = _from_activity(fields, "Units CNTS, activity by Philips 7053,1009")
        scaled = tuple(a * (f.philips_activity or 0.0) for a, f in zip(way.factors, fields, strict=True))
        return SuvFactors(scaled, way.note)
    raise Rejected(Reason.NO_SUV, "Units CNTS without the vendor's factors (7053,1000) or (7053,1009) in every slice")


def _from_activity(fields: Sequence[PetFields], units: str) -> SuvFactors:
    first = fields[0]
    _check_dose(fields)
    weight_g, dose_bq = Decimal(first.weight_kg or 0) * 1000, Decimal(first.dose_bq or 0)
    if first.decay_correction == "ADMIN":
        return SuvFactors((float(weight_g / dose_bq),) * len(fields), f"SUVbw, {units}, decay corrected to injection")
    if first.decay_correction not in ("START", "NONE"):
        found = _quoted(first.decay_correction, frozenset())
        raise Rejected(Reason.NO_SUV, f"expected DecayCorrection START, ADMIN or NONE, found {found}")
    if not _positive(first.half_life_s):
        raise Rejected(Reason.NO_SUV, "no RadionuclideHalfLife")
    if first.decay_correction == "START":
        scan, how = _scan_start(fields)
        moments, correction = [scan] * len(fields), f"decay corrected to the start of the scan, taken from {how}"
    else:
        moments, correction = [_slice_moment(f) for f in fields], "not decay corrected: each slice at its own moment"
    injected, day = _injection(first, min(moments))
    note = f"SUVbw, {units}, {correction}; {day}"
    half_life = Decimal(first.half_life_s or 0)
    decays = {m: _EXACT.power(Decimal(2), _EXACT.divide(Decimal(m - injected), half_life)) for m in set(moments)}
    return SuvFactors(tuple(float(weight_g / dose_bq * decays[m]) for m in moments), note)


def _check_dose(fields: Sequence[PetFields]) -> None:
    first = fields[0]
    if first.corrected and not any(c in ("ATTN", "ATTEN") for c in first.corrected):
        raise Rejected(Reason.NO_SUV, "CorrectedImage has no ATTN: activity that is not corrected for attenuation")
    if first.injections > 1:
        raise Rejected(Reason.NO_SUV, f"expected one injection, found {first.injections}")
    missing = [
        name
        for name, value in (("PatientWeight", first.weight_kg), ("RadionuclideTotalDose", first.dose_bq))
        if not _positive(value)
    ]
    if missing:
        raise Rejected(Reason.NO_SUV, f"no {' and no '.join(missing)}")
    if (first.dose_bq or 0.0) < MIN_DOSE_BQ:
        raise Rejected(Reason.NO_SUV, f"RadionuclideTotalDose below {MIN_DOSE_BQ:g} Bq: another unit than Bq")
    keys = [(f.weight_kg, f.dose_bq, f.half_life_s, f.injected_at_s, f.injected_time_s) for f in fields]
    if len(set(keys)) > 1:
        raise Rejected(Reason.NO_SUV, "expected one weight, dose, half life and injection in all slices, found several")


def _scan_start(fields: Sequence[PetFields]) -> tuple[float, str]:
    """The moment that all slices are corrected to, and where it was found.

    SeriesTime unless it is later than an acquisition: then the series was written anew, and the moment is GE's own
    element, or is computed back from a slice: FrameReferenceTime runs from the moment that is looked for to the moment
    of average activity of the slice (PS3.3 C.8.9.4).
    """
    first = fields[0]
    if first.corrected_to_s is not None:
        return first.corrected_to_s, "DecayCorrectionDateTime"
    acquired = [f.acquired_s for f in fields if f.acquired_s is not None]
    if first.series_s is not None and acquired and first.series_s <= min(acquired):
        return first.series_s, "SeriesTime"
    if first.ge_scan_s is not None:
        return first.ge_scan_s, "GE's private element (0009,100d)"
    if not acquired:
        raise Rejected(Reason.NO_SUV, "no AcquisitionDate and AcquisitionTime")
    backwards = [
        f.acquired_s - (f.frame_reference_s or 0.0) + _average_s(f)
        for f in fields
        if f.acquired_s is not None and _positive(f.frame_reference_s) and _positive(f.frame_duration_s)
    ]
    if backwards and len(backwards) == len(fields):
        return round(min(backwards), 3), "AcquisitionTime and FrameReferenceTime"
    return min(acquired), "the earliest AcquisitionTime"


def _slice_moment(f: PetFields) -> float:
    """When the activity of a slice was what its values say: the moment of average activity within its frame."""
    if f.acquired_s is None:
        raise Rejected(Reason.NO_SUV, "no AcquisitionDate and AcquisitionTime, and DecayCorrection is NONE")
    if not _positive(f.frame_duration_s):
        raise Rejected(Reason.NO_SUV, "no ActualFrameDuration, and DecayCorrection is NONE")
    return f.acquired_s + _average_s(f)


def _average_s(f: PetFields) -> float:
    """From the start of a frame to when its decaying activity is its average: ln(x / (1 - exp(-x))) / decay constant."""
    if not _positive(f.half_life_s):
        raise Rejected(Reason.NO_SUV, "no RadionuclideHalfLife")
    constant = _EXACT.divide(_EXACT.ln(Decimal(2)), Decimal(f.half_life_s or 0))
    x = _EXACT.multiply(constant, Decimal(f.frame_duration_s or 0))
    return float(_EXACT.divide(_EXACT.ln(_EXACT.divide(x, 1 - _EXACT.exp(-x))), constant))


def _injection(f: PetFields, scanned_s: float) -> tuple[float, str]:
    """When the dose was injected, and how its day was found."""
    if f.injected_at_s is not None and 0.0 <= scanned_s - f.injected_at_s <= MAX_UPTAKE_S:
        return f.injected_at_s, "injected at RadiopharmaceuticalStartDateTime"
    if f.injected_time_s is None:
        if f.injected_at_s is None:
            raise Rejected(Reason.NO_SUV, "no time of injection (RadiopharmaceuticalStartDateTime or …StartTime)")
        raise Rejected(Reason.NO_SUV, "the injection is dated after the scan, or more than a day before it")
    midnight = scanned_s - scanned_s % _DAY_S
    injected = midnight + f.injected_time_s
    if injected <= scanned_s:
        return injected, "injected at RadiopharmaceuticalStartTime of the same day"
    return injected - _DAY_S, "injected at RadiopharmaceuticalStartTime of the day before"


def _quoted(value: str | None, words: frozenset[str]) -> str:
    if value is None:
        return "none"
    return value if value in words else "something else"


def _positive(value: float | None) -> bool:
    return value is not None and 0.0 < value < float("inf")
