"""dataset.json, the side file in which the Decathlon and nnU-Net say what a data set holds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from mdfp.errors import UsageError
from schemas.layouts import ImageChannel
from transforms.layouts.registry import Read
from transforms.rejected import Rejected


def load(folder: str, read: Read) -> tuple[str, dict[str, Any]]:
    """dataset.json of a data set, and the prefix of its files below the root.

    It is looked for in `folder` and then in the root itself, so that a root may be the folder or its parent.

    Args:
        folder: folder of the manifest, below the root; empty: the root.
        read: gives the bytes of a file.

    Raises:
        UsageError: it is in neither place, or is not a JSON object.
    """
    places = list(dict.fromkeys([f"{folder.strip('/')}/" if folder.strip("/") else "", ""]))
    for prefix in places:
        try:
            content = read(f"{prefix}dataset.json")
        except Rejected:
            continue
        try:
            described = json.loads(content.decode("utf-8-sig"))
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{prefix}dataset.json is not JSON: {error}") from error
        if not isinstance(described, dict):
            raise UsageError(f"{prefix}dataset.json: expected an object, found {type(described).__name__}")
        return prefix, described
    raise UsageError(
        f"no dataset.json at {' or '.join(repr(p + 'dataset.json') for p in places)} below the root; is the root "
        "right? Give it with --root SOURCE=PATH_OR_URL"
    )


def check_channels(described: dict[str, Any], channels: Sequence[ImageChannel]) -> None:
    """Whether dataset.json has as many channels as the manifest.

    Raises:
        UsageError: it has more or fewer.
    """
    stated = described.get("channel_names") or described.get("modality")
    if isinstance(stated, dict) and len(stated) != len(channels):
        raise UsageError(
            f"dataset.json has {len(stated)} channels ({', '.join(str(v) for v in stated.values())}), "
            f"layout.channels of the manifest has {len(channels)} ({', '.join(c.name for c in channels)})"
        )


def relative(prefix: str, path: object) -> str:
    """A path of dataset.json (`./imagesTr/x.nii.gz`) below the root.

    Raises:
        UsageError: it is not text, or leads out of the data set's folder.
    """
    if not isinstance(path, str):
        raise UsageError(f"dataset.json: expected a path, found {path!r}")
    parts = [p for p in path.replace("\\", "/").split("/") if p not in ("", ".")]
    if ".." in parts or not parts:
        raise UsageError("dataset.json: a path leads out of its folder")
    return prefix + "/".join(parts)
