//! `models/registry.toml`: every fact about a model that the engine needs, as data.
//!
//! `export/` reads the same file, so a field added here must be known there too. Unknown fields are refused by name.

pub use super::artifact::{Artifact, PackagePart, Source};
pub use super::facts::{
    Against, Architecture, CudaPrecision, DecoderFacts, ExportFacts, Head, Model, PairOrder, Pooling, Role,
    ScoringFacts,
};
use super::provider::Provider;
use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Version of the registry's schema that this build reads.
pub const SCHEMA_VERSION: u32 = 1;

/// The registry and the directory it stands in, where exported models lie as `<key>/`.
#[derive(Debug, Clone)]
pub struct Registry {
    /// Directory of the registry file.
    pub directory: PathBuf,
    /// Every model, in file order.
    pub models: Vec<Model>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RegistryFile {
    schema_version: u32,
    #[serde(rename = "runtime")]
    _runtime: Option<RuntimePackages>,
    #[serde(default, rename = "model")]
    models: Vec<Model>,
}

/// The packages that carry ONNX Runtime, one per provider; read by `export/`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuntimePackages {
    /// Package name of the build for the CPU.
    pub package: String,
    /// Its exact version.
    pub version: String,
    /// The build with the OpenVINO provider.
    pub openvino: Option<RuntimePackage>,
    /// The build with the CUDA provider.
    pub cuda: Option<RuntimePackage>,
}

/// A package that carries ONNX Runtime.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuntimePackage {
    /// Package name.
    pub package: String,
    /// Exact version.
    pub version: String,
}

impl Registry {
    /// Reads and checks `<directory>/registry.toml`.
    pub fn open(directory: &Path) -> Result<Self> {
        let path = directory.join("registry.toml");
        let text = std::fs::read_to_string(&path).with_context(|| {
            format!(
                "cannot read the model registry `{}` (hint: run from the repository, or pass --models)",
                path.display()
            )
        })?;
        let file: RegistryFile =
            toml::from_str(&text).with_context(|| format!("`{}` is not a valid registry", path.display()))?;
        ensure!(
            file.schema_version == SCHEMA_VERSION,
            "`{}` has schema version {}, this poq reads version {SCHEMA_VERSION}",
            path.display(),
            file.schema_version
        );
        for (i, model) in file.models.iter().enumerate() {
            ensure!(
                file.models[..i].iter().all(|other| other.key != model.key),
                "`{}` has two models with the key `{}`",
                path.display(),
                model.key
            );
            model.check().with_context(|| format!("model `{}` in `{}`", model.key, path.display()))?;
        }
        Ok(Self { directory: directory.to_path_buf(), models: file.models })
    }

    /// The model with this key, or an error that lists the keys with the same role.
    pub fn get(&self, key: &str, role: Role) -> Result<&Model> {
        let known =
            || self.models.iter().filter(|m| m.role == role).map(|m| m.key.as_str()).collect::<Vec<_>>().join(", ");
        let model = self
            .models
            .iter()
            .find(|m| m.key == key)
            .ok_or_else(|| anyhow!("unknown model `{key}`; the registry knows: {}", known()))?;
        if model.role != role {
            bail!("model `{key}` has another role; the registry knows for this one: {}", known());
        }
        Ok(model)
    }

    /// The same models as a provider computes them.
    #[must_use]
    pub fn on(mut self, provider: Provider) -> Self {
        self.models.iter_mut().for_each(|model| model.provider = provider);
        self
    }

    /// Directory where a model's files lie.
    pub fn model_directory(&self, model: &Model) -> Result<PathBuf> {
        Ok(self.directory.join(model.directory_name()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: &str = r#"
schema_version = 1
[[model]]
key = "ce"
pool = "tiny"
role = "evaluator"
architecture = "cross_encoder"
precision = "f32"
name = "CE"
upstream = "none"
licence = "MIT"
max_length = 32
files = ["model.onnx"]
[model.scoring]
head = "probability"
labels = ["contradiction", "entailment"]
target = "entailment"
batch_size = 32
"#;

    fn open(text: &str) -> Result<Registry> {
        let directory = tempfile::tempdir().expect("temporary directory");
        std::fs::write(directory.path().join("registry.toml"), text).expect("write");
        Registry::open(directory.path())
    }

    #[test]
    fn the_target_column_is_found_by_name() {
        let registry = open(ENTRY).expect("valid");
        let model = registry.get("ce", Role::Evaluator).expect("known");
        assert_eq!(model.scoring_facts().and_then(ScoringFacts::target_column).expect("column"), 1);
    }

    #[test]
    fn bad_entries_are_refused_by_name() {
        for (from, to, expected) in [
            ("max_length = 32", "max_length = 32\nmax_lenght = 3", "max_lenght"),
            ("target = \"entailment\"", "target = \"neutral\"", "neutral"),
            ("head = \"probability\"", "", "scoring.head"),
            ("schema_version = 1", "schema_version = 9", "schema version 9"),
            ("role = \"evaluator\"", "role = \"judge\"", "judge"),
            ("max_length = 32", "max_length = 32\nfixed_length = 16", "`fixed_length` is 16"),
        ] {
            let error = format!("{:#}", open(&ENTRY.replace(from, to)).expect_err("refused"));
            assert!(error.contains(expected), "`{error}` does not name `{expected}`");
        }
    }

    #[test]
    fn only_a_commit_of_the_hub_does_without_a_hash() {
        const COMMIT: &str = "96df5e686bee6baa90b8bee7c28b81fa3fa6223d";
        let artifact = |field: &str, source: &str| {
            format!("[[model.artifact]]\nname = \"w\"\n{field}\n[[model.artifact.source]]\n{source}\n")
        };
        let hub = |revision: &str| format!("kind = \"hub\"\nrepo = \"m/w\"\nrevision = \"{revision}\"\nfile = \"w\"");
        let entry =
            |artifact: String| open(&format!("{}{artifact}", ENTRY.replace("licence", "gated = true\nlicence")));
        let registry = entry(artifact("bytes = 7", &hub(COMMIT))).expect("valid");
        let model = &registry.models[0];
        assert!(model.gated);
        assert_eq!((model.artifacts[0].bytes, &model.artifacts[0].sha256), (Some(7), &None));
        entry(artifact("sha256 = \"00\"", &hub("main"))).expect("valid");
        for (bad, expected) in [
            (artifact("", &hub("main")), "`sha256` is missing"),
            (artifact("", &hub(&COMMIT.to_uppercase())), "`sha256` is missing"),
            (artifact("", "kind = \"path\"\npath = \"w\""), "`sha256` is missing"),
            (artifact("bytes = 0", &hub(COMMIT)), "`bytes`"),
            (
                artifact(
                    "",
                    &format!("{}\n[[model.artifact.source]]\n{}", hub(COMMIT), hub(&COMMIT.replace('9', "0"))),
                ),
                "several sources",
            ),
        ] {
            let error = format!("{:#}", entry(bad).expect_err("refused"));
            assert!(error.contains("artifact `w`") && error.contains(expected), "{error}");
        }
        let bf32 =
            entry(format!("{}[model.export]\nrecipe = \"r\"\nlogit_tolerance = 0.1\ncuda_precision = \"bf32\"", ""));
        assert!(format!("{:#}", bf32.expect_err("refused")).contains("bf32"));
    }

    #[test]
    fn an_unknown_key_lists_the_known_ones() {
        let registry = open(ENTRY).expect("valid");
        let error = registry.get("c", Role::Evaluator).expect_err("unknown").to_string();
        assert!(error.contains("`c`") && error.contains("ce"), "{error}");
    }
}
