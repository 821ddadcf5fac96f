//! What is exported under `models/<key>/`: the manifest that `export/` writes once the parity gate has passed, and the
//! checks of files against it.

use super::provider::Provider;
use super::registry::{Artifact, Model, Registry};
use crate::digest::{hex, sha256_fields, sha256_file};
use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The recipe that brings models and the runtime library, where no model is at hand that names its own.
pub(super) const HINT: &str = "hint: `just models` exports it (`just models POOL` for a pool other than quick)";

/// `models/<key>/manifest.json`, as far as the engine reads it.
#[derive(Debug, Clone, Deserialize)]
pub struct Manifest {
    /// Model key the files were made for.
    pub key: String,
    /// Every exported file.
    pub files: BTreeMap<String, ManifestFile>,
    /// How far 8-bit graphs stray from f32, on seeded pairs; evaluators alone have it.
    pub drift: Option<Drift>,
    /// Hashes of what was fetched.
    #[serde(default)]
    pub artifacts: BTreeMap<String, ManifestArtifact>,
}

/// The drift report of an evaluator.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct Drift {
    /// Pairs scored.
    pub pairs: usize,
    /// Each graph by name: `f32` as the control, `int8`, and `w8` (8-bit weights computed in f32).
    #[serde(flatten)]
    pub graphs: BTreeMap<String, GraphDrift>,
}

/// What one graph does to scores.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct GraphDrift {
    /// Largest difference of a score from f32.
    pub difference_largest: Option<f64>,
    /// Mean difference.
    pub difference_mean: Option<f64>,
    /// Spearman correlation with f32.
    pub spearman: Option<f64>,
    /// Largest difference of a score alone and in a batch of eight.
    pub batch_mate_largest: f64,
}

/// One exported file.
#[derive(Debug, Clone, Deserialize)]
pub struct ManifestFile {
    /// Hash in hex.
    pub sha256: String,
    /// Size.
    pub bytes: u64,
}

/// One fetched file: its hash, or its place in the hub where the registry gives none.
#[derive(Debug, Clone, Deserialize)]
pub struct ManifestArtifact {
    /// Hash in hex.
    pub sha256: Option<String>,
    /// Repository, commit and file, as the registry's source is written.
    pub source: Option<String>,
}

impl ManifestArtifact {
    fn is(&self, artifact: &Artifact) -> bool {
        match &artifact.sha256 {
            Some(_) => self.sha256 == artifact.sha256,
            None => self.source == artifact.sources.first().map(ToString::to_string),
        }
    }
}

/// State of a model on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    /// Exported, with every file in place.
    Ready,
    /// Nothing there.
    Missing,
    /// There, but wrong: the reason.
    Broken(String),
}

/// An exported model whose files were checked for presence and size.
#[derive(Debug, Clone)]
pub struct Exported {
    /// Directory of the files.
    pub directory: PathBuf,
    /// The manifest.
    pub manifest: Manifest,
    /// The command that exports it, as the last line of an error.
    hint: String,
}

impl Exported {
    /// Finds an exported model. Sizes are checked here, hashes by [`Exported::verify`] (they take seconds).
    pub fn open(registry: &Registry, model: &Model) -> Result<Self> {
        let hint = format!("hint: `{}` exports it", model.recipe());
        let directory = registry.model_directory(model)?;
        let path = directory.join("manifest.json");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let (key, path) = (&model.key, path.display());
                let on = if model.provider == Provider::Cuda { " for the provider `cuda`" } else { "" };
                bail!("model `{key}` is not exported{on}: `{path}` does not exist\n{hint}")
            }
            Err(error) => return Err(error).with_context(|| format!("cannot read `{}`", path.display())),
        };
        let manifest: Manifest = serde_json::from_str(&text)
            .with_context(|| format!("`{}` is not a valid manifest\n{hint}", path.display()))?;
        ensure!(manifest.key == model.files_key(), "`{}` belongs to model `{}`", path.display(), manifest.key);
        for artifact in &model.artifacts {
            ensure!(
                manifest.artifacts.get(&artifact.name).is_some_and(|made_from| made_from.is(artifact)),
                "model `{}` was exported from another `{}` than the registry names\n{hint}",
                model.key,
                artifact.name
            );
        }
        for file in &model.files {
            let Some(listed) = manifest.files.get(file) else {
                bail!("`{}` does not list `{file}`\n{hint}", path.display())
            };
            let file_path = directory.join(file);
            let bytes = std::fs::metadata(&file_path)
                .with_context(|| format!("model `{}` lacks `{}`\n{hint}", model.key, file_path.display()))?
                .len();
            ensure!(
                bytes == listed.bytes,
                "`{}` has {bytes} bytes, its manifest says {}: the file is damaged\n{hint}",
                file_path.display(),
                listed.bytes
            );
        }
        Ok(Self { directory, manifest, hint })
    }

    /// Path of one of the model's files.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Compares every file with its hash; the error names the file.
    pub fn verify(&self) -> Result<()> {
        for (name, listed) in &self.manifest.files {
            let path = self.directory.join(name);
            let found = sha256_file(&path)?;
            ensure!(
                found == listed.sha256,
                "`{}` has the wrong hash: sha256 {found}, its manifest says {}\n{}",
                path.display(),
                listed.sha256,
                self.hint
            );
        }
        Ok(())
    }

    /// One hash over some of the files: what was computed from them alone stays valid when others change.
    pub fn hash_of(&self, names: &[&str]) -> Result<String> {
        let mut fields = Vec::new();
        for name in names {
            let file = self.manifest.files.get(*name).with_context(|| {
                format!(
                    "`{}` does not list `{name}`: the model was not exported for what was asked\n{}",
                    self.directory.join("manifest.json").display(),
                    self.hint
                )
            })?;
            fields.extend([name.as_bytes(), file.sha256.as_bytes()]);
        }
        Ok(hex(&sha256_fields(fields)))
    }

    /// One hash over all files: what a run records and keys its work by.
    #[must_use]
    pub fn hash(&self) -> String {
        let fields = self.manifest.files.iter().flat_map(|(name, file)| [name.as_bytes(), file.sha256.as_bytes()]);
        hex(&sha256_fields(fields))
    }
}

/// State of a model, for `poq models list`.
#[must_use]
pub fn presence(registry: &Registry, model: &Model) -> Presence {
    match registry.model_directory(model) {
        Ok(directory) if !directory.join("manifest.json").exists() => return Presence::Missing,
        _ => {}
    }
    match Exported::open(registry, model) {
        Ok(_) => Presence::Ready,
        Err(error) => Presence::Broken(format!("{error:#}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::registry::Role;
    use std::path::Path;

    const COMMIT: &str = "96df5e686bee6baa90b8bee7c28b81fa3fa6223d";

    fn state(directory: &Path, source: &str) -> Presence {
        let registry = format!(
            "schema_version = 1\n[[model]]\nkey = \"toy\"\npool = \"tiny\"\nrole = \"evaluator\"\n\
             architecture = \"bi_encoder\"\nprecision = \"f32\"\nname = \"toy\"\nupstream = \"maker/toy\"\n\
             licence = \"MIT\"\nmax_length = 8\nfiles = [\"model.onnx\"]\n\
             scoring = {{ pooling = \"mean\", batch_size = 8 }}\n\
             [[model.artifact]]\nname = \"w\"\n\
             source = [{{ kind = \"hub\", repo = \"maker/toy\", revision = \"{COMMIT}\", file = \"w\" }}]\n"
        );
        let manifest = format!(
            "{{\"key\": \"toy\", \"files\": {{\"model.onnx\": {{\"sha256\": \"00\", \"bytes\": 3}}}}, \
             \"artifacts\": {{\"w\": {{{source}}}}}}}"
        );
        std::fs::write(directory.join("registry.toml"), registry).unwrap();
        std::fs::create_dir_all(directory.join("toy")).unwrap();
        std::fs::write(directory.join("toy/manifest.json"), manifest).unwrap();
        std::fs::write(directory.join("toy/model.onnx"), "abc").unwrap();
        let registry = Registry::open(directory).unwrap();
        presence(&registry, &registry.models[0])
    }

    #[test]
    fn a_model_made_from_another_commit_is_not_the_registrys() {
        let directory = tempfile::tempdir().unwrap();
        let source = |commit: &str| format!("\"source\": \"hub maker/toy@{commit}/w\"");
        assert_eq!(state(directory.path(), &source(COMMIT)), Presence::Ready);
        for other in [source(&COMMIT.replace('9', "0")), "\"sha256\": \"00\"".into(), String::new()] {
            let Presence::Broken(problem) = state(directory.path(), &other) else { panic!("taken for the registry's") };
            assert!(problem.contains("another `w` than the registry names"), "{problem}");
        }
    }

    #[test]
    fn a_decoder_on_cuda_is_another_export() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny");
        let registry = Registry::open(&fixtures).expect("registry").on(Provider::Cuda);
        let get = |registry: &Registry, key| registry.get(key, Role::Inference).expect("known").clone();
        let model = get(&registry, "tiny_decoder");
        let half = Exported::open(&registry, &model).expect("its twin in f16");
        assert!(half.directory.ends_with("tiny_decoder-f16") && model.arithmetic() == "f16");
        let error = Exported::open(&registry, &get(&registry, "tiny_decoder_b")).expect_err("no such form").to_string();
        assert!(error.contains("`tiny_decoder_b`") && error.contains("export.cuda_precision"), "{error}");
        // An evaluator has one directory.
        let evaluator = registry.get("tiny_bi", Role::Evaluator).expect("known");
        assert!(Exported::open(&registry, evaluator).expect("exported").directory.ends_with("tiny_bi"));

        let elsewhere = tempfile::tempdir().expect("temporary directory");
        let registry = Registry { directory: elsewhere.path().to_path_buf(), ..registry };
        let error = Exported::open(&registry, &model).expect_err("nothing there").to_string();
        assert!(error.contains("tiny_decoder-f16") && error.contains("just models tiny --provider cuda"), "{error}");
        assert_eq!(presence(&registry, &model), Presence::Missing);
    }
}
