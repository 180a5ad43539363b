"""`python -m examples.pictures FOLDER`."""

import sys
from pathlib import Path

from examples.pictures import write_all

if len(sys.argv) != 2:
    sys.exit("python -m examples.pictures FOLDER")
write_all(Path(sys.argv[1]))
print(f"wrote {sys.argv[1]}")
