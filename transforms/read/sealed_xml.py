"""XML from strangers: elements and their text, and nothing that XML can do beside.

The standard library's expat, event by event; no tree is built. A document type declaration is refused wherever it stands,
and with it every entity but the five of the language: no expansion of entities, no external file, no parameter entity.
Size, depth, elements and the text of one element are bounded.
"""

from __future__ import annotations

from collections.abc import Callable
from xml.parsers import expat

from schemas.reasons import Reason
from transforms.rejected import Rejected
from transforms.scratch import Bytes

MAX_BYTES = 64 << 20
"""Of one file. The largest files of LIDC-IDRI have some MB."""

MAX_DEPTH = 32
"""Elements within each other."""

MAX_ELEMENTS = 5_000_000
"""Of one file: about what `MAX_BYTES` of short elements hold."""

MAX_TEXT = 4096
"""Characters of the text of one element."""

_CHUNK = 1 << 16

Start = Callable[[str], None]
"""Called with the name of an element that begins; prefixes of namespaces are cut off."""
End = Callable[[str, str], None]
"""Called with the name of an element that ends, and the text directly in it, without blanks around it."""


def walk(data: Bytes, start: Start, end: End) -> None:
    """Tell the elements of a file, in order.

    Args:
        data: the file.
        start: see `Start`; may raise `Rejected`.
        end: see `End`; may raise `Rejected`.

    Raises:
        Rejected: UNREADABLE, not well-formed; UNSUPPORTED, it declares a document type or entities; TOO_LARGE.
    """
    if len(data) > MAX_BYTES:
        raise Rejected(Reason.TOO_LARGE, f"{len(data)} bytes of XML, {MAX_BYTES} are read")
    parser = _parser(_Walk(start, end))
    try:
        for first in range(0, len(data), _CHUNK):
            parser.Parse(bytes(data[first : first + _CHUNK]), False)
        parser.Parse(b"", True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        # The message of expat names a place and no content.
        what = str(error) if isinstance(error, expat.ExpatError) else type(error).__name__
        raise Rejected(Reason.UNREADABLE, f"not well-formed XML: {what}") from error


class _Walk:
    """The state between events: for each open element its name and its text so far."""

    def __init__(self, start: Start, end: End) -> None:
        self._start, self._end = start, end
        self._open: list[tuple[str, list[str]]] = []
        self._lengths: list[int] = []
        self._elements = 0

    def start(self, name: str, attributes: object) -> None:
        self._elements += 1
        if self._elements > MAX_ELEMENTS:
            raise Rejected(Reason.TOO_LARGE, f"more than {MAX_ELEMENTS} elements of XML")
        if len(self._open) == MAX_DEPTH:
            raise Rejected(Reason.TOO_LARGE, f"more than {MAX_DEPTH} elements of XML within each other")
        name = name.rpartition(":")[2]
        self._open.append((name, []))
        self._lengths.append(0)
        self._start(name)

    def text(self, data: str) -> None:
        if not self._open:
            return
        self._lengths[-1] += len(data)
        if self._lengths[-1] > MAX_TEXT:
            raise Rejected(Reason.TOO_LARGE, f"an element of XML with more than {MAX_TEXT} characters of text")
        self._open[-1][1].append(data)

    def end(self, name: str) -> None:
        name, text = self._open.pop()
        self._lengths.pop()
        self._end(name, "".join(text).strip())


def _parser(walk: _Walk) -> expat.XMLParserType:
    parser = expat.ParserCreate()
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    parser.buffer_text = True
    parser.StartElementHandler = walk.start
    parser.EndElementHandler = walk.end
    parser.CharacterDataHandler = walk.text
    parser.StartDoctypeDeclHandler = _refuse
    parser.EntityDeclHandler = _refuse
    parser.ExternalEntityRefHandler = _refuse  # type: ignore[assignment]  # it never returns
    return parser


def _refuse(*declaration: object) -> None:
    raise Rejected(Reason.UNSUPPORTED, "the XML declares a document type or entities, which are not read")
