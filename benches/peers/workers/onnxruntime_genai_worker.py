"""onnxruntime-genai on poq's own graph, in batches of similar length."""

from __future__ import annotations

import numpy as np
import onnxruntime_genai
from tokenizers import Tokenizer

from workers.generation import Answer, Prompts, answers, in_batches, read_prompts, summarise
from workers.serve import Pass, serve, versions


def load(options: dict) -> tuple[Pass, str]:
    """The graph on the CPU, with the session options that onnxruntime-genai chooses."""
    onnxruntime_genai.disable_telemetry_events()
    tokenizer = Tokenizer.from_file(options["tokenizer"])
    padding = tokenizer.token_to_id(options["stop_tokens"][-1])
    if options["model"] not in options["genai_folders"]:
        raise LookupError(f"`{options['model']}` is not exported")
    model = onnxruntime_genai.Model(options["genai_folders"][options["model"]])

    def run(prompts: Prompts, batch_size: int) -> list[Answer]:
        def generate(rows: list[list[int]]) -> list[list[int]]:
            width = max(map(len, rows))
            total = width + prompts.new_tokens
            ids = np.full((len(rows), width), padding, dtype=np.int32)
            for index, row in enumerate(rows):
                ids[index, : len(row)] = row
            parameters = onnxruntime_genai.GeneratorParams(model)
            parameters.set_search_options(
                batch_size=len(rows), do_sample=False, max_length=total, min_length=total
            )
            generator = onnxruntime_genai.Generator(model, parameters)
            generator.append_tokens(ids)
            while not generator.is_done():
                generator.generate_next_token()
            return [generator.get_sequence(index)[width:].tolist() for index in range(len(rows))]

        tokenised = [row.ids for row in tokenizer.encode_batch_fast(prompts.texts, add_special_tokens=False)]
        return answers(tokenizer, in_batches(tokenised, batch_size, generate))

    return run, versions("onnxruntime-genai", "onnxruntime")


if __name__ == "__main__":
    serve(load, read=read_prompts, summarise=summarise)
