"""`config.json`, read field by field: one that nobody read is an error that names it, since it may change the maths."""

from __future__ import annotations

from typing import Any

from .checkpoint import CheckpointError

# What steers training, loading or generating, or names things; nothing of it enters the graph. Dropout acts in training
# alone, `pretraining_tp` says how a product was once distributed.
WITHOUT_EFFECT = {
    "_attn_implementation_autoset", "_model_name_or_path", "_name_or_path", "attention_dropout", "auto_map", "bos_token_id",
    "cache_implementation", "dtype", "embd_pdrop", "eos_token_id", "initializer_range", "is_llama_config", "pad_token_id",
    "pretraining_tp", "resid_pdrop", "torch_dtype", "transformers.js_config", "transformers_version", "unk_token_id",
    "use_cache",
}  # fmt: skip


class Fields:
    """A configuration that remembers what was read of it."""

    def __init__(self, content: dict[str, Any]) -> None:
        self._content = content
        self._read: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        """A field; the default where it is absent or null."""
        self._read.add(name)
        value = self._content.get(name)
        return default if value is None else value

    def require(self, name: str) -> Any:
        """A field that must have a value."""
        if (value := self.get(name)) is None:
            raise CheckpointError(f"config field `{name}` is missing")
        return value

    def stated(self, name: str) -> Any:
        """A field that must be there, but may be null."""
        if name not in self._content:
            raise CheckpointError(f"config field `{name}` is missing")
        return self.get(name)

    def expect(self, name: str, *values: Any) -> None:
        """A field that is absent, null or one of the values that can be built; without values, absent or null."""
        if (value := self.get(name)) is not None and value not in values:
            known = ", ".join(f"`{known}`" for known in values or ("null",))
            raise CheckpointError(f"config field `{name}` is `{value}`; only {known} can be built")

    def refuse(self, *names: str, beside: str) -> None:
        """Fields that would contradict another one."""
        for name in names:
            if self.get(name) is not None:
                raise CheckpointError(f"config field `{name}` stands beside `{beside}`; which of them counts is not clear")

    def finish(self) -> None:
        """Refuse what was not read."""
        if unknown := sorted(set(self._content) - self._read - WITHOUT_EFFECT):
            raise CheckpointError(f"config field `{unknown[0]}` is not part of what this recipe reads")
