"""llama.cpp through the C interface that llama-cpp-python passes on: several prompts decoded together, prefixes shared.

No part of llama-cpp-python's own interface does this. It is what a determined user could write, and shows how much of
the other row is llama.cpp and how much is one prompt after another.
"""

from __future__ import annotations

import os

import llama_cpp
import numpy as np
from tokenizers import Tokenizer

from workers.generation import Answer, Prompts, answers, read_prompts, summarise
from workers.serve import Pass, serve, versions

# Kept, for llama.cpp calls it as long as it lives.
SILENCE = llama_cpp.llama_log_callback(lambda *_: None)
# Tokens of one call, as many as a whole prompt has at most here.
BATCH_TOKENS = 512


class Generate:
    """The model, and a context with room for so many rows."""

    def __init__(self, options: dict) -> None:
        llama_cpp.llama_log_set(SILENCE, None)
        llama_cpp.llama_backend_init()
        self.tokenizer = Tokenizer.from_file(options["tokenizer"])
        self.stop_ids = [self.tokenizer.token_to_id(token) for token in options["stop_tokens"]]
        self.row_length = options["context"]
        parameters = llama_cpp.llama_model_default_params()
        self.model = llama_cpp.llama_model_load_from_file(options["gguf"].encode(), parameters)
        if not self.model:
            raise RuntimeError("llama.cpp does not load the file")
        self.vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self.model))
        self.batch = llama_cpp.llama_batch_init(BATCH_TOKENS, 0, 1)
        self.context, self.rows = None, 0

    def prepare(self, batch_size: int) -> None:
        """A context for `batch_size` rows with an empty cache."""
        if self.rows != batch_size:
            if self.context:
                llama_cpp.llama_free(self.context)
            parameters = llama_cpp.llama_context_default_params()
            parameters.n_seq_max = batch_size
            parameters.n_ctx = batch_size * self.row_length
            parameters.n_batch = parameters.n_ubatch = BATCH_TOKENS
            parameters.n_threads = parameters.n_threads_batch = len(os.sched_getaffinity(0))
            parameters.kv_unified = True  # rows share the cells of a common prefix
            self.context, self.rows = llama_cpp.llama_init_from_model(self.model, parameters), batch_size
        self.memory = llama_cpp.llama_get_memory(self.context)
        llama_cpp.llama_memory_clear(self.memory, True)

    def __call__(self, prompts: Prompts, batch_size: int) -> list[Answer]:
        rows = [row.ids for row in self.tokenizer.encode_batch_fast(prompts.texts, add_special_tokens=False)]
        found: list[list[int]] = []
        for begin in range(0, len(rows), batch_size):
            found += self._together(rows[begin : begin + batch_size], prompts.new_tokens)
        return answers(self.tokenizer, found)

    def _together(self, rows: list[list[int]], new_tokens: int) -> list[list[int]]:
        """Prompt after prompt, each from where it parts from the one before it; then token after token of all."""
        llama_cpp.llama_memory_clear(self.memory, False)
        new: list[list[int]] = []
        for index, row in enumerate(rows):
            shared = common_prefix(rows[index - 1], row) if index else 0
            if shared:
                llama_cpp.llama_memory_seq_cp(self.memory, index - 1, index, 0, shared)
            tokens = [(token, shared + offset, index) for offset, token in enumerate(row[shared:])]
            new.append(self._decode(tokens, last_only=True))
        for step in range(1, new_tokens):
            at = [(found[-1], len(row) + step - 1, index) for index, (row, found) in enumerate(zip(rows, new))]
            for found, token in zip(new, self._decode(at, last_only=False)):
                found.append(token)
        return new

    def _decode(self, tokens: list[tuple[int, int, int]], last_only: bool) -> list[int]:
        """The likeliest next tokens after (token, position, row): of the last one, or of each."""
        batch = self.batch
        batch.n_tokens = len(tokens)
        for index, (token, position, row) in enumerate(tokens):
            batch.token[index], batch.pos[index] = token, position
            batch.n_seq_id[index], batch.seq_id[index][0] = 1, row
            batch.logits[index] = not last_only or index == len(tokens) - 1
        if code := llama_cpp.llama_decode(self.context, batch):
            raise RuntimeError(f"llama_decode ends with {code}")
        outputs = 1 if last_only else len(tokens)
        logits = np.ctypeslib.as_array(llama_cpp.llama_get_logits(self.context), shape=(outputs, self.vocabulary))
        logits[:, self.stop_ids] = -np.inf
        return logits.argmax(axis=1).tolist()


def common_prefix(first: list[int], second: list[int]) -> int:
    """Tokens that both begin with, one of the second's left over."""
    count = 0
    for one, other in zip(first, second[:-1]):
        if one != other:
            break
        count += 1
    return count


def load(options: dict) -> tuple[Pass, str]:
    """The model; a context is made for the batch size that is asked for."""
    return Generate(options), versions("llama-cpp-python")


if __name__ == "__main__":
    serve(load, read=read_prompts, summarise=summarise)
