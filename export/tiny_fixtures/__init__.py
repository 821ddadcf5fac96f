"""Parts of the tiny fixture models: tokenizers, graphs and the checks that hold them to the engine's contract."""
