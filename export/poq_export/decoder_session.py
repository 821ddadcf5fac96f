"""Running an exported decoder the way the engine does: right-padded rows through the key-value cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime


class DecoderSession:
    """Greedy continuation of one or several prompts."""

    def __init__(self, path: Path) -> None:
        self._session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        self._outputs = [output.name for output in self._session.get_outputs()]
        self._caches = {
            entry.name: tuple(entry.shape[axis] for axis in (1, 3))
            for entry in self._session.get_inputs()
            if entry.name.startswith("past_key_values.")
        }

    def greedy(self, prompts: list[list[int]], count: int) -> tuple[np.ndarray, np.ndarray]:
        """Logits at each step [rows, count, vocabulary] and the chosen tokens [rows, count]."""
        lengths = np.array([len(prompt) for prompt in prompts])
        ids = np.zeros((len(prompts), lengths.max()), np.int64)
        for row, prompt in enumerate(prompts):
            ids[row, : len(prompt)] = prompt
        past = {
            name: np.zeros((len(prompts), heads, 0, size), np.float32) for name, (heads, size) in self._caches.items()
        }
        index = lengths - 1
        logits, tokens = [], []
        for step in range(count):
            total = lengths.max() + step
            mask = (np.arange(total) < (lengths + step)[:, None]).astype(np.int64)
            feeds = {"input_ids": ids, "attention_mask": mask, "logits_index": index, **past}
            results = dict(zip(self._outputs, self._session.run(self._outputs, feeds)))
            logits.append(results.pop("logits")[:, 0])
            tokens.append(logits[-1].argmax(axis=1))
            past = {name.replace("present", "past_key_values"): value for name, value in results.items()}
            ids, index = tokens[-1][:, None], np.zeros(len(prompts), np.int64)
        return np.stack(logits, axis=1), np.stack(tokens, axis=1)
