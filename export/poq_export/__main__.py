"""`python -m poq_export`: make the registry's models ready to run."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from . import datasets, references, registry, runtime
from .fetch import FetchError, fetch, request_wheels
from .plan import Plan
from .progress import say, step
from .registry import Model, Providers, RegistryError
from .wheels import WheelError, WheelStore

REPOSITORY = Path(__file__).resolve().parent.parent.parent


def main() -> int:
    """Exit code 0: everything asked for is there. 1: some model or data set is not, or the preflight misses something."""
    arguments = parse_arguments()
    try:
        entries = registry.load(arguments.models_dir / "registry.toml")
        models = [] if arguments.runtime_only else selected(entries, arguments)
        providers = wanted_providers(arguments)
        if arguments.environment:
            print(environment(models, providers, arguments))
            return 0
        sets = datasets.of_experiment(arguments.experiment, arguments.datasets_dir) if arguments.experiment else []
        due = due_models(models, arguments, providers)
        plan = Plan(
            entries, due, [one for one in sets if one.problem()], arguments.models_dir, providers,
            not arguments.fetch_only, arguments.torch_comes, models if arguments.experiment else [],
        )  # fmt: skip
        if (arguments.preflight or plan.uses_hub()) and not is_ready(plan, arguments):
            return 1
        if arguments.preflight:
            return 0
        with WheelStore(arguments.models_dir / ".cache") as wheels:
            runtime.extract(entries.runtime, providers.runtime, arguments.models_dir, wheels, arguments.force)
            for dataset in plan.datasets:
                datasets.bring(dataset)
            return bring_all(due, arguments, providers, wheels) if due else 0
    except (RegistryError, WheelError, datasets.DatasetError, OSError) as error:
        say(f"error: {error}")
        return 1


def is_ready(plan: Plan, arguments: argparse.Namespace) -> bool:
    """Look for everything that is missing; some of it may be skipped."""
    from . import preflight

    found = preflight.check(plan).report()
    if not found and arguments.skip_missing and not arguments.preflight:
        say("going on without what is missing (`--skip-missing`)")
        return True
    return found


def due_models(models: list[Model], arguments: argparse.Namespace, providers: Providers) -> list[Model]:
    """Those that are not exported as they should be."""
    if not models:
        return []
    from . import pipeline  # needs packages that `--runtime-only` does without

    def is_current(model: Model) -> bool:
        try:
            return pipeline.is_current(model, arguments.models_dir, providers.of(model))
        except RegistryError:  # no reference, no such recipe: its export says so, and fetching it needs neither
            return False

    with step(f"checked {len(models)} models") as details:
        due = [model for model in models if arguments.force or not is_current(model)]
        details.append(f"{len(due)} to {'fetch' if arguments.fetch_only else 'export'}")
    return due


def selected(entries: registry.Registry, arguments: argparse.Namespace) -> list[Model]:
    """The models that the command line asks for."""
    if arguments.experiment:
        return entries.select(None, registry.models_of_experiment(arguments.experiment))
    return entries.select(arguments.pool, arguments.model)


def wanted_providers(arguments: argparse.Namespace) -> Providers:
    """Who is to compute: as the command line says, or else the experiment."""
    if arguments.provider:
        return Providers(arguments.provider, arguments.provider)
    return registry.providers_of_experiment(arguments.experiment) if arguments.experiment else Providers()


def environment(models: list[Model], providers: Providers, arguments: argparse.Namespace) -> str:
    """`export`; or `reference`, with torch, where some model's recording is to be made; or `cuda`, where a gate runs on a GPU
    or a model without a committed recording is to. Fetching alone takes neither."""
    from . import pipeline, recording  # need packages that `--runtime-only` does without

    if arguments.fetch_only:
        return "export"
    unrecorded = [model for model in models if not references.is_committed(model)]
    on_a_card = any(pipeline.gate_needs_card(model, providers.of(model)) for model in models)
    if on_a_card or any(providers.of(model) == "cuda" for model in unrecorded):
        return "cuda"
    to_be_made = any(recording.is_to_be_made(model, arguments.models_dir, providers.of(model)) for model in unrecorded)
    return "reference" if to_be_made else "export"


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m poq_export", description=__doc__)
    parser.add_argument("--pool", default="quick", help="export all models of this pool (default: quick)")
    parser.add_argument("--model", nargs="+", default=[], metavar="KEY", help="export these models instead of a pool")
    parser.add_argument("--experiment", type=Path, metavar="FILE", help="bring this experiment's models and data sets")
    parser.add_argument("--skip-missing", action="store_true", help="go on without the models that cannot be had")
    parser.add_argument("--preflight", action="store_true", help="say everything that is missing, and do nothing")
    parser.add_argument("--environment", action="store_true", help="print which of export/'s environments this takes")
    parser.add_argument("--torch-comes", action="store_true", help="the preflight does not ask for torch: it comes next")
    parser.add_argument("--fetch-only", action="store_true", help="fetch models and data sets, and export nothing")
    parser.add_argument("--force", action="store_true", help="export again what is already there")
    parser.add_argument("--runtime-only", action="store_true", help="only extract the ONNX Runtime library")
    parser.add_argument(
        "--provider",
        help="whose build of ONNX Runtime, and what models are exported for: cpu, openvino or cuda (default: what the "
        "experiment says, or else cpu)",
    )
    parser.add_argument("--models-dir", type=Path, default=REPOSITORY / "models", help="where registry.toml lies")
    parser.add_argument("--datasets-dir", type=Path, default=REPOSITORY / "datasets", help="where their registry.toml lies")
    return parser.parse_args()


def bring_all(due: list[Model], arguments: argparse.Namespace, providers: Providers, wheels: WheelStore) -> int:
    """Fetch and export one after another. What fails is said at once and again at the end; the rest comes all the same."""
    from . import pipeline

    cache = arguments.models_dir / ".cache"
    request_wheels(due, cache, wheels)
    failed = []
    for model in due:
        say(model.key)
        try:
            if arguments.fetch_only:
                fetch(model, arguments.models_dir, cache, wheels)
            else:
                pipeline.export(model, arguments.models_dir, cache, wheels, providers.of(model))
        except FetchError as error:
            failed.append(model.key)
            say(f"error: {error}")
        except Exception as error:  # whatever a recipe or a gate raises, the model is not exported and is named
            failed.append(model.key)
            say(f"error: `{model.key}` is not exported: {type(error).__name__}: {error}")
    if not failed:
        return 0
    say(f"{len(failed)} of {len(due)} failed: {', '.join(failed)}")
    if arguments.skip_missing:
        return 0
    if not arguments.model:
        say(f"hint: `{as_typed(arguments)} --skip-missing` does without")
    return 1


def as_typed(arguments: argparse.Namespace) -> str:
    """The recipe that a command line stands for."""
    flags = f" --provider {arguments.provider}" if arguments.provider else ""
    if not arguments.experiment:
        return f"just models {arguments.pool}{' --fetch-only' if arguments.fetch_only else ''}{flags}"
    if arguments.fetch_only:
        return f"just fetch {arguments.experiment.stem}{flags}"
    return f"just reproduce {arguments.experiment.stem}"  # its flags are those of `poq run`


if __name__ == "__main__":
    sys.exit(main())
