"""Whether the code that runs is the code a plan was made for: asked by the driver, and by every worker for itself.

A worker may have been started from another image or checkout than its driver, or after an upgrade in the middle of a
run. It would write its own bytes under the fingerprint of the plan's.
"""

from __future__ import annotations

from collections.abc import Mapping

from mdfp.errors import UsageError
from transforms import environment
from transforms.pixel_version import PIXEL_VERSION


def require_same_code(pixel_version: int, planned: Mapping[str, str], *, any_environment: bool = False) -> None:
    """Do nothing when this code makes what the plan says.

    Args:
        pixel_version: the plan's.
        planned: the environment that the plan was made in.
        any_environment: accept other versions of libraries, as `--rebuild` does.

    Raises:
        UsageError: it would make other voxels or other bytes.
    """
    if pixel_version != PIXEL_VERSION:
        raise UsageError(
            f"the plan was made for pixel version {pixel_version}, this is {PIXEL_VERSION}; make a new plan, and see that "
            "driver and workers run the same code"
        )
    different = environment.difference(dict(planned), environment.locked())
    if different and not any_environment:
        raise UsageError(
            f"this environment is not the one the plan was made in: {different}. Install the pinned versions "
            "(constraints.txt), on workers too; make a new plan, or accept other bytes with --rebuild"
        )
