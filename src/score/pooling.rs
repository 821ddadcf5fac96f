//! Token vectors to one sentence vector.

use crate::model::encoder::Encoded;
use crate::model::registry::Pooling;
use anyhow::{Result, bail, ensure};

/// Sentence vectors of a batch.
pub fn pool(encoded: &Encoded<'_>, pooling: Pooling) -> Result<Vec<Vec<f32>>> {
    match (pooling, &encoded.shape[..]) {
        (Pooling::None, &[_, hidden]) => Ok(encoded.data.chunks_exact(hidden.max(1)).map(<[f32]>::to_vec).collect()),
        (Pooling::None, shape) => bail!("the output has {} dimensions, a sentence vector has two", shape.len()),
        (_, &[_, width, hidden]) => {
            ensure!(hidden > 0, "the output has no hidden dimension");
            let longest = encoded.lengths.iter().copied().max().unwrap_or(0);
            ensure!(longest <= width, "the output has {width} positions for a row of {longest} tokens");
            let tokens = |row: usize| {
                let start = row * width * hidden;
                encoded.data[start..start + encoded.lengths[row] * hidden].chunks_exact(hidden)
            };
            Ok((0..encoded.lengths.len()).map(|row| pool_row(tokens(row), hidden, pooling)).collect())
        }
        (_, shape) => bail!("the output has {} dimensions, token vectors have three", shape.len()),
    }
}

fn pool_row<'a>(mut tokens: impl ExactSizeIterator<Item = &'a [f32]>, hidden: usize, pooling: Pooling) -> Vec<f32> {
    let count = tokens.len();
    match pooling {
        Pooling::Cls | Pooling::None => tokens.next().map_or_else(|| vec![0.0; hidden], <[f32]>::to_vec),
        Pooling::Max => tokens.fold(vec![f32::NEG_INFINITY; hidden], |mut largest, token| {
            largest.iter_mut().zip(token).for_each(|(l, &t)| *l = l.max(t));
            largest
        }),
        Pooling::Mean => {
            let mut sum = tokens.fold(vec![0.0; hidden], |mut sum, token| {
                sum.iter_mut().zip(token).for_each(|(s, &t)| *s += t);
                sum
            });
            for value in &mut sum {
                *value /= count.max(1) as f32;
            }
            sum
        }
    }
}

/// Cosine of two vectors; `None` when one of them has no direction.
#[must_use]
pub fn cosine(a: &[f32], b: &[f32]) -> Option<f64> {
    let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum::<f64>();
    let norms = (dot(a, a) * dot(b, b)).sqrt();
    (norms > 0.0).then(|| dot(a, b) / norms)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded() -> Encoded<'static> {
        // Two rows of width 2 and hidden size 2; the second row has one real token, its padding is full of nonsense.
        Encoded { data: &[1.0, 4.0, 3.0, -2.0, 5.0, 6.0, 99.0, 99.0], shape: vec![2, 2, 2], lengths: vec![2, 1] }
    }

    #[test]
    fn padding_never_counts() {
        assert_eq!(pool(&encoded(), Pooling::Mean).expect("pools"), [[2.0, 1.0], [5.0, 6.0]]);
        assert_eq!(pool(&encoded(), Pooling::Max).expect("pools"), [[3.0, 4.0], [5.0, 6.0]]);
        assert_eq!(pool(&encoded(), Pooling::Cls).expect("pools"), [[1.0, 4.0], [5.0, 6.0]]);
        assert!(pool(&encoded(), Pooling::None).is_err());
    }

    #[test]
    fn cosine_of_known_vectors() {
        assert_eq!(cosine(&[1.0, 0.0], &[0.0, 2.0]), Some(0.0));
        assert!((cosine(&[1.0, 1.0], &[2.0, 2.0]).expect("direction") - 1.0).abs() < 1e-12);
        assert_eq!(cosine(&[0.0, 0.0], &[1.0, 0.0]), None);
    }
}
