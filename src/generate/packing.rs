//! Which prompts are read together, and what they share: a pure function of the prompts and of what a pass can hold.
//!
//! Prompts are sorted by their tokens, so that those with a common beginning (the template, a passage that several
//! questions share, an article) are neighbours, and each is read as a continuation of the one before it. A chunk is what
//! one prompt pass reads. How many slots decode, which rows are done already and how long answers turn out to be have no
//! say here: the same prompts are always read in the same company, so that their keys and values are always the same bits.

use crate::model::decoder::{Pass, Segment};
use crate::model::kv_cache::{Path, Run};

/// A chunk goes on from the chunk before it only if it spares at least this many tokens; otherwise it begins afresh, and
/// a resumed run need not read the one before.
const CARRIED_TOKENS: usize = 64;

/// Chunks that may go on from one another: what a resumed run reads again at most.
const CHAIN: usize = 8;

/// Positions in front of a chunk that begins afresh with several prompts: one, hidden from all. An attention operator that
/// finds nothing before its tokens takes them for one prompt and numbers their positions itself.
const LEAD: usize = 1;

/// Prompts that one pass reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Leading tokens of the first prompt that the chunk before it has read; 0 for a fresh start.
    pub carried: usize,
    /// Prompts, in the order in which they are read.
    pub prompts: Vec<Member>,
}

/// A prompt's place in its chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Its place in the list that was planned.
    pub prompt: usize,
    /// Leading tokens that need no reading: the prompt before it has the same. At least one token is always read, because
    /// the logits after it are wanted.
    pub shared: usize,
}

/// How prompts may be put together.
#[derive(Debug, Clone, Copy)]
pub struct Packing {
    /// Tokens read in one pass; a longer prompt is read alone, in several passes.
    pub tokens: usize,
    /// Tokens that a row can hold, those carried included; no prompt is longer.
    pub row: usize,
    /// Prompts in one pass: 1 for graphs that cannot keep them apart.
    pub prompts: usize,
    /// Whether common beginnings are read once.
    pub share: bool,
}

/// Cuts the prompts into chunks. Prompts must not be empty.
#[must_use]
pub fn plan(prompts: &[&[u32]], packing: Packing) -> Vec<Chunk> {
    let mut order: Vec<usize> = (0..prompts.len()).collect();
    order.sort_by(|&a, &b| prompts[a].cmp(prompts[b]).then(a.cmp(&b)));
    let mut chunks: Vec<Chunk> = Vec::new();
    // Tokens that the last chunk reads, and how many chunks it goes on from.
    let (mut tokens, mut chain) = (0, 0);
    for (place, &prompt) in order.iter().enumerate() {
        let length = prompts[prompt].len();
        let common = match place.checked_sub(1) {
            Some(before) if packing.share => common_prefix(prompts[order[before]], prompts[prompt]).min(length - 1),
            _ => 0,
        };
        let after = tokens + length - common;
        match chunks.last_mut() {
            Some(chunk)
                if chunk.prompts.len() < packing.prompts
                    && after <= packing.tokens
                    && chunk.carried.max(LEAD) + after <= packing.row =>
            {
                chunk.prompts.push(Member { prompt, shared: common });
                tokens = after;
            }
            _ => {
                let carried = if common >= CARRIED_TOKENS && chain < CHAIN { common } else { 0 };
                chain = if carried > 0 { chain + 1 } else { 1 };
                tokens = length - carried;
                chunks.push(Chunk { carried, prompts: vec![Member { prompt, shared: carried }] });
            }
        }
    }
    chunks
}

/// Cuts the prompts into chunks for a trunk of so many rows, a prompt in each: neighbours in length, so that little is padded.
#[must_use]
pub fn plan_rows(prompts: &[&[u32]], rows: usize) -> Vec<Chunk> {
    let mut order: Vec<usize> = (0..prompts.len()).collect();
    order.sort_by_key(|&prompt| (std::cmp::Reverse(prompts[prompt].len()), prompt));
    let chunk = |part: &[usize]| {
        let prompts = part.iter().map(|&prompt| Member { prompt, shared: 0 }).collect();
        Chunk { carried: 0, prompts }
    };
    order.chunks(rows.max(1)).map(chunk).collect()
}

/// Which chunks must be read so that every wanted prompt is: those with one, and those that they go on from.
#[must_use]
pub fn needed(chunks: &[Chunk], wanted: impl Fn(usize) -> bool) -> Vec<bool> {
    let mut needed = vec![false; chunks.len()];
    let mut by_next = false;
    for (place, chunk) in chunks.iter().enumerate().rev() {
        needed[place] = by_next || chunk.prompts.iter().any(|member| wanted(member.prompt));
        by_next = needed[place] && chunk.carried > 0;
    }
    needed
}

/// A chunk laid out in the trunk.
#[derive(Debug)]
pub struct Layout {
    /// Positions of each prompt's tokens.
    pub paths: Vec<Path>,
    /// The passes that read it: one, or several for a prompt longer than a pass. Logits are wanted in the last.
    pub passes: Vec<Pass>,
}

impl Chunk {
    /// Whether it is one prompt that goes on from nothing.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.prompts.len() == 1 && self.carried == 0
    }

    /// Hidden positions in front of the tokens.
    #[must_use]
    pub fn lead(&self) -> usize {
        if self.carried == 0 && self.prompts.len() > 1 { LEAD } else { 0 }
    }

    /// Positions of the trunk that it takes, those carried included.
    #[must_use]
    pub fn width(&self, prompts: &[&[u32]]) -> usize {
        self.lead() + self.carried + self.tokens(prompts)
    }

    /// Lays the chunk out behind the `carried` tokens in front of the trunk.
    #[must_use]
    pub fn layout(&self, prompts: &[&[u32]], tokens: usize) -> Layout {
        let start = self.lead() + self.carried;
        let mut pass = Pass { past: start, ids: vec![], positions: vec![], segments: vec![], wanted: vec![] };
        let mut paths: Vec<Path> = Vec::with_capacity(self.prompts.len());
        for &Member { prompt, shared } in &self.prompts {
            let ids = prompts[prompt];
            let before = paths.last().map_or_else(|| Path::leading(shared), |path| path.prefix(shared));
            let mut path = before.clone();
            path.push(Run { at: start + pass.ids.len(), len: ids.len() - shared });
            pass.ids.extend_from_slice(&ids[shared..]);
            pass.positions.extend(shared..ids.len());
            pass.segments.push(Segment { len: ids.len() - shared, before });
            pass.wanted.push(pass.ids.len() - 1);
            paths.push(path);
        }
        Layout { paths, passes: split(pass, tokens) }
    }

    /// Tokens that are read.
    #[must_use]
    pub fn tokens(&self, prompts: &[&[u32]]) -> usize {
        self.prompts.iter().map(|member| prompts[member.prompt].len() - member.shared).sum()
    }
}

/// Cuts the pass of a single long prompt into passes of at most `tokens`; others are short enough.
fn split(pass: Pass, tokens: usize) -> Vec<Pass> {
    if pass.ids.len() <= tokens || pass.segments.len() > 1 {
        return vec![pass];
    }
    let mut passes = Vec::new();
    for (ids, positions) in pass.ids.chunks(tokens).zip(pass.positions.chunks(tokens)) {
        let start = pass.past + passes.len() * tokens;
        passes.push(Pass {
            past: start,
            ids: ids.to_vec(),
            positions: positions.to_vec(),
            segments: vec![Segment { len: ids.len(), before: Path::leading(start) }],
            wanted: vec![ids.len() - 1],
        });
    }
    passes
}

fn common_prefix(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packing(tokens: usize, prompts: usize) -> Packing {
        Packing { tokens, prompts, share: true, row: 10_000 }
    }

    /// What lies where in the trunk after the passes of a chunk.
    fn read(trunk: &mut Vec<u32>, layout: &Layout) {
        for pass in &layout.passes {
            trunk.resize(pass.past, u32::MAX);
            trunk.extend(&pass.ids);
        }
    }

    fn along(trunk: &[u32], path: &Path) -> Vec<u32> {
        path.runs().iter().flat_map(|run| trunk[run.at..run.at + run.len].to_vec()).collect()
    }

    #[test]
    fn questions_on_one_passage_read_it_once() {
        let passage: Vec<u32> = (100..200).collect();
        let prompts: Vec<Vec<u32>> = (0..5).map(|q| [&passage[..], &[q, q]].concat()).collect();
        let views: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
        let chunks = plan(&views, packing(512, 64));
        assert_eq!(chunks.len(), 1);
        assert_eq!(chunks[0].tokens(&views), 110);
        let alone = plan(&views, Packing { share: false, ..packing(512, 64) });
        assert_eq!(alone.iter().map(|chunk| chunk.tokens(&views)).sum::<usize>(), 510);
        // One at a time, each goes on from the one before it.
        let single = plan(&views, packing(512, 1));
        assert_eq!(single.iter().map(|chunk| chunk.carried).collect::<Vec<_>>(), [0, 100, 100, 100, 100]);
    }

    #[test]
    fn a_prompt_longer_than_a_pass_is_read_in_several() {
        let prompt: Vec<u32> = (0..10).collect();
        let chunks = plan(&[&prompt], packing(4, 8));
        let layout = chunks[0].layout(&[&prompt], 4);
        let sizes: Vec<(usize, usize)> = layout.passes.iter().map(|pass| (pass.past, pass.ids.len())).collect();
        assert_eq!(sizes, [(0, 4), (4, 4), (8, 2)]);
        assert_eq!(layout.passes[2].positions, [8, 9]);
        assert_eq!(layout.passes[2].wanted, [1]);
    }

    #[test]
    fn a_chunk_is_needed_for_its_own_prompts_and_for_those_that_go_on_from_it() {
        let chunk = |carried, prompt| Chunk { carried, prompts: vec![Member { prompt, shared: carried }] };
        let chunks = [chunk(0, 0), chunk(70, 1), chunk(0, 2), chunk(70, 3)];
        assert_eq!(needed(&chunks, |prompt| prompt == 1), [true, true, false, false]);
        assert_eq!(needed(&chunks, |prompt| prompt == 2), [false, false, true, false]);
    }

    proptest! {
        #[test]
        fn every_prompt_lies_along_its_path(
            prompts in prop::collection::vec(prop::collection::vec(0_u32..3, 1..90), 1..40),
            tokens in 1_usize..200, most in 1_usize..20, share: bool, stem in 0_usize..120, room in 0_usize..300,
        ) {
            let prompts: Vec<Vec<u32>> = prompts.into_iter().map(|prompt| [vec![9; stem], prompt].concat()).collect();
            let views: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
            let row = views.iter().map(|prompt| prompt.len()).max().expect("prompts") + room;
            let chunks = plan(&views, Packing { tokens, row, prompts: most, share });
            let mut seen = vec![0; prompts.len()];
            let mut trunk: Vec<u32> = Vec::new();
            let mut last = Path::default();
            for chunk in &chunks {
                trunk = along(&trunk, &last.prefix(chunk.carried));
                let layout = chunk.layout(&views, tokens);
                prop_assert!(chunk.width(&views) <= row);
                prop_assert!(chunk.prompts.len() == 1 || layout.passes[0].past > 0);
                prop_assert!(chunk.prompts.len() == 1 || chunk.tokens(&views) <= tokens);
                prop_assert!(layout.passes.iter().all(|pass| pass.ids.len() <= tokens));
                read(&mut trunk, &layout);
                for (member, path) in chunk.prompts.iter().zip(&layout.paths) {
                    seen[member.prompt] += 1;
                    prop_assert!(member.shared < prompts[member.prompt].len());
                    prop_assert_eq!(&along(&trunk, path), &prompts[member.prompt]);
                }
                // A token sees exactly its own prompt up to itself.
                let [pass] = &layout.passes[..] else { last = layout.paths.last().expect("a path").clone(); continue };
                let mut start = 0;
                for (segment, member) in pass.segments.iter().zip(&chunk.prompts) {
                    let own = &prompts[member.prompt];
                    prop_assert_eq!(&along(&trunk, &segment.before)[..], &own[..own.len() - segment.len]);
                    prop_assert_eq!(&pass.positions[start..start + segment.len], &(own.len() - segment.len..own.len()).collect::<Vec<_>>()[..]);
                    start += segment.len;
                    prop_assert!(pass.wanted.contains(&(start - 1)));
                }
                last = layout.paths.last().expect("a path").clone();
            }
            prop_assert!(seen.iter().all(|&count| count == 1));
        }
    }
}
