"""A worker process from the harness's side: a tool with its model loaded, told over a pipe to do one timed pass."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Threads of a pool may spin for some milliseconds when their work ends; the next contestant starts after that.
SETTLE_SECONDS = 0.3


class Unavailable(Exception):
    """The contestant cannot take part; the message is its reason."""


@dataclass(frozen=True)
class Pass:
    """One timed pass over all inputs: seconds on the contestant's own clock, and what it answered.

    That is a score per pair, an answer per prompt, what a table holds, or what nodes earned.
    """

    seconds: float
    answers: Any
    # Seconds of the whole command, where the pass was one.
    command_seconds: float | None = None
    # How much work it was, where contestants do unlike amounts; else that of the inputs.
    units: float | None = None


class Worker:
    """One process. It loads in the background; the first use waits for it.

    `module` is run by `python` with `path` in front of its import path; `timeout` bounds the seconds until an answer.
    """

    def __init__(
        self,
        module: str,
        options: dict,
        log: Path,
        path: Sequence[Path],
        python: str = sys.executable,
        timeout: float | None = None,
    ) -> None:
        places = [*map(str, path), os.environ.get("PYTHONPATH", "")]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(places), "HF_HUB_OFFLINE": "1"}
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w") as errors:
            self.process = subprocess.Popen(
                [python, "-m", module, json.dumps(options)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=environment,
                start_new_session=True,  # with the processes that it starts itself, which have to end with it
            )
        self.timeout = timeout
        self._versions: str | None = None
        self._refusal: str | None = None

    def versions(self) -> str:
        """Packages and their versions; waits until the model is loaded. Raises Unavailable if it does not load."""
        if self._versions is None:
            self._versions = self._answer()["versions"]
        return self._versions

    def timed_pass(self, inputs: Path, batch_size: int) -> Pass:
        """One pass over a file of inputs."""
        self.versions()
        with suppress(BrokenPipeError):  # a process that has ended says why in its last answer, or by its exit code
            self.process.stdin.write(json.dumps({"inputs": str(inputs), "batch_size": batch_size}) + "\n")
            self.process.stdin.flush()
        answer = self._answer()
        time.sleep(SETTLE_SECONDS)
        return Pass(answer["seconds"], answer["answers"], units=answer["units"])

    def kill(self) -> None:
        """The process and all that it started, at once."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def _answer(self) -> dict:
        if self._refusal is None:
            line, late = self._line()
            answer = json.loads(line) if line else {"failed": f"ended with exit code {self.process.wait()}"}
            if "failed" not in answer:
                return answer
            self._refusal = f"no answer within {self.timeout:.0f} s" if late else answer["failed"]
        raise Unavailable(self._refusal)

    def _line(self) -> tuple[str, bool]:
        """The next line of the process, and whether it was ended for taking too long."""
        late = threading.Event()

        def end() -> None:
            late.set()
            self.kill()

        timer = threading.Timer(self.timeout or 0, end)
        if self.timeout:
            timer.start()
        line = self.process.stdout.readline()
        timer.cancel()
        return line, late.is_set()


def stop(workers: Iterable[Worker]) -> None:
    """At once: a worker holds nothing that would be lost."""
    ending = list(workers)
    for worker in ending:
        worker.kill()
    for worker in ending:
        worker.process.communicate()
