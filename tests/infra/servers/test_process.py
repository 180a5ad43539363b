from __future__ import annotations

import os
import sys
import time

import pytest

from infra.servers import process
from infra.servers.process import HOST, ServerError, free_port, serving

# A server of the standard library that hands its process number out.
SERVER = """
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_error(404)
print(os.getpid(), flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def _alive(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    return True


def _words(port: int) -> list[str]:
    return [sys.executable, "-c", SERVER, str(port)]


@pytest.mark.parametrize("error", [None, RuntimeError, KeyboardInterrupt])
def test_a_server_is_stopped_whatever_the_body_does(tmp_path, error):
    port, log = free_port(), tmp_path / "log"
    try:
        with serving(_words(port), {}, f"http://{HOST}:{port}/", log):
            number = int(log.read_text().splitlines()[0])
            assert _alive(number)
            if error:
                raise error
    except (RuntimeError, KeyboardInterrupt):
        assert error
    assert not _alive(number)


def test_any_answer_says_that_a_server_is_up(tmp_path):
    port = free_port()
    with serving(_words(port), {}, f"http://{HOST}:{port}/not-there", tmp_path / "log"):
        pass


def test_a_server_that_ends_shows_the_end_of_its_log(tmp_path):
    words = [sys.executable, "-c", "import sys; sys.exit('no such option')"]
    with pytest.raises(ServerError, match="ended with 1 before it answered") as raised, _started(words, tmp_path):
        pass
    assert "no such option" in str(raised.value)


def test_a_server_that_does_not_answer_is_given_up_and_stopped(tmp_path):
    words = [sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(60)"]
    start = time.monotonic()
    with pytest.raises(ServerError, match=r"no answer at .* after 1 s"), _started(words, tmp_path, timeout_s=1):
        pass
    assert time.monotonic() - start < 10
    assert not _alive(int((tmp_path / "log").read_text()))


def test_a_server_that_does_not_want_to_stop_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(process, "STOP_TIMEOUT_S", 0.2)
    port, log = free_port(), tmp_path / "log"
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SERVER
    with serving([sys.executable, "-c", deaf, str(port)], {}, f"http://{HOST}:{port}/", log):
        number = int(log.read_text().splitlines()[0])
    assert not _alive(number)


def _started(words, folder, timeout_s=5.0):
    return serving(words, {}, f"http://{HOST}:{free_port()}/", folder / "log", timeout_s=timeout_s)
