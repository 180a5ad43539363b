"""Build the sidecar of one shard and commit it: exactly once visible, whatever dies or runs twice.

skip if its marker and what it names are there
for each sample that has masks, in the shard's order:  fetch -> read -> bring to its image's grid -> append to a tar on scratch
create   sidecars/<split>/<source>-<n>.<layer>-<sha>.tar       (content name: equal bytes, equal name)
create   labels/<layer>/rows/<shard>-<sha>.arrow.zst           (the new index rows of these samples, likewise)
create   labels/<layer>/commits/<shard>.<fingerprint>.json     the commit point; a loser adopts the winner

Nothing of it is seen by readers before a manifest names it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mdfp import arrow, canonical, index
from mdfp.codecs import VolumeCodec
from mdfp.sample import Member, Sample
from mdfp.tar import TarWriter
from schemas.case import Reject
from schemas.label_work import LabelMarker, MaskFile, ShardLabels
from schemas.plan import RowsFile
from schemas.reasons import Reason
from transforms import commit
from transforms.labels.added import Adding, MaskLayers, prepared, read_mask, with_masks
from transforms.normalise.flat import png_bytes
from transforms.read.array import Blob
from transforms.rejected import Rejected
from transforms.retry import with_retries
from transforms.rows import rows_bytes
from transforms.store import CorpusStore, SourceStore
from transforms.withdraw import shard_of

STAGE = "labels"
"""Of rejects: a mask could not be added."""

NAME_CHARACTERS = 100
"""A member's name has no more: the field of a ustar header (POSIX.1-1988)."""


def work_folder(layer: str) -> str:
    """Where an addition keeps what it needs until it is published, below the corpus."""
    return f"labels/{layer}"


def marker_path(layer: str, work: ShardLabels) -> str:
    """Path of the marker of a shard's labels below the corpus."""
    return f"{work_folder(layer)}/commits/{shard_of(work.shard)}.{work.fingerprint[:16]}.json"


def read_marker(corpus: CorpusStore, path: str) -> LabelMarker:
    """A marker.

    Raises:
        FileNotFoundError: it is not there.
    """
    return arrow.from_dict(LabelMarker, json.loads(corpus.read(path)))


def committed(corpus: CorpusStore, layer: str, work: ShardLabels) -> LabelMarker | None:
    """The marker of a shard's labels when it is there, and its sidecar and rows are in full length, else None."""
    try:
        marker = read_marker(corpus, marker_path(layer, work))
    except FileNotFoundError:
        return None
    if marker.path is not None and corpus.size(marker.path) != marker.bytes:
        return None
    if marker.rows is not None and corpus.size(marker.rows.path) != marker.rows.bytes:
        return None
    return marker


@dataclass(frozen=True)
class SidecarBuilder:
    """Builds sidecars of one set of masks; one per process.

    Attributes:
        adding: what the masks are.
        masks: where their files lie.
        corpus: where the sidecars go.
        scratch: local folder for the tar while it is built.
        attempts: how often a failing request to a store is tried.
    """

    adding: Adding
    masks: SourceStore
    corpus: CorpusStore
    scratch: Path
    attempts: int = 4

    def build(
        self, work: ShardLabels, files: Sequence[MaskFile], records: Sequence[Sample]
    ) -> tuple[LabelMarker, bool]:
        """Build and commit the sidecar of a shard, or find that it is there already.

        Args:
            work: the shard.
            files: masks of its samples.
            records: index rows of its samples, in order.

        Returns:
            Its marker, and whether this call built it.

        Raises:
            OSError: what may pass; nothing half-done is visible.
        """
        layer = self.adding.spec.layer
        if (marker := committed(self.corpus, layer, work)) is not None:
            return marker, False
        with tempfile.TemporaryDirectory(prefix="mdfp-sidecar-", dir=self.scratch) as folder:
            tar = Path(folder) / "sidecar.tar"
            made, rejects, sha256, size = self.write_tar(tar, files, records)
            path, rows = None, None
            if made:
                path = f"sidecars/{shard_of(work.shard)}.{layer}-{sha256[:16]}.tar"
                if not commit.create_file(tar, self.corpus, path) and self.corpus.size(path) != size:
                    raise commit.CommitError(
                        f"{self.corpus.url(path)}: expected {size} bytes, found {self.corpus.size(path)}; its name says "
                        "that it holds these very bytes. Remove it and run again."
                    )
                rows = self._write_rows(work, [_placed(s, path) for s in made])
        built = LabelMarker(
            shard=work.shard,
            fingerprint=work.fingerprint,
            path=path,
            bytes=size if path else 0,
            sha256=sha256 if path else None,
            samples=len(made),
            masks=len({(f.key, f.image) for f in files}) - len(rejects),
            rows=rows,
            rejects=tuple(rejects),
        )
        name = marker_path(layer, work)
        created = commit.create_bytes(canonical.dumps(built), self.corpus, name)
        return (built, True) if created else (self._adopted(built, name), False)

    def _adopted(self, built: LabelMarker, name: str) -> LabelMarker:
        """The marker of another attempt; ours in its place where what it names was lost or cleaned away since."""
        winner = read_marker(self.corpus, name)
        named = [p for p in (winner.path, winner.rows.path if winner.rows else None) if p is not None]
        if all(self.corpus.exists(p) for p in named):
            return winner
        commit.replace(canonical.dumps(built), self.corpus, name)
        return built

    def write_tar(
        self, tar: Path, files: Sequence[MaskFile], records: Sequence[Sample]
    ) -> tuple[list[Sample], list[Reject], str, int]:
        """Write the tar into a local file without committing it.

        Returns:
            New records of the samples that have members in it, which say where but not in which tar; what could not be
            used; its sha256 and its size.
        """
        mine: dict[str, list[MaskFile]] = {}
        for file in files:
            mine.setdefault(file.key, []).append(file)
        made: list[Sample] = []
        rejects: list[Reject] = []
        with tar.open("xb") as stream:
            writer = TarWriter(stream)
            for record in records:
                if record.key in mine:
                    masks, refused = self._masks(record, mine[record.key])
                    rejects += refused
                    if masks:
                        made.append(self._append(writer, record, masks))
            sha256, size = writer.finish()
        return made, rejects, sha256, size

    def _masks(self, record: Sample, files: Sequence[MaskFile]) -> tuple[list[MaskLayers], list[Reject]]:
        """The masks of a sample, an image after the other; one that cannot be used leaves the others."""
        by_image: dict[str, list[MaskFile]] = {}
        for file in files:
            by_image.setdefault(file.image, []).append(file)
        made: list[MaskLayers] = []
        rejects: list[Reject] = []
        for name, those in sorted(by_image.items()):
            try:
                blobs = [(self._fetched(f), f.structure) for f in those]
                mask = read_mask(record, record.image(name), blobs, self.adding)
                _check_names(record, mask)
                made.append(mask)
            except Rejected as fault:
                detail = f"mask of {name!r}: {fault.detail}"
                rejects.append(Reject(STAGE, record.source, record.case_id, fault.reason, detail, None))
        return made, rejects

    def _fetched(self, file: MaskFile) -> Blob:
        data = with_retries(lambda: self.masks.read_object(file.path, file.bytes, file.version), attempts=self.attempts)
        return Blob(file.path, data, self.masks.local(file.path))

    def _append(self, tar: TarWriter, record: Sample, masks: Sequence[MaskLayers]) -> Sample:
        codec = VolumeCodec()
        added = []
        for label, array in (pair for mask in masks for pair in mask.layers):
            flat = array.ndim == 2
            data, extension = (png_bytes(array), "png") if flat else (codec.encode(array), codec.extension)
            at = tar.add(f"{record.key}.label.{label.layer}.{extension}", data)
            added.append(Member(at.name, "label", label.layer, at.offset, at.bytes, _HERE))
        joined = with_masks(prepared(record, self.adding), masks, self.adding)
        return dataclasses.replace(joined, members=(*record.members, *added))

    def _write_rows(self, work: ShardLabels, samples: Sequence[Sample]) -> RowsFile:
        data = rows_bytes(arrow.to_table(Sample, samples))
        sha256 = hashlib.sha256(data).hexdigest()
        path = f"{work_folder(self.adding.spec.layer)}/rows/{shard_of(work.shard)}-{sha256[:16]}.arrow.zst"
        if not commit.create_bytes(data, self.corpus, path) and self.corpus.size(path) != len(data):
            raise commit.CommitError(
                f"{self.corpus.url(path)}: expected {len(data)} bytes, found {self.corpus.size(path)}; remove it and run "
                "again"
            )
        return RowsFile(path, len(data), sha256, index.rows_digest(samples))


_HERE = "-"
"""Stands for the sidecar's path until its hash, and so its name, is known."""


def _placed(record: Sample, path: str) -> Sample:
    members = tuple(dataclasses.replace(m, shard=path) if m.shard == _HERE else m for m in record.members)
    return dataclasses.replace(record, members=members)


def _check_names(record: Sample, mask: MaskLayers) -> None:
    """Refuse layers whose members a tar cannot name: overlaps make long names longer.

    Raises:
        Rejected: UNSUPPORTED.
    """
    longest = max((len(label.layer) for label, _ in mask.layers), default=0)
    if len(f"{record.key}.label..b2nd") + longest > NAME_CHARACTERS:
        raise Rejected(
            Reason.UNSUPPORTED, f"a member's name has at most {NAME_CHARACTERS} characters; take a shorter layer:"
        )
