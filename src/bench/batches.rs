//! Batches worth trying at a provider: the one that an evaluator is run with until something faster is known, and those that
//! a sweep and a calibration measure beside it; and those of LLMs.

use crate::model::provider::Provider;

/// Rows and padded tokens per batch on a CPU: a batch of a few hundred tokens keeps every layer in the processor's caches,
/// whether it is many short rows or one long one. On MiniLM 256 tokens were 5 to 25 % faster than 8 rows of any length.
const CPU_BATCH: (usize, usize) = (32, 256);

/// The same on a GPU, which wants much work at once.
const GPU_BATCH: (usize, usize) = (256, 16_384);

/// Decode slots and prompt tokens per pass of LLMs; the default is that of the settings.
pub const GENERATION: Batches = Batches { default: (32, 512), sizes: &[1, 8, 32, 64], tokens: &[512] };

/// Batches of a provider.
#[derive(Debug, Clone, Copy)]
pub struct Batches {
    /// Rows and padded tokens per batch where nothing else is known.
    pub default: (usize, usize),
    /// Rows per batch that are worth measuring, those of the default among them.
    pub sizes: &'static [usize],
    /// Padded tokens per batch, likewise.
    pub tokens: &'static [usize],
}

/// The batches of a provider.
#[must_use]
pub fn batches(provider: Provider) -> Batches {
    match provider {
        Provider::Cpu | Provider::OpenVino => Batches { default: CPU_BATCH, sizes: &[4, 8, 32], tokens: &[256, 2048] },
        Provider::Cuda => Batches { default: GPU_BATCH, sizes: &[32, 64, 256], tokens: &[4096, 16_384] },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Generation;

    #[test]
    fn the_default_of_the_settings_is_measured_too() {
        let Generation { batch_size, batch_tokens, .. } = Generation::default();
        assert_eq!(GENERATION.default, (batch_size, batch_tokens));
        assert!(GENERATION.sizes.contains(&batch_size) && GENERATION.tokens.contains(&batch_tokens));
    }

    #[test]
    fn the_default_is_measured_too() {
        for provider in [Provider::Cpu, Provider::OpenVino, Provider::Cuda] {
            let Batches { default: (size, tokens), sizes, tokens: budgets } = batches(provider);
            assert!(sizes.contains(&size) && budgets.contains(&tokens), "{provider:?}");
        }
    }
}
