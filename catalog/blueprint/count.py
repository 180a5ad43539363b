"""How many items of a data set a query is about: pictures, volumes, films."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from catalog.blueprint.query import BlueprintQuery
from schemas.dataset import DataSet


@dataclass(frozen=True)
class Count:
    """Items by kind; None: not stated. 0 where the kind is not asked for."""

    images: int | None = 0
    volumes: int | None = 0
    videos: int | None = 0

    @property
    def partial(self) -> bool:
        """Whether a kind that is asked for is not stated, so that there may be more."""
        return None in (self.images, self.volumes, self.videos)

    @property
    def items(self) -> int | None:
        """All of them: a volume or film counts as one. None where none of the kinds is stated."""
        stated = [n for n in (self.images, self.volumes, self.videos) if n is not None]
        return None if self.partial and not any(stated) else sum(stated)


def of(row: DataSet, query: BlueprintQuery) -> Count:
    """The items of a row that the query is about.

    Pictures for 2d (and volumes with volumes_as_2d), volumes for 3d and 4d, films for video; each kind that the row's
    dimensions name where no dimension is asked for. The catalog has no counts of cases or of volumes over time.
    """
    wanted = {
        "2d": ("2d", "3d") if query.volumes_as_2d else ("2d",),
        "3d": ("3d",),
        "4d": ("4d",),
        "video": ("video",),
        None: ("2d", "3d", "4d", "video"),
    }[query.dimension]
    has = set(row.dimensions) & set(wanted)
    return Count(
        images=row.n_images if "2d" in has else 0,
        volumes=row.n_volumes if has & {"3d", "4d"} else 0,
        videos=row.n_videos if "video" in has else 0,
    )


@dataclass(frozen=True)
class Sum:
    """What counts add up to, each data set once; `unknown`: data sets without a count."""

    datasets: int
    images: int
    volumes: int
    videos: int
    unknown: int


def add(counts: Iterable[Count]) -> Sum:
    """The sum of counts of different data sets."""
    each = list(counts)
    return Sum(
        len(each),
        sum(c.images or 0 for c in each),
        sum(c.volumes or 0 for c in each),
        sum(c.videos or 0 for c in each),
        sum(c.items is None for c in each),
    )
