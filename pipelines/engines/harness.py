"""One worker process of a pool: `python -m pipelines.engines.harness CONTROL_ADDRESS WORKER_ID`."""

from __future__ import annotations

import logging
import sys

from apache_beam.runners.worker.sdk_worker import SdkHarness


def main() -> None:
    """Work until the engine has no more."""
    address, worker_id = sys.argv[1:]
    logging.basicConfig(level=logging.WARNING)
    SdkHarness(address, worker_id=worker_id).run()


if __name__ == "__main__":
    main()
