//! Memory that was asked for and is not there: the one failure after which less is asked for.

use std::fmt;

/// What ONNX Runtime and the CUDA libraries say when memory runs out. Its own error codes do not tell this failure from
/// others, so the text has to.
const SIGNS: [&str; 7] = [
    "Failed to allocate memory",
    "is smaller than requested bytes",
    "bad_alloc",
    "out of memory",
    "CUDA failure 2:",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
];

/// A device, or the host, has no memory left for what was asked.
#[derive(Debug)]
pub struct OutOfMemory(pub String);

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for OutOfMemory {}

/// An error of ONNX Runtime; an [`OutOfMemory`] where it is one.
pub(super) fn error(what: &str, error: &ort::Error) -> anyhow::Error {
    let message = format!("{what}: {error}");
    if SIGNS.iter().any(|sign| message.contains(sign)) { OutOfMemory(message).into() } else { anyhow::anyhow!(message) }
}

/// Whether memory ran out, wherever in the chain of errors that stands.
#[must_use]
pub fn is_out_of_memory(error: &anyhow::Error) -> bool {
    error.chain().any(<dyn std::error::Error>::is::<OutOfMemory>)
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn what_the_libraries_say_is_understood_through_contexts() {
        for said in [
            "bfc_arena.cc:360 void* onnxruntime::BFCArena::AllocateRawInternal(size_t, bool, onnxruntime::Stream*) Failed \
             to allocate memory for requested buffer of size 165376",
            "Available memory of 12 is smaller than requested bytes of 99",
            "CUDA failure 2: out of memory ; GPU=0 ; expr=cudaMalloc((void**)&p, size)",
            "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED",
        ] {
            let failed: anyhow::Result<()> = Err(super::error("inference failed", &ort::Error::new(said)));
            assert!(is_out_of_memory(&failed.context("a pass").expect_err("failed")), "{said}");
        }
        let other =
            super::error("inference failed", &ort::Error::new("Input 'position_ids' is expected to have 2 dims"));
        assert!(!is_out_of_memory(&other));
    }
}
