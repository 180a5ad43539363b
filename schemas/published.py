"""A published table of series: what an archive's own index says, from which a deferred inventory is made.

It is a file beside the recipe, never part of a corpus: ids stand in it as the archive publishes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True)
class PublishedSeries:
    """One DICOM series, in a folder of its own that holds nothing else."""

    folder: Annotated[str, "below the source's root, without a slash at its end; its name changes with its content"]
    series_instance_uid: Annotated[str, "SeriesInstanceUID"]
    study_instance_uid: Annotated[str, "StudyInstanceUID"]
    patient_id: Annotated[str, "PatientID, as the archive publishes it"]
    collection: Annotated[str, "collection of the archive"]
    modality: Annotated[str, "DICOM Modality code"]
    body_part: Annotated[str | None, "Body Part Examined (0018,0015)"]
    instances: Annotated[int, "instances"]
    bytes: Annotated[int, "size; an archive may publish it rounded"]
    license: Annotated[str, "SPDX id or LicenseRef-<name>"]
    doi: Annotated[str | None, "DOI of the data set that the series came with"]
    study_date: Annotated[str | None, "YYYYMMDD; shifted by the archive"]
