"""Peers as contestants: long-lived processes that each keep one model loaded, told over a pipe to do one timed pass."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

import psutil
from contest import Contestant, Inputs, Pass, Unavailable
from settings import PEERS, Peer
from talk import say

# Threads of a pool may spin for some milliseconds when their work ends; the next contestant starts after that.
SETTLE_SECONDS = 0.3


class Worker:
    """One process. It loads in the background; the first use waits for it."""

    def __init__(self, module: str, options: dict, log: Path, overlay: Path | None = None) -> None:
        path = [str(PEERS), os.environ.get("PYTHONPATH", "")]
        if overlay:
            path.insert(0, str(overlay))
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path), "HF_HUB_OFFLINE": "1"}
        command = [sys.executable, "-m", f"workers.{module}", json.dumps(options)]
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w") as errors:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
            )
        self.usage = psutil.Process(self.process.pid)
        self.module = module
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

    def _answer(self) -> dict:
        if self._refusal is None:
            line = self.process.stdout.readline()
            answer = json.loads(line) if line else {"failed": f"ended with exit code {self.process.wait()}"}
            if "failed" not in answer:
                return answer
            self._refusal = answer["failed"]
        raise Unavailable(self._refusal)

    def cpu_seconds(self) -> float:
        """CPU time of all its threads so far."""
        try:
            times = self.usage.cpu_times()
        except psutil.NoSuchProcess:
            return 0.0
        return times.user + times.system


def stop(workers: Iterable[Worker]) -> None:
    """At once: a worker holds nothing that would be lost."""
    ending = list(workers)
    for worker in ending:
        worker.process.kill()
    for worker in ending:
        worker.process.communicate()


class PeerContestant:
    """A worker at one batch size."""

    def __init__(self, peer: Peer, worker: Worker, batch_size: int, folder: Path) -> None:
        self.peer = peer
        self.worker = worker
        self.batch_size = batch_size
        self.folder = folder
        self.precision = peer.precision

    def describe(self) -> str:
        try:
            tools = self.worker.versions()
        except Unavailable:
            tools = self.peer.module.removesuffix("_worker").replace("_", "-")
        size = f", {self.peer.size_name} {self.batch_size}" if self.peer.size_name else ""
        return f"{tools}; {self.peer.description}{size}"

    def warm_up(self, inputs: Inputs) -> None:
        self.timed_pass(inputs)

    def timed_pass(self, inputs: Inputs) -> Pass:
        found = self.worker.timed_pass(inputs.write(self.folder), self.batch_size)
        return dataclasses.replace(found, answers=inputs.read(found.answers))


class Team:
    """The workers of one row, started together and stopped together."""

    def __init__(self, peers: Sequence[Peer], options: dict, logs: Path, folder: Path) -> None:
        self.workers: list[Worker] = []
        self.contestants: list[PeerContestant] = []
        self.idle_share = 0.0
        for index, peer in enumerate(peers):
            log = logs / f"{index}-{peer.module}.log"
            worker = Worker(peer.module, options | peer.options, log, peer.overlay)
            self.workers.append(worker)
            self.contestants += [PeerContestant(peer, worker, size, folder) for size in peer.batch_sizes]

    def __enter__(self) -> Team:
        for worker in self.workers:
            try:
                say(f"loaded {worker.versions()}")
            except Unavailable as refusal:
                say(f"{worker.module} does not load: {refusal}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stop(self.workers)

    def keep(self, contestants: Sequence[Contestant]) -> None:
        """Stop the workers that none of these needs."""
        needed = [contestant.worker for contestant in contestants if isinstance(contestant, PeerContestant)]
        stop(worker for worker in self.workers if worker not in needed)
        self.workers = [worker for worker in self.workers if worker in needed]

    @contextmanager
    def watch(self, contestant: Contestant) -> Iterator[None]:
        """Note the share of a core that the idle workers use while a contestant is being timed."""
        idle = [worker for worker in self.workers if worker is not getattr(contestant, "worker", None)]
        begin, used = time.monotonic(), sum(worker.cpu_seconds() for worker in idle)
        yield
        used = sum(worker.cpu_seconds() for worker in idle) - used
        self.idle_share = max(self.idle_share, used / (time.monotonic() - begin))

    def find(self, peer: Peer, batch_size: int) -> PeerContestant:
        """The contestant of a peer at a batch size."""
        return next(found for found in self.contestants if found.peer is peer and found.batch_size == batch_size)
