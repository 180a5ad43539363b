"""Recipes: the corpus to build, in one short YAML a person can read aloud."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from mdfp.errors import UsageError
from schemas import ontology, yaml_file
from schemas.place import Access, OutAccess
from schemas.policy import Policy
from schemas.slices import Slices
from schemas.terms_gate import TermsGate
from schemas.views import About, Sampling, Sites, unset

MODALITIES = tuple("CT MR PT NM US CR DX MG XA RF XR OP OPT DMS SM GM ES XC OT".split())  # noqa: SIM905 (easier to read)
"""Modality codes a recipe may name."""


Temporal = Literal["refuse", "keep", "split"]
"""What becomes of images over time, several volumes of one place.

* `refuse`: a reject with the reason `temporal`. The default, because the fourth axis of a file is often no time: channels of
  an MR, directions of diffusion. Somebody has to look first, and nothing is lost unsaid.
* `keep`: one image with axes `tzyx`; the same grid, kernel, scale and offset for all time points.
* `split`: each time point is a case of its own, of the same patient.
"""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SourceUse(_Model):
    """A source to take, and where its files lie."""

    id: str = Field(description="id in catalog/sources/, or of the file in manifest:")
    root: str | None = Field(
        None, description="folder or URL of its files, ${NAME} from the environment; --root ID=URL wins"
    )
    access: Access = Field(Access(), description="how the bucket is entered: {anonymous:, requester_pays:}")
    manifest: str | None = Field(None, description="a source manifest of one's own, relative to the recipe")
    table: str | None = Field(
        None, description="published table of series, for a manifest with inventory: deferred; relative to the recipe"
    )
    exclude: tuple[str, ...] = Field((), description="case names to leave out")
    temporal: Temporal | None = Field(None, description="images over time of this source, where it differs")

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Left out where it is not asked for, as in plans and manifests written before there were images over time.
        content = handler(self)
        return {k: v for k, v in content.items() if k != "temporal" or v is not None}


class PlaneSpacing(_Model):
    """Spacing within slices and across them; the acquisition axis is the one with the largest native spacing."""

    in_plane: float | Literal["native"] = Field(description="a number of mm, or native")
    through_plane: float | Literal["native"] = Field("native", description="a number of mm, or native")

    @field_validator("in_plane", "through_plane")
    @classmethod
    def _positive(cls, value: float | str) -> float | str:
        return _spacing(value)


def _spacing(value: Any) -> Any:
    if not isinstance(value, str) and not 0.01 <= float(value) <= 100:
        raise ValueError(f"a spacing is between 0.01 and 100 mm, or 'native'; found {value}")
    return value


Spacing = Literal["native"] | tuple[float, float, float] | PlaneSpacing


class ModalityGeometry(_Model):
    """Geometry of one modality, where it differs."""

    spacing_mm: Spacing = Field("native", description="[x, y, z], native, or {in_plane:, through_plane:}")

    @field_validator("spacing_mm")
    @classmethod
    def _positive(cls, value: Any) -> Any:
        if isinstance(value, tuple):
            for v in value:
                _spacing(v)
        return value


class ReferenceGrid(_Model):
    """Images share the grid of the reference image of their case."""

    reference: str = Field(description="modality of the image whose stored grid the others take, for example CT")

    @field_validator("reference")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in MODALITIES:
            raise ValueError(f"expected one of {', '.join(MODALITIES)}, found {value!r}")
        return value


class Geometry(ModalityGeometry):
    """The grid samples are stored on."""

    orientation: Literal["RAS"] = Field("RAS", description="axes closest to R, A, S; permutation and flips only")
    upsample: Literal["allow", "never"] = Field("allow", description="never: a coarser axis keeps its spacing")
    interpolation: Literal["linear", "cubic"] = Field(
        "linear",
        description="of images, along each axis; cubic is kept within the image's own range. Labels: labels.resample",
    )
    low_pass: bool = Field(True, description="average over the output voxel's footprint when downsampling")
    crop: Literal["none", "foreground"] = Field("none", description="foreground: cut to the body box")
    grid: Literal["native"] | ReferenceGrid = Field("native", description="native, or {reference: CT}")
    modalities: dict[str, ModalityGeometry] = Field({}, description="exceptions: {MR: {spacing_mm: native}}")
    longest_side: int | None = Field(
        None, ge=8, le=65_535, description="pixels: larger pictures are made smaller, none is enlarged; volumes stay"
    )

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Left out where it is not asked for: plans and manifests of volumes read as they did before there were pictures.
        content = handler(self)
        return {k: v for k, v in content.items() if k != "longest_side" or v is not None}

    def spacing_for(self, modality: str) -> Spacing:
        """The spacing asked for in this modality."""
        return self.modalities[modality].spacing_mm if modality in self.modalities else self.spacing_mm


class ModalityIntensity(_Model):
    """How readers normalise a modality by default."""

    window_hu: tuple[float, float] | None = Field(None, description="[lower, upper] in HU")
    percentiles: tuple[float, float] | None = Field(None, description="[lower, upper] in percent, of the volume itself")

    @model_validator(mode="after")
    def _one(self) -> ModalityIntensity:
        if (self.window_hu is None) == (self.percentiles is None):
            raise ValueError("give either window_hu: [lower, upper] or percentiles: [lower, upper]")
        lower, upper = self.window_hu or self.percentiles or (0.0, 0.0)
        if not lower < upper:
            raise ValueError(f"lower must be below upper, found [{lower}, {upper}]")
        if self.percentiles and not (lower >= 0 and upper <= 100):
            raise ValueError(f"percentiles lie between 0 and 100, found [{lower}, {upper}]")
        return self


class Intensity(_Model):
    """What numbers are stored, and the default normalisation per modality."""

    store: Literal["physical", "normalised", "native"] = Field(
        "physical",
        description="physical numbers; normalised bakes the default normalisation in; native keeps values and dtype",
    )
    modalities: dict[str, ModalityIntensity] = Field(
        {}, description="by modality; may also be written directly under intensity:"
    )

    @model_validator(mode="before")
    @classmethod
    def _flat(cls, data: Any) -> Any:
        if data == "native":
            return {"store": "native"}
        if isinstance(data, dict):
            modalities = {k: v for k, v in data.items() if k in MODALITIES}
            rest = {k: v for k, v in data.items() if k not in MODALITIES}
            if modalities:
                rest["modalities"] = {**rest.get("modalities", {}), **modalities}
            return rest
        return data


ReaderRule = Literal["keep", "union", "half", "majority", "intersection"]
"""How the labels of several readers become one; see `transforms.labels.readers`."""

SpaceRule = Literal["union", "intersection", "coarse-to-fine"]
"""How a label space follows from what the sources draw; see `transforms.fusion.space`."""

Resolution = Literal["roll_up", "ignore", "drop", "keep"]
"""What a recipe may decide about a conflict between sources; see `transforms.fusion.conflicts`."""


class SpacePolicy(_Model):
    """A label space derived from the sources."""

    policy: SpaceRule = Field(description="union, intersection, or coarse-to-fine: the finest that all can express")
    include: tuple[str, ...] = Field((), description="structures to have besides")
    exclude: tuple[str, ...] = Field((), description="structures to leave out")

    @field_validator("include", "exclude")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for structure in value:
            ontology.load().check(structure, "label space")
        return value

    @model_validator(mode="after")
    def _apart(self) -> SpacePolicy:
        if both := set(self.include) & set(self.exclude):
            raise ValueError(f"both included and excluded: {', '.join(sorted(both))}")
        return self


class Labels(_Model):
    """The label space readers get by default, and how labels are resampled."""

    space: tuple[str, ...] | SpacePolicy = Field(
        (), description="structures of the default view, or {policy: ...}; all are stored anyway"
    )
    resolve: dict[str, Resolution] = Field(
        {}, description="conflict, as `python -m pipelines labels` names it -> roll_up, ignore, drop or keep"
    )
    image_only: bool = Field(False, description="take images without labels")
    resample: Literal["vote", "nearest"] = Field("vote", description="coverage and vote, or nearest neighbour")
    thin: tuple[str, ...] = Field((), description="structures kept where any of their voxels falls: vessels")
    on_fault: Literal["reject", "image_only"] = Field("reject", description="a case whose label is faulty")
    readers: ReaderRule = Field(
        "keep",
        description="of several readers every one is kept as a layer of its own; a rule adds the fused one: union (any), "
        "half (at least half of them), majority (more than half), intersection (all)",
    )

    @model_validator(mode="before")
    @classmethod
    def _flat(cls, data: Any) -> Any:
        return {"image_only": True} if data == "image_only" else data

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Left out where nothing is fused or resolved: plans of such recipes read as they did.
        content = handler(self)
        silent = {"readers": "keep", "resolve": {}}
        return {k: v for k, v in content.items() if k not in silent or v != silent[k]}

    @field_validator("space", "thin")
    @classmethod
    def _known(cls, value: tuple[str, ...] | SpacePolicy) -> tuple[str, ...] | SpacePolicy:
        if isinstance(value, SpacePolicy):
            return value
        for structure in value:
            ontology.load().check(structure, "label space")
        if len(set(value)) != len(value):
            raise ValueError(f"a structure is named twice in {list(value)}")
        return value


class HeldOut(_Model):
    """Sources that are test data, whole."""

    sources: tuple[str, ...] = Field(min_length=1)


class Splits(_Model):
    """Who trains and who tests; never one patient in two splits."""

    by: Literal["patient"] = "patient"
    train: float = Field(0.9, ge=0, le=1)
    val: float = Field(0.1, ge=0, le=1)
    test: float | HeldOut = Field(0.0, description="a fraction, or {sources: [ids]} held out whole")
    folds: int | None = Field(None, ge=2, le=100, description="cross-validation folds of the train split")
    key: str | None = Field(None, description="changes the draw; default: the corpus's name")
    never_train: tuple[str, ...] = Field(
        (), description="sources or cases of benchmarks: what belongs together with them is never in train or val"
    )

    @model_validator(mode="after")
    def _sum(self) -> Splits:
        test = self.test if isinstance(self.test, float) else 0.0
        total = self.train + self.val + test
        if abs(total - 1) > 1e-9:
            raise ValueError(f"train + val + test must be 1, found {self.train} + {self.val} + {test} = {total:g}")
        return self


class Identity(_Model):
    """What is known of which case is which, beside the fingerprints of the sources themselves; paths beside the recipe."""

    links: tuple[str, ...] = Field(
        (),
        description="tables (.csv, .parquet) of cases known to belong together: source_a, case_a, source_b, case_b, kind, evidence",
    )
    known: tuple[str, ...] = Field(
        (), description="fingerprint tables (.parquet) of cases that are not in sources:, such as a benchmark's"
    )


class Shards(_Model):
    """How samples are packed."""

    target_mb: float = Field(512, gt=0, le=10_000, description="size of a shard, MB")
    group_by: tuple[Literal["split", "source"], ...] = Field(("split", "source"))
    pool_below_mb: float = Field(0, ge=0, description="sources smaller than this share shards, when asked")


class Limits(_Model):
    """What a stranger's file may cost before memory is taken for it."""

    max_voxels: int = Field(2**31 - 1, gt=0, description="voxels of one array")
    max_edge: int = Field(16_384, gt=0, description="voxels along one axis")
    max_bytes: int = Field(16 * 2**30, gt=0, description="bytes of one array in memory, or of one member of an archive")
    max_frames: int = Field(100_000, gt=0, description="frames of one object")
    max_expansion: float = Field(
        200, ge=1, description="bytes that an archive may hold for each of its own, beyond the first 256 MiB"
    )
    max_members: int = Field(500_000, gt=0, description="members of one archive")
    max_path_length: int = Field(1024, gt=0, description="characters in the name of an archive's member")
    max_nonfinite_fraction: float = Field(
        0.01, ge=0, le=1, description="voxels that may be NaN or infinite, replaced by the floor"
    )


class Recipe(_Model):
    """The corpus to build."""

    corpus: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$", description="its name")
    out: str = Field(description="where it goes: a folder, or any fsspec URL")
    sources: tuple[SourceUse, ...] = Field(min_length=1)
    terms: TermsGate
    geometry: Geometry = Geometry()
    intensity: Intensity = Intensity()
    labels: Labels = Labels()
    splits: Splits = Splits()
    shards: Shards = Shards()
    limits: Limits = Limits()
    slices: Slices | None = Field(
        None, description="volumes become pictures: {along: axial, every_mm: 5, keep: foreground}"
    )
    policy: Policy = Field(Policy(), description="what may pass that could name a person: {accept: [text, ultrasound]}")
    temporal: Temporal = Field(
        "refuse",
        description="images over time: refuse; keep, one image of axes tzyx; split, each time point a case of its own",
    )
    duplicates: Literal["drop", "drop_exact", "keep"] = Field(
        "drop",
        description="samples of equal pixels, and with fingerprints re-written copies too; drop_exact: of equal pixels only",
    )
    identity: Identity = Identity()
    sampling: Sampling | None = Field(None, description="how often readers see what in an epoch of the train split")
    sites: Sites | None = Field(None, description="a view for each site, patients disjoint: {by: source} or {by: site}")
    about: About | None = Field(
        None, description="what croissant.json says of it: description, url, creators, published"
    )
    out_access: OutAccess = Field(
        OutAccess(), description="how the bucket of out is entered: {requester_pays:, preconditions:}"
    )

    @model_validator(mode="after")
    def _sources_once(self) -> Recipe:
        ids = [s.id for s in self.sources]
        if twice := {i for i in ids if ids.count(i) > 1}:
            raise ValueError(f"sources named twice: {sorted(twice)}")
        if isinstance(self.splits.test, HeldOut) and (strange := set(self.splits.test.sources) - set(ids)):
            raise ValueError(f"splits.test.sources names {sorted(strange)}, which sources: does not take")
        named = {"terms.override": [o.source for o in self.terms.override]}
        if self.sampling:
            named |= {"sampling.caps": list(self.sampling.caps), "sampling.anatomy": list(self.sampling.anatomy)}
        for where, those in named.items():
            if strange := set(those) - set(ids):
                raise ValueError(f"{where} names {sorted(strange)}, which sources: does not take")
        shares = [cap for cap in self.sampling.caps.values() if isinstance(cap, float)] if self.sampling else []
        if len(shares) == len(ids) and sum(shares) < 1:
            raise ValueError(
                f"sampling.caps leaves {1 - sum(shares):.0%} of an epoch to nobody; leave one source without a cap, or raise one"
            )
        return self

    @model_validator(mode="after")
    def _slices_of_volumes(self) -> Recipe:
        if self.slices is None:
            return self
        over_time = [s.id for s in self.sources if self.temporal_of(s.id) == "keep"]
        if over_time:
            raise ValueError(
                f"slices: are cut from volumes, and temporal: keep makes one image over time ({', '.join(over_time)}); "
                "use temporal: split, each time point a volume, or refuse"
            )
        if self.intensity.store == "native":
            raise ValueError(
                "slices: become PNG of 8 or 16 bits, and store: native may keep numbers that it cannot hold; "
                "use store: physical, which keeps scale and offset, or normalised"
            )
        return self

    def temporal_of(self, source: str) -> Temporal:
        """What becomes of images over time of a source."""
        return next((s.temporal for s in self.sources if s.id == source and s.temporal), self.temporal)

    def without_locations(self) -> dict[str, Any]:
        """The recipe as plain values, without the places where things lie: equal wherever it is run."""
        content = self.model_dump(
            mode="json",
            exclude={
                "out": True,
                "out_access": True,
                "identity": True,
                "sources": {"__all__": {"root", "access", "manifest", "table"}},
            },
        )
        if not self.splits.never_train:
            del content["splits"]["never_train"]  # as in recipes written before there was one
        if not self.policy.accept:
            del content["policy"]  # as in recipes written before there was one
        if self.temporal == "refuse":
            del content["temporal"]  # likewise
        if self.slices is None:
            del content["slices"]  # likewise
        return unset(content)


def load(path: str | Path) -> Recipe:
    """A recipe from its YAML file.

    Raises:
        UsageError: missing or wrong; the message names file, line and remedy.
    """
    recipe = yaml_file.load(Recipe, path)
    if not recipe.sources:
        raise UsageError(f"{path}: sources: is empty")
    return recipe
