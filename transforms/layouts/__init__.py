"""Layouts: from the listing of a bucket to the files of each case, as the source manifest describes it."""

from transforms.layouts import dicom, folders, msd, nnunet, paired, per_structure, table  # noqa: F401 (each registers its kind)
from transforms.layouts.case_files import ArrayFiles, CaseFiles, Fault, Found, HeaderFile
from transforms.layouts.group import Counts, Grouped, group
from transforms.layouts.registry import get, kinds, register

__all__ = [
    "ArrayFiles",
    "CaseFiles",
    "Counts",
    "Fault",
    "Found",
    "Grouped",
    "HeaderFile",
    "get",
    "group",
    "kinds",
    "register",
]
