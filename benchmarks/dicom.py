"""DICOM: headers scanned a second, and a series decoded, each beside the usual reader, in one process and one thread.

    python -m benchmarks.dicom
    python -m benchmarks.dicom --slices 300 --rounds 5

A CT-like series of 512×512 slices with headers of about 100 elements is generated, uncompressed and in explicit little
endian, and read once before anything is timed, so that files are warm. Figures are CPU seconds, medians of the rounds;
both readers run in each round. Headers are read from their first 64 KB, as the inventory reads them, pixels skipped.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk  # noqa: N813 (its usual name)
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset

from schemas.recipe import Limits
from transforms.read import dicom, series

EDGE = 512


def write_series(folder: Path, slices: int) -> list[Path]:
    """A series of noise; each file is as large and its header as long as those of a scanner."""
    rng = np.random.default_rng(0)
    paths = []
    for n in range(slices):
        ds = Dataset()
        ds.SOPClassUID, ds.SOPInstanceUID = uid.CTImageStorage, f"1.2.3.4.{n + 1}"
        ds.Modality, ds.PatientID, ds.StudyDate, ds.Manufacturer = "CT", "p", "20200102", "Scanner"
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = "1.2.3", "1.2.3.4", "1.2.9"
        ds.ImageType, ds.InstanceNumber = ["ORIGINAL", "PRIMARY", "AXIAL"], n + 1
        ds.ImagePositionPatient, ds.ImageOrientationPatient = [-180, -180, 1.25 * n], [1, 0, 0, 0, 1, 0]
        ds.PixelSpacing, ds.SliceThickness, ds.KVP = [0.7, 0.7], 1.25, 120
        ds.RescaleSlope, ds.RescaleIntercept = 1, -1024
        ds.Rows = ds.Columns = EDGE
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
        ds.add_new(0x00090010, "LO", "BENCHMARK")
        for element in range(60):
            ds.add_new(0x00091000 + element, "LO", f"private value {element}")
        request = Dataset()
        request.ReferencedSOPClassUID, request.ReferencedSOPInstanceUID = uid.CTImageStorage, "1.2.3.4"
        ds.ReferencedImageSequence = [request, request]
        ds.PixelData = rng.integers(0, 2000, (EDGE, EDGE), dtype=np.int16).tobytes()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
        paths.append(folder / f"{n:05}.dcm")
        pydicom.dcmwrite(paths[-1], ds, enforce_file_format=True)
    return paths


def scan(paths: Sequence[Path]) -> None:
    """Our header scan."""
    for path in paths:
        with path.open("rb") as file:
            dicom.read_instance(file.read(dicom.HEADER_PREFIX_BYTES), path=path.name, file_bytes=path.stat().st_size)


def scan_with_pydicom(paths: Sequence[Path]) -> None:
    """pydicom's, which converts a value only when it is asked for: nothing is asked for here."""
    for path in paths:
        pydicom.dcmread(path, stop_before_pixels=True)


def decode(paths: Sequence[Path]) -> np.ndarray:
    """Diagnosis and voxels of a series, from files to physical numbers in one array."""
    files = [(p.name, p.read_bytes()) for p in paths]
    instances = [dicom.read_instance(d, path=n, file_bytes=len(d)) for n, d in files]
    (found,) = series.diagnose(instances).volumes
    return series.read(files, found.header, Limits()).array_zyx


def decode_with_itk(paths: Sequence[Path]) -> sitk.Image:
    """SimpleITK's series reader, as its examples use it; it adds RescaleIntercept to every voxel, we keep it beside."""
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(paths[0].parent)))
    return reader.Execute()


def cpu_seconds(work: Callable[[Sequence[Path]], object], paths: Sequence[Path]) -> float:
    """CPU seconds of one call."""
    start = time.process_time()
    work(paths)
    return time.process_time() - start


def compare(ours: Callable, theirs: Callable, paths: Sequence[Path], rounds: int) -> tuple[float, float]:
    """Medians of CPU seconds of two readers that take turns."""
    times = [(cpu_seconds(ours, paths), cpu_seconds(theirs, paths)) for _ in range(rounds)]
    return statistics.median(a for a, _ in times), statistics.median(b for _, b in times)


def main(argv: Sequence[str] | None = None) -> None:
    """Generate, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(argv)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        paths = write_series(Path(folder), options.slices)
        same = bool(np.array_equal(decode(paths) - 1024, sitk.GetArrayFromImage(decode_with_itk(paths))))
        header_s, pydicom_s = compare(scan, scan_with_pydicom, paths, options.rounds)
        series_s, itk_s = compare(decode, decode_with_itk, paths, options.rounds)
    count = len(paths)
    print(f"headers: {count / header_s:.0f} files/s, pydicom {count / pydicom_s:.0f} files/s")
    print(
        f"{count} slices {EDGE}×{EDGE}: {series_s:.2f} s, SimpleITK {itk_s:.2f} s, {itk_s / series_s:.1f} times as fast"
    )
    figures = {
        "headers_per_s": round(count / header_s),
        "pydicom_headers_per_s": round(count / pydicom_s),
        "series_s": round(series_s, 3),
        "simpleitk_s": round(itk_s, 3),
        "voxels_equal": same,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
