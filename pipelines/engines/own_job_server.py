"""A job server that ends with the run it was started for."""

from __future__ import annotations

from typing import Any

from apache_beam.runners.portability import job_server


class OwnJobServer:
    """For a runner of Beam's that starts a job server: put before it among the bases.

    Beam keeps a job server until the interpreter ends; a run of ours has several graphs, and a JVM for each would stay.
    """

    _server: job_server.JobServer | None = None

    def default_job_server(self, options: Any) -> job_server.JobServer:
        """The runner's own, remembered."""
        base: Any = super()
        self._server = base.default_job_server(options)
        return self._server

    def stop(self) -> None:
        """End the server, if one was started."""
        if isinstance(self._server, job_server.StopOnExitJobServer):
            self._server.stop()
