//! The device that computes: whether it is there, and what a run records of it.

use super::cuda::{self, Cuda};
use super::provider::Provider;
use anyhow::{Context, Result};

/// Name of the GPU that computes; none where the processor does. `evaluators` says whether they compute there, which takes
/// cuDNN. Fails, with what to do, where a GPU or one of CUDA's libraries is missing.
pub fn find(provider: Provider, evaluators: bool) -> Result<Option<String>> {
    if provider != Provider::Cuda {
        return Ok(None);
    }
    let found = || -> Result<String> {
        let cuda = Cuda::get()?;
        // A driver that does not work says so here.
        cuda.free_and_total()?;
        if evaluators {
            cuda::load_cudnn()?;
        }
        cuda.name()
    };
    found().map(Some).with_context(|| format!("the provider `cuda` cannot be used\n{}", cuda::HINT))
}

/// Bytes of the GPU that are taken now, by whomever; none where no GPU computes.
pub fn bytes_taken(provider: Provider) -> Result<Option<usize>> {
    if provider != Provider::Cuda {
        return Ok(None);
    }
    let (free, total) = Cuda::get()?.free_and_total()?;
    Ok(Some(total.saturating_sub(free)))
}
