"""llama-cpp-python from the 4-bit GGUF, one prompt after another on one `Llama`.

Its Python interface has no batches. What it has is the longest prefix that a prompt shares with what was evaluated last,
which it does not evaluate again; the prompts about one passage stand side by side, so it finds the passage there.
"""

from __future__ import annotations

import os
from itertools import islice

import llama_cpp

from workers.generation import Answer, Prompts, read_prompts, summarise
from workers.serve import Pass, serve, versions


def load(options: dict) -> tuple[Pass, str]:
    """The model with room for one prompt and its answer, on all cores."""
    cores = len(os.sched_getaffinity(0))  # it would take half of them
    model = llama_cpp.Llama(
        options["gguf"],
        n_ctx=options["context"],
        n_batch=options["context"],
        n_threads=cores,
        n_threads_batch=cores,
        verbose=False,
    )

    def run(prompts: Prompts, batch_size: int) -> list[Answer]:
        model.reset()  # nothing left from the pass before
        found = []
        for text in prompts.texts:
            ids = model.tokenize(text.encode(), add_bos=False, special=True)
            # Goes on after a stop token. Suppressing it as the others do means a call of Python for every token here,
            # which costs llama.cpp 3 %.
            new = list(islice(model.generate(ids, temp=0.0), prompts.new_tokens))
            found.append(Answer(model.detokenize(new).decode(errors="replace"), new))
        return found

    return run, versions("llama-cpp-python")


if __name__ == "__main__":
    serve(load, read=read_prompts, summarise=summarise)
