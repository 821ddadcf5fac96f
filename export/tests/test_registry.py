"""The registry: what it refuses, and what makes an export out of date."""

from __future__ import annotations

import dataclasses
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from poq_export import references, registry
from poq_export.__main__ import as_typed, environment, parse_arguments, wanted_providers
from poq_export.registry import RegistryError, RuntimePackage

REPOSITORY = Path(__file__).resolve().parents[2]

TEXT = """
schema_version = 1

[runtime]
package = "plain"
version = "1"

[runtime.openvino]
package = "other"
version = "2"

[[model]]
key = "toy"
pool = "none"
role = "evaluator"
architecture = "bi_encoder"
precision = "f32"
name = "toy"
upstream = "none"
licence = "MIT"
max_length = 8
files = ["model.onnx"]

[model.scoring]
output = "vector"
batch_size = 8

[model.export]
recipe = "copy_onnx"
logit_tolerance = 0.1

[[model.artifact]]
name = "model.onnx"
sha256 = "00"
[[model.artifact.source]]
kind = "path"
path = "model.onnx"
"""


def load(text: str) -> registry.Registry:
    """A registry from its text."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "registry.toml"
        path.write_text(text, encoding="utf-8")
        return registry.load(path)


class Load(unittest.TestCase):
    def test_the_committed_registries_are_valid(self) -> None:
        self.assertEqual([model.key for model in load(TEXT).models], ["toy"])
        known = registry.load(REPOSITORY / "models" / "registry.toml")
        self.assertTrue(all(model.export.recipe for model in known.models))

    def test_a_field_that_nobody_knows_is_refused_by_name(self) -> None:
        for line, misspelt in (
            ("max_length = 8", "max_lenght = 8"),
            ("batch_size = 8", "batch_size = 8\nbatchsize = 8"),
            ('recipe = "copy_onnx"', 'recipe = "copy_onnx"\nheads = "untrained"'),
            ('sha256 = "00"', 'sha256 = "00"\nmd5 = "00"'),
            ('path = "model.onnx"', 'path = "model.onnx"\nrevision = "1"'),
            ("[runtime.openvino]", "[runtime.opnvino]"),
            ('version = "2"', 'version = "2"\nhash = "00"'),
            ("schema_version = 1", "schema_version = 1\ncolour = 1"),
        ):
            name = misspelt.splitlines()[-1].split(" = ")[0].strip("[]").removeprefix("runtime.")
            with self.subTest(name), self.assertRaisesRegex(RegistryError, f"`{name}`"):
                load(TEXT.replace(line, misspelt, 1))

    def test_a_missing_field_is_named(self) -> None:
        for line, name in (("max_length = 8\n", "max_length"), ('version = "2"\n', "version"), ('key = "toy"\n', "key")):
            with self.subTest(name), self.assertRaisesRegex(RegistryError, f"`{name}` is missing"):
                load(TEXT.replace(line, "", 1))

    def test_a_schema_of_another_version_is_refused(self) -> None:
        with self.assertRaisesRegex(RegistryError, "schema_version is 2"):
            load(TEXT.replace("schema_version = 1", "schema_version = 2"))


COMMIT = "96df5e686bee6baa90b8bee7c28b81fa3fa6223d"
HASHED = '''sha256 = "00"
[[model.artifact.source]]
kind = "path"
path = "model.onnx"
'''


def hub_source(revision: str = COMMIT) -> str:
    """A source of the hub."""
    return f'[[model.artifact.source]]\nkind = "hub"\nrepo = "maker/toy"\nrevision = "{revision}"\nfile = "model.onnx"\n'


class HubArtifacts(unittest.TestCase):
    def test_a_file_of_a_commit_needs_no_hash_of_its_own(self) -> None:
        text = TEXT.replace(HASHED, "bytes = 7\n" + hub_source()).replace("licence =", "gated = true\nlicence =")
        (model,) = load(text).models
        self.assertTrue(model.gated)
        self.assertEqual((model.artifact[0].sha256, model.artifact[0].bytes), (None, 7))
        self.assertEqual(model.artifact[0].identity(), {"source": f"hub maker/toy@{COMMIT}/model.onnx"})

    def test_any_other_file_does(self) -> None:
        for artifact in (
            HASHED.replace('sha256 = "00"\n', ""),
            hub_source("main"),
            hub_source(COMMIT[:39]),
            hub_source() + HASHED.replace('sha256 = "00"\n', ""),
        ):
            with self.subTest(artifact), self.assertRaisesRegex(RegistryError, "`sha256` is missing; only hub"):
                load(TEXT.replace(HASHED, artifact))
        (model,) = load(TEXT.replace(HASHED, 'sha256 = "00"\n' + hub_source("main"))).models
        self.assertEqual(model.artifact[0].sha256, "00")
        with self.assertRaisesRegex(RegistryError, "artifact `model.onnx`: several sources"):
            load(TEXT.replace(HASHED, hub_source() + hub_source(COMMIT[::-1])))

    def test_values_that_mean_nothing_are_refused(self) -> None:
        for line, bad, named in (
            ('sha256 = "00"', 'sha256 = "00"\nbytes = 0', "`bytes` is 0"),
            ("licence =", 'gated = "yes"\nlicence =', "`gated` is 'yes'"),
            ("logit_tolerance = 0.1", 'logit_tolerance = 0.1\ncuda_precision = "bf32"', "`cuda_precision` is `bf32`"),
        ):
            with self.subTest(named), self.assertRaisesRegex(RegistryError, named):
                load(TEXT.replace(line, bad, 1))

    def test_the_export_is_another_one_with_another_commit(self) -> None:
        (model,) = load(TEXT.replace(HASHED, hub_source())).models
        (other,) = load(TEXT.replace(HASHED, hub_source(COMMIT[::-1]))).models
        (sized,) = load(TEXT.replace(HASHED, "bytes = 7\n" + hub_source())).models
        self.assertNotEqual(model.export_hash(), other.export_hash())
        self.assertEqual(model.export_hash(), sized.export_hash())


class RuntimePackages(unittest.TestCase):
    def test_every_provider_has_a_package_of_its_own(self) -> None:
        runtime = load(TEXT).runtime
        self.assertEqual(runtime.of("cpu"), RuntimePackage("plain", "1"))
        self.assertEqual(runtime.of("openvino"), RuntimePackage("other", "2"))
        with self.assertRaisesRegex(RegistryError, "`cuda`.*cpu, openvino"):
            runtime.of("cuda")


class ExportHash(unittest.TestCase):
    def test_it_changes_with_what_is_exported_and_with_nothing_else(self) -> None:
        (model,) = load(TEXT).models
        told = (("name", "other"), ("pool", "bench"), ("licence_note", "seen"), ("parameters", 7), ("gated", True))
        for field, value in told:
            self.assertEqual(dataclasses.replace(model, **{field: value}).export_hash(), model.export_hash(), field)
        for field, value in (("max_length", 9), ("fixed_length", 8), ("files", ["model.onnx", "model.int8.onnx"])):
            self.assertNotEqual(dataclasses.replace(model, **{field: value}).export_hash(), model.export_hash(), field)
        half = dataclasses.replace(model, export=dataclasses.replace(model.export, cuda_precision="bf16"))
        self.assertEqual(half.export_hash(), model.export_hash())
        drawn = dataclasses.replace(model, export=dataclasses.replace(model.export, head="untrained"))
        self.assertNotEqual(drawn.export_hash(), model.export_hash())


class Experiments(unittest.TestCase):
    def wanted(self, *given: str) -> registry.Providers:
        """The providers that a command line exports for."""
        with mock.patch("sys.argv", ["poq_export", *given]):
            return wanted_providers(parse_arguments())

    def test_the_experiment_says_who_computes_unless_the_command_line_does(self) -> None:
        paper, quick = (str(REPOSITORY / "experiments" / f"{name}.toml") for name in ("paper", "quick"))
        self.assertEqual(self.wanted("--experiment", paper), registry.Providers("cuda", "cuda"))
        self.assertEqual(self.wanted("--experiment", paper, "--provider", "cpu"), registry.Providers("cpu", "cpu"))
        self.assertEqual(self.wanted("--experiment", quick).runtime, "cpu")
        self.assertEqual(self.wanted("--pool", "paper"), registry.Providers())

    def test_models_and_evaluators_may_be_computed_by_others(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            experiment = Path(folder) / "mixed.toml"
            experiment.write_text("[generation]\nprovider = 'cuda'\n[scoring]\nprovider = 'cpu'\n")
            providers = self.wanted("--experiment", str(experiment))
        models = registry.load(REPOSITORY / "models" / "registry.toml").select("paper", [])
        self.assertEqual({model.role: providers.of(model) for model in models}, {"inference": "cuda", "evaluator": "cpu"})
        self.assertEqual(providers.runtime, "cuda")

    def test_the_environment_is_the_least_that_does(self) -> None:
        entries = registry.load(REPOSITORY / "models" / "registry.toml")
        paper, quick = entries.select("paper", []), entries.select("quick", [])
        cpu, cuda = registry.Providers(), registry.Providers("cuda", "cuda")
        with tempfile.TemporaryDirectory() as folder:  # where nothing was recorded yet
            for flags, expected in (
                ((), ["export", "export", "reference", "cuda"]),
                (("--fetch-only",), ["export"] * 4),
            ):
                with mock.patch("sys.argv", ["poq_export", "--models-dir", folder, *flags]):
                    arguments = parse_arguments()
                cases = [(models, providers) for models in (quick, paper) for providers in (cpu, cuda)]
                self.assertEqual([environment(*case, arguments) for case in cases], expected)

    def test_a_gate_on_a_card_takes_cudas_environment_whoever_recorded(self) -> None:
        models = registry.load(REPOSITORY / "models" / "registry.toml").select("paper", [])
        with mock.patch("sys.argv", ["poq_export"]), mock.patch.object(references, "is_committed", return_value=True):
            found = [environment(models, registry.Providers(name, name), parse_arguments()) for name in ("cpu", "cuda")]
        self.assertEqual(found, ["export", "cuda"])

    def test_the_hint_is_what_was_typed(self) -> None:
        for given, expected in (
            (("--pool", "paper", "--provider", "cuda"), "just models paper --provider cuda"),
            (("--pool", "paper", "--fetch-only"), "just models paper --fetch-only"),
            (("--experiment", "paper.toml"), "just reproduce paper"),
            (("--experiment", "paper.toml", "--fetch-only", "--provider", "cpu"), "just fetch paper --provider cpu"),
        ):
            with mock.patch("sys.argv", ["poq_export", *given]):
                self.assertEqual(as_typed(parse_arguments()), expected)

    def test_the_papers_experiment_needs_the_papers_models(self) -> None:
        pool = registry.load(REPOSITORY / "models" / "registry.toml").select("paper", [])
        found = registry.models_of_experiment(REPOSITORY / "experiments" / "paper.toml")
        self.assertEqual(sorted(found), sorted(model.key for model in pool))


class Select(unittest.TestCase):
    def test_an_unknown_model_or_pool_lists_the_known_ones(self) -> None:
        for pool, keys, known in ((None, ["toi"], "toy"), ("quick", [], "none")):
            with self.assertRaisesRegex(RegistryError, f"has: {known}"):
                load(TEXT).select(pool, keys)


if __name__ == "__main__":
    unittest.main()
