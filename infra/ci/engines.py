"""Say which engines and optional parts the tests will really use; fail when an expected one is missing."""

from __future__ import annotations

import os
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version


def main() -> int:
    """Print a line for each; 1 when one that must be here is not."""
    missing = []
    print("engine: Beam FnApiRunner in process, and with several processes (apache-beam", version("apache-beam") + ")")
    for package, what in {
        "torch": "torch data set",
        "webdataset": "plain webdataset",
        "nibabel": "second NIfTI reader",
    }.items():
        try:
            print(f"part: {what} ({package} {version(package)})")
        except PackageNotFoundError:
            print(f"part: {what}: {package} is MISSING")
            missing.append(package)
    dcm2niix = shutil.which("dcm2niix")
    print(f"part: second DICOM reader ({dcm2niix or 'dcm2niix is MISSING'})")
    if dcm2niix is None:
        missing.append("dcm2niix")
    testdata = os.environ.get("MDFP_TESTDATA")
    print(f"real files: {testdata or 'not here; set MDFP_TESTDATA to use them'}")
    if missing and os.environ.get("CI"):
        print("missing:", ", ".join(missing))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
