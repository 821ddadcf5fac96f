"""Peers as contestants: long-lived processes that each keep one model loaded, told over a pipe to do one timed pass."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import psutil
from contest import Contestant, Inputs, Pass, Unavailable
from process import Worker, stop
from settings import PEERS, Peer
from talk import say


def cpu_seconds(worker: Worker) -> float:
    """CPU time of all its threads so far."""
    try:
        times = psutil.Process(worker.process.pid).cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return times.user + times.system


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
        self.modules = [peer.module for peer in peers]
        self.contestants: list[PeerContestant] = []
        self.idle_share = 0.0
        for index, peer in enumerate(peers):
            log = logs / f"{index}-{peer.module}.log"
            path = [*([peer.overlay] if peer.overlay else []), PEERS]
            worker = Worker(f"workers.{peer.module}", options | peer.options, log, path)
            self.workers.append(worker)
            self.contestants += [PeerContestant(peer, worker, size, folder) for size in peer.batch_sizes]

    def __enter__(self) -> Team:
        for module, worker in zip(self.modules, self.workers):
            try:
                say(f"loaded {worker.versions()}")
            except Unavailable as refusal:
                say(f"{module} does not load: {refusal}")
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
        begin, used = time.monotonic(), sum(cpu_seconds(worker) for worker in idle)
        yield
        used = sum(cpu_seconds(worker) for worker in idle) - used
        self.idle_share = max(self.idle_share, used / (time.monotonic() - begin))

    def find(self, peer: Peer, batch_size: int) -> PeerContestant:
        """The contestant of a peer at a batch size."""
        return next(found for found in self.contestants if found.peer is peer and found.batch_size == batch_size)
