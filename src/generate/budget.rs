//! How much memory keys and values may take where nobody says it.

use super::Batching;

/// On the CPU: the machine has other things to hold, and more slots gain little there.
const HOST_BYTES: usize = 2 << 30;

/// What a prompt pass computes per token, at most: the three widest tensors of a feed-forward block of 14,336 in half
/// precision are 84 KiB, and attention and the residual stream add a few more.
const PASS_TOKEN_BYTES: usize = 160 << 10;

/// Logits of a position are computed in half precision and handed out in f32; a prompt pass and a step each have theirs.
const LOGIT_BYTES: usize = 2 * (2 + 4);

/// Positions of a prompt pass whose logits are wanted, at most.
const PASS_LOGITS: usize = 64;

/// Budget of the KV cache: the one asked for, else by the memory there is. `room` is what a GPU has free once the weights
/// are there; a tenth of it is left to libraries that allocate for themselves, and to what an estimate misses. A quarter is
/// the cache's in any case: the estimates are for large models, and memory that runs out is survived, with shorter passes.
#[must_use]
pub fn kv_bytes(batching: Batching, room: Option<usize>, vocabulary: usize) -> usize {
    match (batching.kv_bytes, room) {
        (Some(asked), _) => asked,
        (None, None) => HOST_BYTES,
        (None, Some(free)) => {
            let pass = batching.pass_tokens * PASS_TOKEN_BYTES;
            let logits = (batching.slots + PASS_LOGITS) * vocabulary * LOGIT_BYTES;
            (free - free / 10).saturating_sub(pass + logits).max(free / 4)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batching(kv_bytes: Option<usize>) -> Batching {
        Batching { slots: 256, pass_tokens: 8192, kv_bytes, share_prefixes: true }
    }

    #[test]
    fn a_gpu_gives_what_the_weights_and_the_arithmetic_leave() {
        // 80 GB less a tenth, less 1.25 GiB for a pass, less the logits of 320 positions of 128,256 tokens.
        let free = 80_000_000_000;
        let logits = 320 * 128_256 * 12;
        assert_eq!(kv_bytes(batching(None), Some(free), 128_256), 72_000_000_000 - (8192 * (160 << 10)) - logits);
        assert_eq!(kv_bytes(batching(None), Some(1 << 30), 128_256), 1 << 28, "what is estimated may be too much");
        assert_eq!(kv_bytes(batching(None), Some(0), 128_256), 0, "a full card has no room");
    }

    #[test]
    fn what_is_asked_for_stands() {
        assert_eq!(kv_bytes(batching(Some(7)), Some(1 << 40), 10), 7);
        assert_eq!(kv_bytes(batching(Some(7)), None, 10), 7);
        assert_eq!(kv_bytes(batching(None), None, 10), 2 << 30);
    }
}
