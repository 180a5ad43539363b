"""The errors a caller of this library, or of the builder, can handle: one class per decision."""

from __future__ import annotations


class MdfpError(Exception):
    """Base of every error raised on purpose. Its message says what was expected, what was found, and the remedy."""


class CorpusError(MdfpError):
    """A corpus, manifest, index or shard is missing or is not what its manifest says."""


class UsageError(MdfpError, ValueError):
    """An argument, option, recipe or source manifest is wrong; nothing was done."""


class NoCorpusError(CorpusError, UsageError):
    """There is no corpus at a URL, or no such manifest: what was named is wrong, not what lies there."""


class MissingExtraError(MdfpError, ImportError):
    """An optional library is needed for what was asked."""


class CancelledError(MdfpError):
    """Somebody asked a build to stop. What was committed stays; a later build goes on from there."""


def require(module: str, extra: str) -> None:
    """Raise a helpful error when an optional library is absent.

    Args:
        module: top-level module that is needed.
        extra: the extra of this package that installs it.

    Raises:
        MissingExtraError: `module` cannot be found.
    """
    from importlib.util import find_spec

    if find_spec(module) is None:
        raise MissingExtraError(f"this needs {module!r}, which is not installed: pip install 'mdfp[{extra}]'")
