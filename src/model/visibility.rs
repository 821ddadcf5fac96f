//! What the tokens of a prompt pass may see, as numbers that are added to attention scores.

use super::decoder::Pass;
use super::element::Element;
use super::kv_cache::Run;

/// What is added to the attention score of a token that another must not see.
const HIDDEN: f32 = -1e9;

/// [S, T]: 0 where a token sees a position, [`HIDDEN`] where it does not. What comes later in the row is hidden by the
/// graph itself.
pub(super) fn visibility(pass: &Pass) -> Vec<f32> {
    let width = pass.past + pass.ids.len();
    let mut bias = vec![HIDDEN; pass.ids.len() * width];
    let mut start = 0;
    for segment in &pass.segments {
        for token in start..start + segment.len {
            let row = &mut bias[token * width..][..width];
            for &Run { at, len } in segment.before.runs() {
                row[at..at + len].fill(0.0);
            }
            row[pass.past + start..=pass.past + token].fill(0.0);
        }
        start += segment.len;
    }
    bias
}

/// A value of a bias in half precision: 0, or the lowest finite number, for an infinite one would leave no number where a
/// score is infinite too.
pub(super) fn half_bits(element: Element, value: f32) -> u16 {
    match (value < 0.0, element) {
        (false, _) => 0,
        (true, Element::Bf16) => (HIDDEN.to_bits() >> 16) as u16,
        (true, _) => 0xfbff,
    }
}

#[cfg(test)]
mod tests {
    use super::super::decoder::Segment;
    use super::super::kv_cache::Path;
    use super::*;

    #[test]
    fn a_token_sees_its_own_prompt_and_nothing_else() {
        // Two tokens in the trunk; prompt A adds one token, prompt B shares only the first of the trunk and adds two.
        let segments = vec![Segment { len: 1, before: Path::leading(2) }, Segment { len: 2, before: Path::leading(1) }];
        let pass = Pass { past: 2, ids: vec![7, 8, 9], positions: vec![2, 1, 2], segments, wanted: vec![0, 2] };
        let seen: Vec<bool> = visibility(&pass).iter().map(|&bias| bias == 0.0).collect();
        assert_eq!(seen[..5], [true, true, true, false, false]);
        assert_eq!(seen[5..10], [true, false, false, true, false]);
        assert_eq!(seen[10..], [true, false, false, true, true]);
    }

    #[test]
    fn halves_hide_by_a_finite_number() {
        assert_eq!((half_bits(Element::F16, 0.0), half_bits(Element::Bf16, 0.0)), (0, 0));
        // -65504, the lowest finite f16, and bf16's cut of -1e9.
        assert_eq!(half_bits(Element::F16, HIDDEN), 0xfbff);
        let bf16 = f32::from_bits(u32::from(half_bits(Element::Bf16, HIDDEN)) << 16);
        assert!((-1.01e9..-0.99e9).contains(&bf16), "{bf16}");
    }
}
