"""One cell: who does what how often, and the figures that are kept of it."""

from __future__ import annotations

import statistics
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from process import Unavailable
from prompts import Prompts

from . import card, configurations, rivals
from .made import Made
from .ours import Poq
from .plan import BUSY, COPY, GENERATE, POQ, SCORE, SUBJECTS, Cell, Scale, Subject
from .rivals import Rivals
from .texts import make_pairs, make_prompts

# Of the untimed pass before a peer's first one at a batch size.
WARM_UP_TOKENS = 8
NO_CARD = "and there was no card to watch"


@dataclass
class Bench:
    """What is at hand; a reason stands for what is missing."""

    scale: Scale
    new_tokens: int
    repeats: int
    batch_sizes: tuple[int, ...]
    out: Path
    made: Made | str
    poq: Poq | str
    rivals: Rivals

    def measure(self, cell: Cell) -> dict[str, Any]:
        """The figures of a cell. Raises Unavailable with the reason where there are none."""
        if cell.stage == COPY:
            return self._copy(cell)
        subject, made = SUBJECTS[cell.model], have(self.made)
        if cell.tool == POQ:
            self.rivals.stop()  # the card's memory is ours now
            have(self.poq)
        checkpoint = made.prepare(subject)
        common = {"precision": made.precision(subject)}
        if cell.stage == BUSY:
            return common | self._busy(cell, subject)
        inputs = self.prompts(cell) if cell.stage == GENERATE else make_pairs(self.scale.pairs_of(cell.batch_size))
        if cell.stage == GENERATE and cell.tool == POQ:
            return common | self._generate(cell, subject, inputs)
        if cell.tool == POQ:
            passes = [have(self.poq).score(subject, len(inputs), cell.batch_size).seconds for _ in range(self.repeats)]
            return common | figures(passes, len(inputs), "pairs/s") | {"tool_version": have(self.poq).version}
        return common | self._rival(cell, checkpoint, inputs, common["precision"])

    def prompts(self, cell: Cell) -> Prompts:
        """Those of a cell."""
        return make_prompts(self.scale.prompts_of(cell.batch_size), self.new_tokens)

    def _generate(self, cell: Cell, subject: Subject, prompts: Prompts) -> dict[str, Any]:
        """poq's row, and what one decode step read of the card's memory."""
        row = have(self.poq).generate(subject, prompts, cell.batch_size, self.repeats)
        kept = (
            "latency_ms_p50",
            "first_token_ms_p50",
            "prompt_tokens",
            "prompt_tokens_read",
            "decoded_together",
            "slot_use",
        )
        kept += ("kv_cache_mb", "peak_memory_mb", "peak_device_memory_mb", "near_ties")
        found = figures([row["seconds"]], row["tokens"], "tokens/s") | {name: row[name] for name in kept if name in row}
        found |= {"prompts": len(prompts), "repeats": row["repeats"], "tool_version": have(self.poq).version}
        if cell.batch_size == 1:
            context = row["prompt_tokens"] / len(prompts) + self.new_tokens / 2
            config = configurations.read(subject.key, self.scale.name == "tiny")
            read = configurations.read_bytes_per_token(config, have(self.made).precision(subject), context)
            decoding = (row["latency_ms_p50"] - row["first_token_ms_p50"]) / 1000
            found |= {
                "bytes_per_token": read,
                "decode_tokens_per_s": (self.new_tokens - 1) / decoding if decoding > 0 else None,
            }
        return found

    def _rival(self, cell: Cell, checkpoint: Path, inputs: Any, precision: str) -> dict[str, Any]:
        """A peer's passes after one that warms it up."""
        folder = self.out / "inputs"
        length = 2 * max(len(text.split()) for text in inputs.texts) + self.new_tokens if cell.stage == GENERATE else 0
        options = rivals.options(cell, checkpoint, precision, self.batch_sizes, length)
        warm_up = inputs.head(min(len(inputs), 2 * cell.batch_size), "warm-up")
        if cell.stage == GENERATE:
            warm_up = replace(warm_up, new_tokens=min(WARM_UP_TOKENS, self.new_tokens))
        self.rivals.timed_pass(cell, options, warm_up.write(folder))
        passes = [self.rivals.timed_pass(cell, options, inputs.write(folder)) for _ in range(self.repeats)]
        if cell.stage == GENERATE and (wrong := rivals.wrong_lengths(passes[-1], inputs)):
            raise Unavailable(wrong)
        unit = "tokens/s" if cell.stage == GENERATE else "pairs/s"
        found = figures([one.seconds for one in passes], inputs.units, unit) | {"tool_version": self.rivals.describe()}
        if cell.stage == GENERATE:
            found |= {"prompts": len(inputs)}
            if cell.batch_size == 1:  # one prompt after another
                found |= {"latency_ms_p50": 1000 * found["seconds_median"] / len(inputs)}
        return found

    def _busy(self, cell: Cell, subject: Subject) -> dict[str, Any]:
        """The share of time that the card computes: while poq infers, and during the whole command."""
        poq = have(self.poq)
        with card.Watch() if poq.device == "cuda" else nullcontext() as watch:
            if subject.stage == SCORE:
                done = poq.score(subject, self.scale.busy_pairs, cell.batch_size)
            else:
                done = poq.answer(subject, make_prompts(self.scale.busy_prompts, self.new_tokens), cell.batch_size)
        if watch is None:
            raise Unavailable(f"poq {subject.stage} ran for {done.end - done.begin:.1f} s, {NO_CARD}")
        share = watch.busy_share(done.end - done.seconds, done.end)
        if share is None:
            raise Unavailable(f"nvidia-smi gave no sample in the {done.seconds:.1f} s of inference")
        whole = {"command_busy_share": watch.busy_share(done.begin, done.end), "command_seconds": done.end - done.begin}
        whole |= {"seconds_median": done.seconds, "peak_device_memory_mb": watch.peak_memory_mb()}
        return {"busy_share": share, "work": subject.stage, "tool_version": poq.version} | whole

    def _copy(self, cell: Cell) -> dict[str, Any]:
        """GB/s of a copy, the median of many."""
        inputs, options = rivals.empty_inputs(self.out / "inputs"), rivals.options(cell, None, "", self.batch_sizes, 0)
        self.rivals.timed_pass(cell, options, inputs)
        speeds = self.rivals.timed_pass(cell, options, inputs).answers
        return {"gb_per_s": statistics.median(speeds), "tool_version": self.rivals.describe()}


def have(found: Any) -> Any:
    """What is at hand. Raises Unavailable where a reason stands in its place."""
    if isinstance(found, str):
        raise Unavailable(found)
    return found


def figures(seconds: list[float], units: float, unit: str) -> dict[str, Any]:
    """Seconds of every pass, and the rate of each."""
    rates = [units / one for one in seconds]
    found = {"seconds": seconds, "seconds_median": statistics.median(seconds), "units": units, "unit": unit}
    return found | {"rates": rates, "rate": statistics.median(rates), "repeats": len(seconds)}
