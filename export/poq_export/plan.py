"""What one call is to do, known before anything is fetched."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from .datasets import Dataset
from .registry import HubSource, Model, Providers, Registry


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is to be done: models to export and data sets to fetch, those that are current left out."""

    registry: Registry
    models: list[Model]
    datasets: list[Dataset]
    models_dir: Path
    providers: Providers
    export: bool = True  # or fetch alone
    torch_comes: bool = False  # it is installed next, and not to be missed
    run: list[Model] = dataclasses.field(default_factory=list)  # an experiment's models, exported or not: it computes with them

    def on_a_card(self) -> list[Model]:
        """The models that the experiment computes with on a GPU."""
        return [model for model in self.run if self.providers.of(model) == "cuda"]

    def uses_hub(self) -> bool:
        """Whether anything comes from the hub."""
        sources = [source for model in self.models for artifact in model.artifact for source in artifact.source]
        sources += [source for dataset in self.datasets for source in dataset.fetch]
        return any(isinstance(source, HubSource) for source in sources)
