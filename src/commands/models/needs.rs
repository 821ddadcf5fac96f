//! What `poq models list` says beforehand: gigabytes to fetch, and what each step takes of disk, memory and card.

use crate::model::footprint::{ExportFor, Footprint, download_bytes, footprint};
use crate::model::registry::{Model, Source};
use serde::Serialize;
use std::fmt::Write;

/// Estimates for one model, in bytes; null where the registry does not say enough.
#[derive(Debug, Serialize)]
pub struct Needs {
    /// Sum of the published sizes.
    pub download: u64,
    /// Whether the registry gives all of them.
    pub download_is_complete: bool,
    /// Exported for and run on the processor.
    pub cpu: Option<Footprint>,
    /// Exported for and run on a card.
    pub cuda: Option<Footprint>,
}

/// What all listed models take together, in bytes: disks add up, memories do not, for one model is held at a time.
#[derive(Debug, Serialize)]
pub struct Total {
    /// To fetch; it stays in the hub's cache.
    pub download: u64,
    /// Exported and run on the processor.
    pub cpu: Footprint,
    /// Exported and run on a card.
    pub cuda: Footprint,
    /// How many models the sums lack something of, because the registry does not give their sizes or parameters.
    pub models_without_figures: usize,
}

impl Needs {
    /// Estimates of `model::footprint`.
    pub fn of(model: &Model) -> Self {
        let (download, download_is_complete) = download_bytes(model);
        Self {
            download,
            download_is_complete,
            cpu: footprint(model, ExportFor::Cpu),
            cuda: footprint(model, ExportFor::Cuda),
        }
    }

    fn is_complete(&self) -> bool {
        self.download_is_complete && self.cpu.is_some() && self.cuda.is_some()
    }
}

impl Total {
    /// Over the models of a listing.
    pub fn of<'n>(needs: impl Iterator<Item = &'n Needs> + Clone) -> Self {
        Self {
            download: needs.clone().map(|needs| needs.download).sum(),
            cpu: together(needs.clone().filter_map(|needs| needs.cpu)),
            cuda: together(needs.clone().filter_map(|needs| needs.cuda)),
            models_without_figures: needs.filter(|needs| !needs.is_complete()).count(),
        }
    }
}

fn together(footprints: impl Iterator<Item = Footprint>) -> Footprint {
    let none = Footprint { export_disk: 0, export_ram: 0, run_ram: 0, run_gpu: None };
    footprints.fold(none, |sum, one| Footprint {
        export_disk: sum.export_disk + one.export_disk,
        export_ram: sum.export_ram.max(one.export_ram),
        run_ram: sum.run_ram.max(one.run_ram),
        run_gpu: sum.run_gpu.max(one.run_gpu),
    })
}

/// The page where a gated model's licence is accepted.
pub fn licence_page(model: &Model) -> Option<String> {
    let repo = model.artifacts.iter().flat_map(|artifact| &artifact.sources).find_map(|source| match source {
        Source::Hub { repo, .. } => Some(repo.as_str()),
        _ => None,
    });
    model.gated.then(|| format!("https://huggingface.co/{}", repo.unwrap_or(&model.upstream)))
}

/// A table in gigabytes, with a line of totals and what the estimates are made of.
pub fn text(models: &[(&str, &Needs)], total: &Total) -> String {
    let width = models.iter().map(|(key, _)| key.len()).max().unwrap_or(0).max("all, one at a time".len());
    let mut text = format!(
        "\n{:width$} {:>8} | {:^26} | {:^26}\n{:width$} {:>8} | {:>8} {:>8} {:>8} | {:>8} {:>8} {:>8}\n",
        "gigabytes, estimated",
        "download",
        "on the processor",
        "on a card (cuda)",
        "",
        "",
        "disk",
        "export",
        "run",
        "disk",
        "export",
        "card"
    );
    let mut line = |name: &str, (download, complete): (u64, bool), cpu: Option<Footprint>, cuda: Option<Footprint>| {
        let on_card = cuda.and_then(|cuda| cuda.run_gpu);
        let _ = writeln!(
            text,
            "{name:width$} {:>8} | {:>8} {:>8} {:>8} | {:>8} {:>8} {:>8}",
            at_least(download, complete),
            gigabytes(cpu.map(|cpu| cpu.export_disk)),
            gigabytes(cpu.map(|cpu| cpu.export_ram)),
            gigabytes(cpu.map(|cpu| cpu.run_ram)),
            gigabytes(cuda.map(|cuda| cuda.export_disk)),
            gigabytes(cuda.map(|cuda| cuda.export_ram)),
            gigabytes(on_card)
        );
    };
    for (key, needs) in models {
        line(key, (needs.download, needs.download_is_complete), needs.cpu, needs.cuda);
    }
    line("all, one at a time", (total.download, total.models_without_figures == 0), Some(total.cpu), Some(total.cuda));
    if total.models_without_figures > 0 {
        let _ = writeln!(text, ">= and - : the registry does not give all sizes, or no parameters; the sums lack them");
    }
    text.push_str(
        "disk beside the download = parameters x bytes of a weight; memory to export = 2 x the graph (or the weights in f32, if \
         more) + 2 GB; to run = 2 x the graph + 1 GB; on the card = 1.1 x the graph + 2 GB\n",
    );
    text
}

/// A sum of sizes, some of which may be unknown.
fn at_least(bytes: u64, complete: bool) -> String {
    match (bytes, complete) {
        (0, false) => "-".into(),
        (bytes, true) => gigabytes(Some(bytes)),
        (bytes, false) => format!(">={}", gigabytes(Some(bytes))),
    }
}

/// With one decimal, two below a tenth.
fn gigabytes(bytes: Option<u64>) -> String {
    let number = |bytes: u64| bytes as f64 / 1e9;
    match bytes {
        None => "-".into(),
        Some(bytes) if bytes < 100_000_000 => format!("{:.2}", number(bytes)),
        Some(bytes) => format!("{:.1}", number(bytes)),
    }
}
