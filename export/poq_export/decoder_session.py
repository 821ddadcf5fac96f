"""Running an exported decoder the way the engine does: right-padded rows through the key-value cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime

HIDDEN = -1e9  # what is added to the attention score of a token that another must not see


class DecoderSession:
    """Greedy continuation of one or several prompts."""

    def __init__(self, path: Path) -> None:
        self._session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def greedy(
        self, prompts: list[list[int]], count: int, cache_length: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Logits at each step [rows, count, vocabulary] and the chosen tokens [rows, count].

        The cache grows by a copy at each step or, given a length, lies in place for that many tokens.
        """
        lengths = np.array([len(prompt) for prompt in prompts])
        ids = np.zeros((len(prompts), lengths.max()), np.int64)
        for row, prompt in enumerate(prompts):
            ids[row, : len(prompt)] = prompt
        cache = self.cache(len(prompts), cache_length)
        index = lengths - 1
        logits, tokens = [], []
        for step in range(count):
            logits.append(cache.run(ids, lengths + step, index))
            tokens.append(logits[-1].argmax(axis=1))
            ids, index = tokens[-1][:, None], np.zeros(len(prompts), np.int64)
        return np.stack(logits, axis=1), np.stack(tokens, axis=1)

    @property
    def takes_several_prompts(self) -> bool:
        """Whether a row may hold prompts one behind the other."""
        return any(entry.name == "attention_bias" for entry in self._session.get_inputs())

    def one_row(self, prompts: list[list[int]]) -> np.ndarray:
        """Logits [prompts, vocabulary] after each of several prompts that share one row and what they begin with.

        A hidden position stands in front: with nothing before them the attention operator would number the tokens itself.
        """
        ids, positions, ends, seen = [], [], [], []
        path: list[int] = []
        for number, prompt in enumerate(prompts):
            before = prompts[number - 1] if number else []
            shared = next((at for at, (a, b) in enumerate(zip(before, prompt[:-1])) if a != b), None)
            shared = min(len(before), len(prompt) - 1) if shared is None else shared
            path = path[:shared]
            for at in range(shared, len(prompt)):
                path = [*path, 1 + len(ids)]
                ids, positions, seen = [*ids, prompt[at]], [*positions, at], [*seen, path]
            ends.append(len(ids) - 1)
        total = np.array([1 + len(ids)])
        inputs = feeds(self._session, np.array([ids]), total, total)
        bias = np.full((len(ids), 1 + len(ids)), HIDDEN, np.float32)
        for token, visible in enumerate(seen):
            bias[token, visible] = 0
        inputs |= {"logits_index": np.array([ends]), "position_ids": np.array([positions]), "attention_bias": bias[None, None]}
        front = {name: np.zeros_like(value) for name, value in _empty(self._session, 1, 1).items()}
        return self._session.run(["logits"], inputs | front)[0][0]

    def cache(self, rows: int, length: int | None = None) -> GrowingCache | CacheInPlace:
        """An empty cache, to be filled call by call."""
        return GrowingCache(self._session, rows) if length is None else CacheInPlace(self._session, rows, length)


class GrowingCache:
    """What a call returns goes into the next one: the cache is as long as the longest row."""

    def __init__(self, session: onnxruntime.InferenceSession, rows: int) -> None:
        self._session = session
        self._outputs = [output.name for output in session.get_outputs()]
        self._past = _empty(session, rows, 0)

    def run(self, ids: np.ndarray, lengths: np.ndarray, index: np.ndarray) -> np.ndarray:
        """Append tokens; `lengths` of the rows with them. Logits [rows, vocabulary] at `index` among the new tokens."""
        results = dict(zip(self._outputs, self._session.run(self._outputs, feeds(self._session, ids, lengths, index) | self._past)))
        logits = results.pop("logits")[:, 0]
        self._past = {name.replace("present", "past_key_values"): value for name, value in results.items()}
        return logits


class CacheInPlace:
    """Past and present of a layer share one buffer of a fixed length, whose free places hold anything, here NaN."""

    def __init__(self, session: onnxruntime.InferenceSession, rows: int, length: int) -> None:
        self._session = session
        empty = _empty(session, rows, length)
        self._buffers = {name: onnxruntime.OrtValue.ortvalue_from_numpy(value) for name, value in empty.items()}

    def run(self, ids: np.ndarray, lengths: np.ndarray, index: np.ndarray) -> np.ndarray:
        """Like `GrowingCache.run`."""
        binding = self._session.io_binding()
        for name, value in feeds(self._session, ids, lengths, index).items():
            binding.bind_cpu_input(name, value)
        binding.bind_output("logits")
        for name, buffer in self._buffers.items():
            binding.bind_ortvalue_input(name, buffer)
            binding.bind_ortvalue_output(name.replace("past_key_values", "present"), buffer)
        self._session.run_with_iobinding(binding)
        return binding.get_outputs()[0].numpy()[:, 0]


def _empty(session: onnxruntime.InferenceSession, rows: int, length: int) -> dict[str, np.ndarray]:
    """Caches by input name, each [rows, heads, length, head size]."""
    return {
        entry.name: np.full((rows, entry.shape[1], length, entry.shape[3]), np.nan, np.float32)
        for entry in session.get_inputs()
        if entry.name.startswith("past_key_values.")
    }


def feeds(
    session: onnxruntime.InferenceSession, ids: np.ndarray, lengths: np.ndarray, index: np.ndarray
) -> dict[str, np.ndarray]:
    """Inputs besides the cache for new tokens [rows, tokens] that make rows as long as `lengths`, one prompt to a row.

    The logits wanted of a row are those at `index` among its new tokens. Right padding gets positions of its own.
    """
    count, total = ids.shape[1], int(lengths.max())
    before = total - count if len(ids) == 1 else (lengths - 1 if count == 1 else np.zeros_like(lengths))
    possible = {
        "input_ids": ids,
        "attention_mask": (np.arange(total) < lengths[:, None]).astype(np.int64),
        "logits_index": index[:, None].astype(np.int64),
        "position_ids": np.broadcast_to(before, len(ids))[:, None] + np.arange(count),
        "attention_bias": np.zeros((1, 1, count, total), np.float32),
    }
    declared = {entry.name for entry in session.get_inputs()}
    return {name: value for name, value in possible.items() if name in declared}
