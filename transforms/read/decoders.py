"""What runs in the child process of `transforms.read.isolated`: decoders of compressed pixels, from wheels in C and C++.

Each takes bytes and gives an array, or says by `Rejected` why it cannot.
"""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy.typing as npt
import pydicom
from pydicom.pixels import get_decoder, pixel_array

from schemas.reasons import Reason
from transforms.rejected import Rejected

# pydicom warns and logs about values that break the standard, and quotes them: a header would reach a log.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE


def dicom_pixels(data: bytes) -> npt.NDArray[Any]:
    """Stored values of a DICOM file whose pixels are compressed, as pydicom decodes them.

    Raises:
        Rejected: UNREADABLE, the stream cannot be decoded.
    """
    try:
        dataset = pydicom.dcmread(io.BytesIO(data))
        syntax = dataset.file_meta.TransferSyntaxUID
        if syntax.is_encapsulated and not (decoder := get_decoder(syntax)).is_available:
            missing = decoder.missing_dependencies
        else:
            return pixel_array(dataset, raw=True)
    except (
        RuntimeError,
        ValueError,
        TypeError,
        KeyError,
        NotImplementedError,
        AttributeError,
        IndexError,
        EOFError,
        OSError,
        struct.error,
    ) as error:
        raise Rejected(
            Reason.UNREADABLE, f"the compressed pixels cannot be decoded ({type(error).__name__})"
        ) from error
    raise LookupError(f"no decoder installed for {syntax.name}: {missing}")
