"""Downloads whatever the connection: where they begin, when they give up, what fits on the disk, what a person sees."""

from __future__ import annotations

import contextlib
import io
import tempfile
import unittest
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from poq_export import download, hashes
from poq_export.download import DownloadError, Dropped, Reply
from poq_export.progress import Meter

CONTENT = bytes(range(256)) * 4
Usage = namedtuple("Usage", "total used free")


class Server:
    """Sends the content from where it is asked; each entry of `cuts` ends one connection early."""

    def __init__(self, *cuts: int | None, total: bool = True) -> None:
        self.cuts = list(cuts)
        self.starts: list[int] = []
        self.total = len(CONTENT) if total else None

    @contextlib.contextmanager
    def open(self, start: int) -> Iterator[Reply]:
        """A connection."""
        self.starts.append(start)
        cut = self.cuts.pop(0) if self.cuts else None

        def chunks() -> Iterator[bytes]:
            yield CONTENT[start:][:cut]
            if cut is not None:
                raise Dropped("lost")

        yield Reply(start, self.total, chunks())


class Download(unittest.TestCase):
    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.partial = Path(scratch.name) / "x.part"
        self.waits: list[float] = []
        prepared = contextlib.ExitStack()
        prepared.enter_context(mock.patch.object(download, "pause", self.waits.append))
        prepared.enter_context(contextlib.redirect_stderr(io.StringIO()))
        self.addCleanup(prepared.close)

    def fetch(self, server: Server, total: int | None = len(CONTENT)) -> None:
        download.download("x", self.partial, total, server.open)

    def test_it_goes_on_where_it_stopped(self) -> None:
        server = Server(10, 0, 500)
        self.fetch(server)
        self.assertEqual((server.starts, self.partial.read_bytes()), ([0, 10, 10, 510], CONTENT))
        again = Server()
        self.fetch(again)
        self.assertEqual(again.starts, [], "it is all there")

    def test_what_is_too_long_begins_anew(self) -> None:
        self.partial.write_bytes(bytes(len(CONTENT) + 1))
        self.fetch(Server())
        self.assertEqual(self.partial.read_bytes(), CONTENT)

    def test_it_waits_longer_each_time_and_gives_up_in_the_end(self) -> None:
        with self.assertRaisesRegex(DownloadError, "lost; gave up after 8 attempts, 0.0 MB of 0.0 MB are kept"):
            self.fetch(Server(10, *[0] * 20))
        self.assertEqual(self.waits, [1, 2, 4, 8, 16, 32, 60, 60])
        self.assertEqual(self.partial.stat().st_size, 10)

    def test_news_give_new_patience(self) -> None:
        server = Server(*[0, 0, 0, 1] * 5)
        self.fetch(server)
        self.assertEqual(self.partial.read_bytes(), CONTENT)
        self.assertEqual(max(self.waits), 8)

    def test_a_connection_that_ends_quietly_too_early_is_noticed(self) -> None:
        @contextlib.contextmanager
        def short(start: int) -> Iterator[Reply]:
            yield Reply(start, len(CONTENT), iter([CONTENT[start : start + 600]]))

        self.fetch(mock.Mock(open=short))
        self.assertEqual(self.partial.read_bytes(), CONTENT)

    def test_what_does_not_fit_is_not_begun(self) -> None:
        server = Server()
        with mock.patch.object(download.shutil, "disk_usage", return_value=Usage(9, 9, 1000)):
            with self.assertRaisesRegex(DownloadError, "no space left .*: x needs 0.0 GB more, 0.0 GB are free"):
                self.fetch(server)
        self.assertEqual(server.starts, [])

    def test_a_disk_that_fills_up_meanwhile_ends_it(self) -> None:
        self.partial.symlink_to("/dev/full")
        with self.assertRaisesRegex(DownloadError, "no space left on the disk of"):
            self.fetch(Server())
        self.assertEqual(self.waits, [], "waiting does not help")


class Hashes(unittest.TestCase):
    def test_they_are_what_sha256sum_and_git_say(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "x"
            path.write_bytes(b"hello\n")
            self.assertEqual(hashes.sha256(path), "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03")
            self.assertEqual(hashes.git_blob(path), "ce013625030ba8dba906f756967f9e9ca394464a")
            own = hashes.published("ce013625030ba8dba906f756967f9e9ca394464a")
            self.assertIsNone(own.refusal(path))
            path.write_bytes(b"hullo\n")
            self.assertRegex(own.refusal(path), "its git sha1 is [0-9a-f]{40}, the hub says ce01")

    def test_other_tags_are_no_hashes(self) -> None:
        for tag in (None, "", "abc", "W/" + "0" * 40, "0" * 32):
            self.assertIsNone(hashes.published(tag))


class Progress(unittest.TestCase):
    def test_share_rate_and_time_left(self) -> None:
        meter = Meter("x", None)
        meter.restart(1_000_000, 11_000_000)
        meter._done, meter._here = 6_000_000, 5_000_000
        self.assertEqual(meter.describe(2.0), "54 %, 6.0 MB of 11.0 MB, 2.5 MB/s, 0:02 left")
        meter.restart(6_000_000, None)
        self.assertEqual(meter.describe(2.0), "54 %, 6.0 MB of 11.0 MB, 0.0 MB/s")

    def test_a_terminal_is_rewritten_and_a_file_gets_lines(self) -> None:
        for terminal, expected in ((True, "\r\033[K  x: 100 %"), (False, "  x: 100 %")):
            said = io.StringIO()
            said.isatty = lambda terminal=terminal: terminal
            with (
                contextlib.redirect_stderr(said),
                mock.patch("poq_export.progress.time.perf_counter", side_effect=[0.0, 0.0, 40.0]),
            ):
                meter = Meter("x", 10)
                meter.restart(0, 10)
                meter.advance(10)
            self.assertTrue(said.getvalue().startswith(expected), said.getvalue())
            self.assertEqual(said.getvalue().endswith("\n"), not terminal)


if __name__ == "__main__":
    unittest.main()
