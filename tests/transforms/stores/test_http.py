from __future__ import annotations

import functools
import http.server
import threading

import pytest

from mdfp.errors import UsageError
from schemas.place import Access, Place
from transforms import commit
from transforms.rejected import Rejected
from transforms.store import CorpusStore, SourceStore
from transforms.stores import http as web


class RangeHandler(http.server.SimpleHTTPRequestHandler):
    """A folder, with ranges, ETags and If-Match, as web servers have them."""

    with_ranges = True

    def log_message(self, *_):
        pass

    def do_GET(self):
        file = self.translate_path(self.path)
        if not self.with_ranges or file.endswith("/"):
            return super().do_GET()
        try:
            data = open(file, "rb").read()  # noqa: SIM115, PTH123
        except (FileNotFoundError, IsADirectoryError):
            return self.send_error(404)
        etag = f'"{hash(data)}"'
        if self.headers.get("If-Match") not in (None, etag):
            return self.send_error(412)
        asked = self.headers.get("Range")
        status, part = 200, data
        if asked:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            if int(first) >= len(data):
                return self.send_error(416)
            part = data[int(first) : int(last) + 1 if last else None]
            status = 206
        self.send_response(status)
        self.send_header("ETag", etag)
        self.send_header("Content-Length", str(len(part)))
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(part)
        return None

    def do_HEAD(self):
        self.do_GET() if self.with_ranges else super().do_HEAD()


class PlainHandler(RangeHandler):
    """The same without ranges and ETags: Last-Modified is all there is."""

    with_ranges = False


@pytest.fixture(params=[RangeHandler, PlainHandler])
def site(request, tmp_path):
    for name, content in {"raw/b/2 ü.nii": b"22", "raw/a.nii": b"0123456789", "raw/empty": b"", "no": b""}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    handler = functools.partial(request.param, directory=str(tmp_path))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/raw", tmp_path / "raw"
    server.shutdown()
    server.server_close()


def test_the_links_of_folders_are_a_listing(site):
    url, _ = site
    found = list(SourceStore(url).list())
    assert [(o.path, o.bytes) for o in found] == [("a.nii", 10), ("b/2 ü.nii", 2), ("empty", 0)]
    assert SourceStore(url).read("b/2 ü.nii") == b"22"


def test_ranges_are_read_with_and_without_the_servers_help(site):
    store = SourceStore(site[0])
    assert store.read("a.nii", 2, 5) == b"234"
    assert store.read("a.nii", 8, 100) == b"89"
    assert store.read("a.nii") == b"0123456789"
    assert store.read("a.nii", 4) == b"456789"
    assert store.read("empty", 0, 10) == b""
    with pytest.raises(Rejected, match="missing_file"):
        store.read("none")


def test_bytes_of_another_version_are_refused(site):
    import os

    url, folder = site
    store = SourceStore(url)
    before = store.version("a.nii")
    assert store.read("a.nii", 0, 4, version=before.version) == b"0123"
    assert store.read_object("a.nii", 10, before.version) == b"0123456789"
    (folder / "a.nii").write_bytes(b"9876543210")
    os.utime(folder / "a.nii", (1, 1))
    with pytest.raises(Rejected, match="source_changed"):
        store.read("a.nii", 0, 4, version=before.version)


def test_nothing_is_written_to_the_web(site):
    with pytest.raises(UsageError, match="cannot be written to"):
        commit.create_bytes(b"x", CorpusStore(site[0]), "x")
    with pytest.raises(UsageError, match="requester_pays is for buckets"):
        SourceStore(Place(site[0], Access(requester_pays=True)))


def test_links_upwards_elsewhere_and_for_sorting_are_not_followed():
    page = """<a href="../">up</a> <a href="?C=N;O=D">sort</a> <a href='b/'>b</a> <a href="/data/set/c.nii">c</a>
    <A HREF="https://host/data/set/d%20e.nii">d</A> <a href="https://other/x">x</a> <a href="/data/other/y">y</a>
    <a href="deep/er/z">z</a> <a href="mailto:a@b">m</a> <a href="./f.nii#top">f</a>"""
    assert web._links(page, "", "https://host/data/set") == ["b/", "c.nii", "d e.nii", "f.nii"]
