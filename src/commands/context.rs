//! The options of every command, resolved once: directories, threads, streams, and what Ctrl-C does.

use super::open_run::Run;
use crate::cli::Global;
use crate::executor::Quit;
use crate::model::device;
use crate::model::manifest::Exported;
use crate::model::provider::Provider;
use crate::model::registry::{Model, Registry};
use crate::model::runtime;
use crate::output::Printer;
use crate::profile::machine;
use crate::settings::Settings;
use crate::store::run_record::Machine;
use anyhow::{Context as _, Result};
use std::path::PathBuf;

/// What every command works with.
pub struct Context {
    /// Owner of the streams.
    pub printer: Printer,
    /// Set by Ctrl-C.
    pub quit: Quit,
    /// `models/`.
    pub models: PathBuf,
    /// `datasets/`.
    pub datasets: PathBuf,
    /// `results/`.
    pub results: PathBuf,
    /// Threads for inference and simulation.
    pub threads: usize,
}

impl Context {
    /// Resolves the global options and listens for Ctrl-C: the first one asks for a stop, the second leaves at once.
    pub fn new(global: &Global) -> Result<Self> {
        let quit = Quit::default();
        let printer = Printer::new(global.quiet, global.format);
        let signalled = quit.clone();
        ctrlc::set_handler(move || {
            if signalled.request() {
                leave();
            }
            printer.note("stopping after the current batch; once more to leave at once");
        })
        .context("cannot listen for Ctrl-C")?;
        let threads = global.threads.map_or_else(machine::cores, usize::from);
        rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().context("cannot start threads")?;
        Ok(Self {
            printer,
            quit,
            models: global.models_directory.clone(),
            datasets: global.datasets_directory.clone(),
            results: global.results_directory.clone(),
            threads,
        })
    }

    /// The model registry.
    pub fn registry(&self) -> Result<Registry> {
        Registry::open(&self.models)
    }

    /// Makes ready to run a model: loads ONNX Runtime, holds the model's files to their hashes, and notes in the record
    /// what computes from here on.
    pub fn prepare(&self, run: &mut Run, registry: &Registry, model: &Model) -> Result<()> {
        run.record.runtime = Some(runtime::load(&self.models, run.record.settings.runtime_provider()?)?);
        run.record.machine = Machine { gpu: gpu(&run.record.settings)?, ..machine::describe() };
        let exported = Exported::open(registry, model)?;
        exported.verify()?;
        run.record.models.insert(model.key.clone(), exported.hash());
        Ok(())
    }

    /// An error if Ctrl-C was pressed.
    pub fn check_quit(&self) -> Result<()> {
        Ok(self.quit.check()?)
    }
}

/// Name of the GPU that computes, if settings ask for one. Fails, with what to do, where there is none that can be used.
pub fn gpu(settings: &Settings) -> Result<Option<String>> {
    device::find(settings.runtime_provider()?, settings.scoring.provider == Provider::Cuda)
}

/// The second Ctrl-C: nothing is flushed; whole part files make that safe.
#[allow(clippy::exit)] // the user asked for it twice
fn leave() {
    std::process::exit(130);
}
