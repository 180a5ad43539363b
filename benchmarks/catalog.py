"""How long the catalog takes: a fresh process that imports, loads and validates it; then tables, search and SQL.

python -m benchmarks.catalog
"""

from __future__ import annotations

import json
import subprocess
import sys

ROUNDS = 5

CODE = """
import json, time
start = time.perf_counter()
from catalog import datasets, query
imported = time.perf_counter()
catalog = datasets.load()
loaded = time.perf_counter()
catalog.table()
tabled = time.perf_counter()
found = query.Search(catalog, query.Query(words=("tumor",), modalities=("CT", "MR"), dimensions=("3d",)))
rows = found.totals().datasets
searched = time.perf_counter()
print(json.dumps({"import": imported - start, "load and validate": loaded - imported, "table": tabled - loaded,
                  "search": searched - tabled, "rows": len(catalog), "found": rows}))
"""


def main() -> None:
    """Print the fastest of some rounds, in seconds."""
    rounds = [
        json.loads(subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True).stdout)
        for _ in range(ROUNDS)
    ]
    fastest = {k: round(min(r[k] for r in rounds), 3) for k in rounds[0]}
    for name, value in fastest.items():
        print(f"{name:20} {value}")
    print(json.dumps(fastest))


if __name__ == "__main__":
    main()
