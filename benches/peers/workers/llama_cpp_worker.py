"""llama-cpp-python from the 4-bit GGUF, one prompt after another on one `Llama`.

Its Python interface has no batches. What it has is the longest prefix that a prompt shares with what was evaluated last,
which it does not evaluate again; the prompts about one passage stand side by side, so it finds the passage there.
"""

from __future__ import annotations

import os
from itertools import islice

import llama_cpp
from llama_cpp._internals import LlamaSampler

from workers.generation import Answer, Prompts, read_prompts, summarise
from workers.serve import Pass, serve, versions


class Greedy(llama_cpp.Llama):
    """A `Llama` that takes the likeliest token but no stop token.

    A logits processor can do that too, at the cost of a call of Python per token, which is 3 % here; llama.cpp's own
    sampler does it for nothing.
    """

    stop_ids: tuple[int, ...] = ()

    def _init_sampler(self, **_: object) -> LlamaSampler:
        sampler = LlamaSampler()
        sampler.add_logit_bias(self.n_vocab(), {token: float("-inf") for token in self.stop_ids})
        sampler.add_greedy()
        return sampler


def load(options: dict) -> tuple[Pass, str]:
    """The model with room for one prompt and its answer, on all cores."""
    cores = len(os.sched_getaffinity(0))  # it would take half of them
    model = Greedy(
        options["gguf"],
        n_ctx=options["context"],
        n_batch=options["context"],
        n_threads=cores,
        n_threads_batch=cores,
        verbose=False,
    )
    model.stop_ids = tuple(
        model.tokenize(token.encode(), add_bos=False, special=True)[0] for token in options["stop_tokens"]
    )

    def run(prompts: Prompts, batch_size: int) -> list[Answer]:
        model.reset()  # nothing left from the pass before
        found = []
        for text in prompts.texts:
            ids = model.tokenize(text.encode(), add_bos=False, special=True)
            new = list(islice(model.generate(ids), prompts.new_tokens))
            found.append(Answer(model.detokenize(new).decode(errors="replace"), new))
        return found

    return run, versions("llama-cpp-python")


if __name__ == "__main__":
    serve(load, read=read_prompts, summarise=summarise)
