"""Whether the scans of a JPEG stream say all of the picture, by their headers alone (ITU-T T.81 B.2.3 and G.1.1).

A progressive picture comes in many scans: first the 64 coefficients of each component without their lowest bits, band by
band, then one bit more at a time. A stream that ends between two scans is a picture to every decoder, a coarser one.
"""

from __future__ import annotations

from schemas.reasons import Reason
from transforms.read.jpeg import segments
from transforms.rejected import Rejected

_PROGRESSIVE = 0xC2
_SOF, _SOS = (0xC0, 0xC1, _PROGRESSIVE), 0xDA
_COEFFICIENTS = 64


def check_scans(stream: bytes) -> None:
    """Refuse a stream in which a component has no scan, or, in a progressive one, a coefficient lacks its last bit.

    Encoders that leave bits out on purpose are refused with those whose file was cut: the two cannot be told apart. Bytes that
    make no segments are left to the decoder.

    Raises:
        Rejected: TRUNCATED.
    """
    components, progressive = 0, False
    seen: set[int] = set()
    lowest: dict[tuple[int, int], int] = {}  # (component, coefficient): its lowest bit that a scan has said
    try:
        for marker, start, stop in segments(stream):
            content = stream[start:stop]
            if marker in _SOF and len(content) > 5:
                components, progressive = content[5], marker == _PROGRESSIVE
            if marker != _SOS or not content or len(content) < 4 + 2 * content[0]:
                continue
            numbers = content[1 : 1 + 2 * content[0] : 2]
            first, last, bits = content[1 + 2 * content[0] :][:3]
            if first == 0 or not progressive:
                seen |= set(numbers)
            for number in numbers:
                lowest |= {(number, k): bits & 15 for k in range(first, min(last, _COEFFICIENTS - 1) + 1)}
    except IndexError:
        pass  # no end marker: what is there counts
    if len(seen) < components:
        raise Rejected(
            Reason.TRUNCATED, f"expected scans of {components} components in the JPEG stream, found {len(seen)}"
        )
    if not progressive:
        return
    coarse = sum(lowest.get((number, k), 1) > 0 for number in seen for k in range(_COEFFICIENTS))
    if coarse:
        raise Rejected(
            Reason.TRUNCATED,
            f"the progressive JPEG stream ends before its last scans: {coarse} of {len(seen) * _COEFFICIENTS} coefficients "
            "lack bits",
        )
