//! What the profile wants to know of the device that computes.

use super::cuda::Cuda;
use super::provider::Provider;
use anyhow::Result;

/// Bytes of the GPU that are taken now, by whomever; none where no GPU computes.
pub fn bytes_taken(provider: Provider) -> Result<Option<usize>> {
    if provider != Provider::Cuda {
        return Ok(None);
    }
    let (free, total) = Cuda::get()?.free_and_total()?;
    Ok(Some(total.saturating_sub(free)))
}
