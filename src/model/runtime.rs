//! ONNX Runtime itself: found and loaded at run time, once per process.

use super::manifest::HINT;
use super::provider::Provider;
use anyhow::{Context, Result, anyhow, bail};
use ort::environment::Environment;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Environment variable that names another `libonnxruntime.so`.
pub const LIBRARY_VARIABLE: &str = "ORT_DYLIB_PATH";

static ENVIRONMENT: OnceLock<Result<Loaded, String>> = OnceLock::new();

struct Loaded {
    environment: Environment,
    version: String,
    library: PathBuf,
}

/// Version and origin of the loaded library, for `run.json`.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, PartialEq, Eq)]
pub struct RuntimeInfo {
    /// Major and minor version of ONNX Runtime.
    pub version: String,
    /// What ONNX Runtime says of its build.
    pub build: String,
    /// Execution provider in use.
    pub provider: String,
}

/// Loads the library: the one named by `ORT_DYLIB_PATH`, or the build of the provider below `<models>/`. A process holds
/// one build for its life, so the first call decides.
pub fn load(models_directory: &Path, provider: Provider) -> Result<RuntimeInfo> {
    let loaded =
        ENVIRONMENT.get_or_init(|| load_once(models_directory, provider).map_err(|error| format!("{error:#}")));
    match loaded {
        Ok(loaded) => Ok(RuntimeInfo {
            version: loaded.version.clone(),
            build: ort::info().to_owned(),
            provider: provider.name().to_owned(),
        }),
        Err(message) => Err(anyhow!("{message}")),
    }
}

/// Whether a provider's build of ONNX Runtime lies in the models directory.
#[must_use]
pub fn is_present(models_directory: &Path, provider: Provider) -> bool {
    models_directory.join(provider.runtime_directory()).join("libonnxruntime.so").exists()
}

/// The loaded library, for error messages; none before [`load`].
pub(super) fn library() -> Option<&'static Path> {
    ENVIRONMENT.get()?.as_ref().ok().map(|loaded| loaded.library.as_path())
}

fn load_once(models_directory: &Path, provider: Provider) -> Result<Loaded> {
    let library = match std::env::var_os(LIBRARY_VARIABLE) {
        Some(path) if !path.is_empty() => {
            let path = PathBuf::from(path);
            if !path.exists() {
                bail!("`{LIBRARY_VARIABLE}` names `{}`, which does not exist", path.display());
            }
            path
        }
        _ => {
            let path = models_directory.join(provider.runtime_directory()).join("libonnxruntime.so");
            if !path.exists() {
                bail!(
                    "ONNX Runtime for the provider `{}` is not here: `{}` does not exist\nhint: `{}` brings it",
                    provider.name(),
                    path.display(),
                    provider.recipe()
                );
            }
            path
        }
    };
    // Relative paths would be looked up beside the executable first.
    let library = std::path::absolute(&library).with_context(|| format!("cannot resolve `{}`", library.display()))?;
    let environment = ort::init_from(&library)
        .map_err(|error| anyhow!("`{}` is not a usable ONNX Runtime: {error}\n{HINT}", library.display()))?
        .with_name("poq")
        .build()
        .map_err(|error| anyhow!("ONNX Runtime did not start: {error}"))?;
    // It would write to stderr what comes back as an error as well.
    environment.set_log_level(ort::logging::LogLevel::Fatal);
    let version = ort::util::probe(&library).map_or_else(|| "unknown".to_owned(), |minor| format!("1.{minor}"));
    Ok(Loaded { environment, version, library })
}

/// The loaded environment; an error when [`load`] was not called or failed.
pub(super) fn environment() -> Result<&'static Environment> {
    match ENVIRONMENT.get() {
        Some(Ok(loaded)) => Ok(&loaded.environment),
        Some(Err(message)) => Err(anyhow!("{message}")),
        None => Err(anyhow!("ONNX Runtime was not loaded before a model; this is a bug")),
    }
}
