"""Files of readers' marks as functions of bytes, and what they may begin from."""

from __future__ import annotations

from collections.abc import Callable

from tests.lidc_files import GRADES, Drawn, Reader, Roi, lidc_xml, rectangle
from transforms.read import lidc

_SHAPE = (3, 40, 50)
_SLICES = {f"1.2.3.4.{z + 1}": z for z in range(_SHAPE[0])}


def lidc_reader() -> tuple[Callable[[bytes], None], Callable[[], list[bytes]], tuple[bytes, ...]]:
    """Reader, seeds and words of the XML of LIDC-IDRI."""
    words = (
        b"<!DOCTYPE a [<!ENTITY b 'c'>]>", b"<!ENTITY % a SYSTEM 'b'>", b"&amp;", b"&#0;", b"&#x10ffff;", b"&b;", b"<![CDATA[",
        b"]]>", b"<!--", b"-->", b"<?a b?>", b"<roi>", b"</roi>", b"<edgeMap>", b"</edgeMap>", b"<xCoord>", b"</yCoord>",
        b"<readingSession>", b"</readingSession>", b"<inclusion>FALSE</inclusion>", b"<unblindedReadNodule>",
        b"</unblindedReadNodule>", b"0", b"-1", b"1e400", b"nan", b"9" * 30, b"\xff\xfe", b"\0", b"UTF-16", b"UTF-7",
    )  # fmt: skip
    return _read, _seeds, words


def _read(data: bytes) -> None:
    marks = lidc.parse(data)
    marks.outlined()
    for session in marks.sessions:
        lidc.reader_mask(session, _SLICES, _SHAPE)


def _seeds() -> list[bytes]:
    def roi(z: int, *edges: int, inclusion: str = "TRUE") -> Roi:
        return Roi(f"1.2.3.4.{z + 1}", rectangle(*edges), inclusion)

    holed = Drawn([roi(0, 3, 3, 20, 20), roi(0, 6, 6, 9, 9, inclusion="FALSE"), roi(1, 4, 4, 18, 18)], GRADES)
    small = Drawn([Roi("1.2.3.4.3", [(4, 5)])])
    readers = [Reader([holed, small]), Reader([], [Roi("1.2.3.4.1", [(1, 2)])]), Reader()]
    good = lidc_xml("1.2.3.4", readers)
    bomb = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>'
    wide = good.decode().replace("UTF-8", "UTF-16").encode("utf-16")
    return [good, lidc_xml("1.2.3.4", [Reader()]), lidc_xml("&b;", readers[:1], prolog=bomb), wide]
