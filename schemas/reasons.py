"""Why something was left out: the closed list of reason codes.

A reason is permanent: trying again gives the same answer. What may pass (a timeout, a full disk, a throttled store) has
no code here; it is retried, then raised.
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """One code per thing a user would do something different about. The text says what it means."""

    def __new__(cls, code: str, meaning: str) -> Reason:
        """A member from its code and what it means."""
        member = str.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    meaning: str

    # Files
    CORRUPT_GZIP = "corrupt_gzip", "the gzip stream is cut short, or its checksum or length does not match its content"
    TRUNCATED = "truncated", "fewer bytes of pixels than the header announces"
    UNREADABLE = "unreadable", "not a file of the format it claims to be"
    UNSUPPORTED = "unsupported", "a valid file of a kind that this version does not read"
    TOO_LARGE = "too_large", "the header announces more than the limits allow"
    MISSING_FILE = "missing_file", "a file that the layout asks for is not there"
    UNMATCHED = "unmatched", "an image or unknown file that no pattern of the source's layout asks for"
    CONFLICTING_FILES = "conflicting_files", "several files claim one place in a case"
    NO_IMAGE = "no_image", "a label whose image is not there"
    SOURCE_CHANGED = "source_changed", "the object is not the one that the inventory saw"
    DECODER_CRASH = "decoder_crash", "the decoder died on this file, twice, in fresh processes"
    DECODER_TIMEOUT = "decoder_timeout", "the decoder was still computing when its processor time was used up, twice"
    DECODER_MEMORY = "decoder_memory", "decoding the file takes more memory than a decoder is allowed"

    # Archives
    CORRUPT_ARCHIVE = "corrupt_archive", "the archive is cut short, or its directory or headers are damaged"
    UNSAFE_MEMBER = "unsafe_member", "a member whose name leads out of its archive, or that is a link or a device"
    ENCRYPTED = "encrypted", "the member is encrypted"
    BAD_CHECKSUM = "bad_checksum", "the member's content does not match its checksum"
    EXPANSION = "expansion", "a compressed stream announces or gives far more than its size allows"

    # Geometry
    BAD_SPACING = "bad_spacing", "a spacing is zero, negative or not finite"
    NO_GEOMETRY = "no_geometry", "spacing or position is missing; it is never invented"
    BAD_AFFINE = "bad_affine", "the voxel-to-world matrix is singular or not finite"
    SHEARED = "sheared", "the axes are not at right angles and no rule allows deskewing"
    NOT_A_VOLUME = "not_a_volume", "the shape is not the one asked for: fewer or more than three axes"
    MISSING_SLICES = "missing_slices", "the series has a gap: one or more slices are not there"
    IRREGULAR_SPACING = "irregular_spacing", "the steps between slices differ by more than the tolerance"
    CONFLICTING_SLICES = "conflicting_slices", "several slices at one position hold different pixels"
    LOCALIZER = "localizer", "a scout image, not a volume"
    INCOMPLETE = "incomplete", "too few slices, or slices without what is needed to place them"
    TILTED = "tilted", "the slices lean from their normal by more than deskewing can mend"
    TEMPORAL = (
        "temporal",
        "several time points at each position: not taken by the recipe (temporal: keep or split), or not to be told apart",
    )
    MULTIFRAME = "multiframe", "several frames in one instance, which does not say where they lie"

    OFF_GRID = (
        "off_grid",
        "an image cannot share the grid of its case's reference: there is none, it lies in another frame, or nowhere near",
    )

    # Intensity
    NOT_FINITE = "not_finite", "more voxels than allowed are not numbers"
    NO_SUV = "no_suv", "PET values that cannot become SUVbw: a field that the standard asks for is missing or unfit"
    NO_PIXELS = "no_pixels", "the object holds no image"

    # Labels
    UNMAPPED_LABEL = "unmapped_label", "the label holds a value that its table neither maps nor ignores"
    LABEL_GRID = "label_grid", "the label's grid is not its image's"
    LABEL_NOT_INTEGER = "label_not_integer", "the label holds values that are not integers"
    LABEL_UNREADABLE = "label_unreadable", "the image is sound, its label is not"
    ORPHAN_LABEL = "orphan_label", "a segmentation or structure set of a series that the source does not have"
    MISSING_LABEL = "missing_label", "the layout promises a label and there is none"

    # Annotations and texts
    BAD_ANNOTATION = (
        "bad_annotation",
        "a table's row says something that its manifest gives no meaning to, or cannot be",
    )
    POLICY_REFUSED = (
        "policy_refused",
        "its pixels or text may name a person and the recipe's policy does not accept that",
    )

    # Plan
    TERMS_REFUSED = "terms_refused", "the recipe does not accept the source's terms"
    TERMS_UNKNOWN = "terms_unknown", "the source states no terms and the recipe refuses unknown ones"
    EXCLUDED = "excluded", "the source manifest or the recipe excludes the case"
    NOT_SELECTED = "not_selected", "outside the recipe's modalities, --only or --limit"
    PATIENT_CONFLICT = (
        "patient_conflict",
        "its patient, or what belongs together with it, is published in another split",
    )
    NEVER_TRAIN = "never_train", "it belongs together with a case of a benchmark that the recipe never trains on"
    DUPLICATE = "duplicate", "the same pixels as another sample, which is kept"
    PUBLISHED = "published", "a sample of an earlier generation already; nothing is wrong with it"

    # Build
    NO_SLICE = "no_slice", "the recipe's slices keep none of this volume: nothing is labelled in it, or no body found"
    INVARIANT = "invariant", "the result broke a rule that every sample must obey"
    WITHDRAWN = "withdrawn", "taken back after publication"
