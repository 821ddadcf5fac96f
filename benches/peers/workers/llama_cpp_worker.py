"""llama-cpp-python from the 4-bit GGUF, one prompt after another on one `Llama`.

Its Python interface has no batches. What it has is the longest prefix that a prompt shares with what was evaluated last,
which it does not evaluate again; the prompts about one passage stand side by side, so it finds the passage there.
"""

from __future__ import annotations

from itertools import islice

import llama_cpp
import numpy as np

from workers.generation import Answer, Prompts, read_prompts, summarise
from workers.serve import Pass, serve, versions


def load(options: dict) -> tuple[Pass, str]:
    """The model with room for one prompt and its answer, on all cores."""
    model = llama_cpp.Llama(
        options["gguf"],
        n_ctx=options["context"],
        n_batch=options["context"],
        n_threads=options["threads"],
        n_threads_batch=options["threads"],
        verbose=False,
    )
    stop_ids = [model.tokenize(token.encode(), add_bos=False, special=True)[0] for token in options["stop_tokens"]]

    def suppress(_: np.ndarray, logits: np.ndarray) -> np.ndarray:
        """No stop token, as with a least number of new tokens elsewhere."""
        logits[stop_ids] = -np.inf
        return logits

    processors = llama_cpp.LogitsProcessorList([suppress])

    def run(prompts: Prompts, batch_size: int) -> list[Answer]:
        model.reset()  # nothing left from the pass before
        found = []
        for text in prompts.texts:
            ids = model.tokenize(text.encode(), add_bos=False, special=True)
            new = list(islice(model.generate(ids, temp=0.0, logits_processor=processors), prompts.new_tokens))
            found.append(Answer(model.detokenize(new).decode(errors="replace"), new))
        return found

    return run, versions("llama-cpp-python")


if __name__ == "__main__":
    serve(load, read=read_prompts, summarise=summarise)
