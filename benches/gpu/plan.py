"""What is measured: models, tools, batch sizes, how much work each cell is, and the targets. Data only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch

POQ, PIPELINE, VLLM, SENTENCE_TRANSFORMERS = "poq", "transformers", "vllm", "sentence_transformers"
GENERATE, SCORE, BUSY, COPY = "generate", "score", "busy", "copy"
PEERS = {GENERATE: (PIPELINE, VLLM), SCORE: (SENTENCE_TRANSFORMERS,)}

WEIGHTS = (
    "The weights are random, in the architecture and size of the published models: speed does not depend on their values. "
    "What the models write means nothing, so stop tokens are ignored and every answer has the same number of new tokens."
)


@dataclass(frozen=True)
class Subject:
    """A model: its key in the registry, what kind of work it does, and in which type its weights lie on the GPU."""

    key: str
    stage: str
    precision: str
    # Of an evaluator, as in the registry.
    architecture: str = "decoder"
    max_length: int = 2048
    scoring: tuple[tuple[str, object], ...] = ()


LOGITS = (("output", "logits"), ("order", "reference_output"))
NLI = (("output", "logits"), ("order", "output_reference"), ("head", "probability"), ("target", "entailment"))
VECTORS = (("output", "last_hidden_state"), ("pooling", "mean"))
# The model that the targets speak of.
TARGET_LLM = "llama_3_2_3b"
# Measured in this order: what the targets speak of comes first, in case that time on a GPU is short.
SUBJECTS = {
    subject.key: subject
    for subject in (
        Subject(TARGET_LLM, GENERATE, "bf16"),
        Subject("ce_minilm", SCORE, "f16", "cross_encoder", 512, (("head", "logit"), *LOGITS)),
        Subject("sts_stsb", SCORE, "f16", "bi_encoder", 128, VECTORS),
        Subject(
            "ce_deberta", SCORE, "f16", "cross_encoder", 512, (*NLI, ("labels", ["contradiction", "entailment", "neutral"]))
        ),
        *(Subject(key, GENERATE, "bf16") for key in ("tinyllama_1_1b", "qwen2_1_5b", "gemma_2_2b_it", "phi3_mini_4k")),
    )
}


@dataclass(frozen=True)
class Scale:
    """How much is measured."""

    name: str
    batch_sizes: tuple[int, ...]
    new_tokens: int
    # A batch of fewer prompts is one of several.
    least_prompts: int
    # (batch size, pairs): the first whose batch size is reached from below.
    pairs: tuple[tuple[int, int], ...]
    repeats: int
    # Prompts and pairs of the runs during which the GPU is watched.
    busy_prompts: int
    busy_pairs: int

    def prompts_of(self, batch_size: int) -> int:
        """Prompts of a cell: one full batch, or several small ones."""
        return max(batch_size, self.least_prompts)

    def pairs_of(self, batch_size: int) -> int:
        """Pairs of a cell."""
        return next(pairs for largest, pairs in self.pairs if batch_size <= largest)


FULL = Scale("full", (1, 8, 32, 128, 256), 128, 8, ((1, 512), (8, 4096), (10**9, 16384)), 3, 1024, 65536)
# Every step with models that a CPU runs in seconds; its figures say nothing but that it works.
TINY = Scale("tiny", (1, 4), 4, 2, ((10**9, 24),), 2, 8, 24)
SCALES = {scale.name: scale for scale in (FULL, TINY)}

# Targets on one H200, as shares or ratios that must be reached.
LATENCY_SHARE, BANDWIDTH_SHARE, PIPELINE_RATIO, VLLM_RATIO, ENCODER_RATIO, BUSY_SHARE = 0.5, 0.6, 20.0, 0.7, 3.0, 0.9


@dataclass(frozen=True)
class Cell:
    """One measurement. Its name is what `--only` matches and what the results are found by."""

    stage: str
    model: str
    batch_size: int
    tool: str

    @property
    def name(self) -> str:
        """`generate/llama_3_2_3b/b32/poq`."""
        return f"{self.stage}/{self.model}/b{self.batch_size}/{self.tool}"

    def matches(self, patterns: Iterable[str]) -> bool:
        """Whether a pattern names the cell or one part of its name; without patterns every cell is meant."""
        given = list(patterns)
        parts = [self.name, *self.name.split("/")]
        return not given or any(fnmatch(part, pattern) for pattern in given for part in parts)


def cells(batch_sizes: Iterable[int], only: Iterable[str] = ()) -> Iterator[Cell]:
    """Every cell that was asked for, those of one model and tool together: they share what is loaded."""
    sizes, patterns = sorted(batch_sizes), list(only)
    copy = Cell(COPY, "card", 0, "torch")
    if copy.matches(patterns):
        yield copy
    for subject in SUBJECTS.values():
        found = [Cell(subject.stage, subject.key, size, tool) for tool in (POQ, *PEERS[subject.stage]) for size in sizes]
        found.append(Cell(BUSY, subject.key, sizes[-1], POQ))
        yield from (cell for cell in found if cell.matches(patterns))
