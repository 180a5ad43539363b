"""Start a Spark cluster on this machine and keep it until interrupted: `python -m infra.spark`."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from pathlib import Path

from infra.spark.standalone import ClusterError, cluster
from mdfp.errors import UsageError


def main() -> int:
    """1 when it did not start."""
    parser = argparse.ArgumentParser(prog="python -m infra.spark", description=__doc__.partition("\n")[0])
    parser.add_argument("--cores", type=int, default=2, help="of the worker")
    parser.add_argument("--memory-mb", type=int, default=4096, help="for its executors")
    parser.add_argument("--port", type=int, default=7077, help="of the master; 0: any that is free")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with tempfile.TemporaryDirectory(prefix="mdfp-spark-") as folder:
        try:
            with cluster(Path(folder), cores=asked.cores, memory_mb=asked.memory_mb, port=asked.port) as found:
                print(f"Spark is at {found.master}, its worker pool at {found.pool}. Build on it with:")
                print(f"  python -m pipelines run RECIPE --runner spark -- {' '.join(found.beam_args())}", flush=True)
                signal.pause()
        except (ClusterError, UsageError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
