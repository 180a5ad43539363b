"""`mdfp …` and `python -m mdfp …`: the reader's command line."""

from __future__ import annotations

import sys
from importlib.util import find_spec


def main() -> None:
    """Run the command line, or say in one line what it needs."""
    if missing := [name for name in ("typer", "rich") if find_spec(name) is None]:
        sys.stderr.write(f"mdfp: the command line needs {' and '.join(missing)}: pip install 'mdfp[cli]'\n")
        raise SystemExit(2)
    from mdfp.cli import run

    run(sys.argv[1:])


if __name__ == "__main__":
    main()
