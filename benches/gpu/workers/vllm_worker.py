"""vLLM with weights of its own making (`load_format="dummy"`), given token ids, as many rows at once as a batch has.

Its memory of prompts is emptied before every pass: the second pass would find everything computed otherwise.
"""

from __future__ import annotations

from tokenizers import Tokenizer
from vllm import LLM, SamplingParams

from workers.generation import Answer, Prompts, in_batches, read_prompts, summarise
from workers.serve import Pass, serve, versions


class Run:
    """A pass; `prepare` is called before the clock starts."""

    def __init__(self, options: dict) -> None:
        self.tokenizer = Tokenizer.from_file(f"{options['folder']}/tokenizer.json")
        self.llm = LLM(
            model=options["folder"],
            load_format="dummy",
            skip_tokenizer_init=True,
            dtype=options["dtype"],
            max_num_seqs=options["rows"],
            max_model_len=options["length"],
            seed=0,
        )

    def prepare(self, batch_size: int) -> None:
        """Forget the prompts of the last pass."""
        self.llm.reset_prefix_cache()

    def __call__(self, prompts: Prompts, batch_size: int) -> list[Answer]:
        settings = SamplingParams(temperature=0, max_tokens=prompts.new_tokens, ignore_eos=True, detokenize=False)

        def generate(rows: list[list[int]]) -> list[list[int]]:
            found = self.llm.generate([{"prompt_token_ids": row} for row in rows], settings, use_tqdm=False)
            return [list(one.outputs[0].token_ids) for one in found]

        tokenised = [row.ids for row in self.tokenizer.encode_batch_fast(prompts.texts, add_special_tokens=False)]
        return [Answer("", ids) for ids in in_batches(tokenised, batch_size, generate)]


def load(options: dict) -> tuple[Pass, str]:
    """The engine, warmed up by itself."""
    return Run(options), f"{versions('vllm', 'torch')}; {options['dtype']}"


if __name__ == "__main__":
    serve(load, read=read_prompts, summarise=summarise)
