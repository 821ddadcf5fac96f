"""OpenVINO GenAI's continuous batching from a GGUF file, with or without prefix caching.

Cached prefixes outlive a call of `generate`: a second pass over the same prompts is several times faster than the
first, because nothing of them is left to compute. So every pass has a new pipeline, made off the clock and warmed up with
a prompt that shares nothing with the inputs; within the pass it shares all it can.

`max_num_seqs` bounds nothing while prompts are split over steps (`dynamic_split_fuse`, the default), so a batch size is
also the number of prompts handed over at once.
"""

from __future__ import annotations

import numpy as np
import openvino
import openvino_genai
from tokenizers import Tokenizer

from workers.generation import Answer, Prompts, answers, read_prompts, summarise
from workers.serve import Pass, serve, versions

# In GB, more than twice what the keys and values of 160 prompts and answers take, even in f32.
CACHE_SIZE = 4
WARM_UP_IDS = range(1000, 1100)


class Generate:
    """A pass, and the pipeline it is done with."""

    def __init__(self, options: dict) -> None:
        self.options = options
        self.tokenizer = Tokenizer.from_file(options["tokenizer"])
        self.stop_ids = {self.tokenizer.token_to_id(token) for token in options["stop_tokens"]}
        self.pipeline: openvino_genai.ContinuousBatchingPipeline | None = None

    def prepare(self, batch_size: int) -> None:
        """A pipeline with nothing in its cache that a pass could use, for `batch_size` sequences at once."""
        self.pipeline = None
        scheduler = openvino_genai.SchedulerConfig()
        scheduler.cache_size = CACHE_SIZE
        scheduler.max_num_seqs = batch_size
        for name, value in self.options["scheduler"].items():
            setattr(scheduler, name, value)
        weights = self.options[self.options.get("weights", "gguf")]
        properties = self.options.get("properties", {})
        self.pipeline = openvino_genai.ContinuousBatchingPipeline(weights, scheduler, "CPU", properties)
        self._generate([list(WARM_UP_IDS)], 8)

    def __call__(self, prompts: Prompts, batch_size: int) -> list[Answer]:
        rows = [row.ids for row in self.tokenizer.encode_batch_fast(prompts.texts, add_special_tokens=False)]
        found: list[list[int]] = []
        for begin in range(0, len(rows), batch_size):
            found += self._generate(rows[begin : begin + batch_size], prompts.new_tokens)
        return answers(self.tokenizer, found)

    def _generate(self, rows: list[list[int]], new_tokens: int) -> list[list[int]]:
        config = openvino_genai.GenerationConfig()
        config.do_sample = False
        config.min_new_tokens = config.max_new_tokens = new_tokens
        config.stop_token_ids = self.stop_ids
        inputs = [openvino.Tensor(np.array([row], dtype=np.int64)) for row in rows]
        return [found.m_generation_ids[0] for found in self.pipeline.generate(inputs, [config] * len(inputs))]


def load(options: dict) -> tuple[Pass, str]:
    """The tokenizer; the model is loaded anew before every pass."""
    return Generate(options), versions("openvino-genai", "openvino")


if __name__ == "__main__":
    serve(load, read=read_prompts, summarise=summarise)
