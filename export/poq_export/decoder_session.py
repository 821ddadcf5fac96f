"""Running an exported decoder the way the engine does: right-padded rows through the key-value cache."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnxruntime
from onnx import TensorProto

from . import providers

HIDDEN = -1e9  # what is added to the attention score of a token that another must not see
KINDS = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(bfloat16)": ml_dtypes.bfloat16}


class DecoderSession:
    """Greedy continuation of one or several prompts, on one provider."""

    def __init__(self, path: Path, provider: str = "cpu") -> None:
        self._session = providers.session(path, provider)
        self._provider = provider

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
        if length is None:
            return GrowingCache(self._session, rows, self._provider)
        return CacheInPlace(self._session, rows, length, self._provider)

    def outputs(self, ids: list[int], names: list[str]) -> list[np.ndarray]:
        """Outputs of the graph for one prompt, with logits wanted of every token."""
        count = len(ids)
        binding = self._session.io_binding()
        inputs = feeds(self._session, np.array([ids]), np.array([count]), np.array([count - 1]))
        inputs["logits_index"] = np.arange(count)[None]
        for name, value in inputs.items():
            binding.bind_cpu_input(name, value)
        held = {name: _value(value) for name, value in _empty(self._session, 1, 0).items()}
        for name, value in held.items():
            binding.bind_ortvalue_input(name, value)
        for name in names:
            binding.bind_output(name)
        self._session.run_with_iobinding(binding)
        return [value.numpy() for value in binding.get_outputs()]


class GrowingCache:
    """What a call returns goes into the next one: the cache is as long as the longest row."""

    def __init__(self, session: onnxruntime.InferenceSession, rows: int, provider: str) -> None:
        self._session = session
        self._provider = provider
        self._names = [output.name for output in session.get_outputs() if output.name.startswith("present.")]
        self._past = {name: _value(value) for name, value in _empty(session, rows, 0).items()}

    def run(self, ids: np.ndarray, lengths: np.ndarray, index: np.ndarray) -> np.ndarray:
        """Append tokens; `lengths` of the rows with them. Logits [rows, vocabulary] at `index` among the new tokens."""
        binding = self._session.io_binding()
        for name, value in feeds(self._session, ids, lengths, index).items():
            binding.bind_cpu_input(name, value)
        for name, value in self._past.items():
            binding.bind_ortvalue_input(name, value)
        binding.bind_output("logits")
        for name in self._names:
            binding.bind_output(name, self._provider)
        self._session.run_with_iobinding(binding)
        logits, *present = binding.get_outputs()
        self._past = {name.replace("present", "past_key_values"): value for name, value in zip(self._names, present)}
        return logits.numpy()[:, 0]


class CacheInPlace:
    """Past and present of a layer share one buffer of a fixed length, whose free places hold anything, on the CPU NaN.

    On CUDA they hold zeros: some of its kernels multiply what they masked by nothing, and nothing times NaN is NaN.
    """

    def __init__(self, session: onnxruntime.InferenceSession, rows: int, length: int, provider: str) -> None:
        self._session = session
        empty = _empty(session, rows, length, 0 if provider == "cuda" else np.nan)
        self._buffers = {name: _value(value, provider) for name, value in empty.items()}

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


def _empty(
    session: onnxruntime.InferenceSession, rows: int, length: int, fill: float = np.nan
) -> dict[str, np.ndarray]:
    """Caches by input name, each [rows, heads, length, head size]."""
    return {
        entry.name: np.full((rows, entry.shape[1], length, entry.shape[3]), fill, KINDS[entry.type])
        for entry in session.get_inputs()
        if entry.name.startswith("past_key_values.")
    }


def _value(array: np.ndarray, provider: str = "cpu") -> onnxruntime.OrtValue:
    """An array as a value of ONNX Runtime, on a provider's device. Its Python knows bf16 as a type, not as numpy's."""
    if array.dtype != ml_dtypes.bfloat16:
        return onnxruntime.OrtValue.ortvalue_from_numpy(array, provider)
    bits = array.view(np.uint16)
    if provider == "cpu":
        return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(bits, TensorProto.BFLOAT16)
    value = onnxruntime.OrtValue.ortvalue_from_shape_and_type(list(array.shape), TensorProto.BFLOAT16, provider)
    value.update_inplace(bits)
    return value


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
