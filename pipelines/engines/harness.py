"""One worker process of a pool: `python -m pipelines.engines.harness CONTROL_ADDRESS WORKER_ID`."""

from __future__ import annotations

import contextlib
import logging
import sys

import grpc
from apache_beam.runners.worker.sdk_worker import SdkHarness


def main() -> None:
    """Work until the engine has no more, or is gone."""
    address, worker_id = sys.argv[1:]
    logging.basicConfig(level=logging.WARNING)
    # An engine may close the line instead of saying that it is done; what a worker held then is not half-done anywhere.
    with contextlib.suppress(grpc.RpcError):
        SdkHarness(address, worker_id=worker_id).run()


if __name__ == "__main__":
    main()
