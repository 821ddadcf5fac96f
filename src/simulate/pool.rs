//! Synthetic pools of evaluators, for three real ones cannot tell consensus rules apart: real scores plus noise, or a
//! Gaussian copula fitted to the real scores. Both keep what the scores say of the records and nodes.

use crate::settings::mechanism::{Pool, PoolMethod};
use crate::simulate::network::{Network, Node};
use crate::simulate::rng::Stream;
use crate::simulate::strategy::unknown;
use crate::simulate::table::ScoreTable;
use crate::statistics::quantile;
use anyhow::{Context, Result, ensure};
use rayon::prelude::*;
use statrs::distribution::{ContinuousCDF, Normal};

/// The network with a synthetic pool in place of its evaluators. Evaluator i is modelled on the real one number i modulo
/// their count, is called `<real>~<i>`, costs what that one costs, and has a score wherever that one has.
pub fn synthesize(network: &Network, pool: &Pool) -> Result<Network> {
    let templates = templates(network, pool)?;
    let evaluators: Vec<Node> = (0..pool.evaluators)
        .map(|i| {
            let template = &network.evaluators[templates[i % templates.len()]];
            Node { key: format!("{}~{i}", template.key), ..template.clone() }
        })
        .collect();
    let table = match pool.method {
        PoolMethod::Noise => noisy(&network.table, pool, &templates),
        PoolMethod::Copula => copula(&network.table, pool, &templates)?,
    };
    Ok(Network { evaluators, table, ..network.clone() })
}

/// The real evaluators that synthetic ones are modelled on.
fn templates(network: &Network, pool: &Pool) -> Result<Vec<usize>> {
    if pool.templates.is_empty() {
        return Ok((0..network.evaluators.len()).collect());
    }
    let keys = || network.evaluators.iter().map(|node| node.key.as_str());
    let find = |name: &String| {
        let place = keys().position(|key| key == name);
        place.with_context(|| format!("`simulation.pool.templates`: {}", unknown("evaluator", name, keys())))
    };
    pool.templates.iter().map(find).collect()
}

/// Random numbers of one synthetic evaluator.
fn stream(pool: &Pool, number: usize) -> Stream {
    Stream::of_block(pool.seed, u32::MAX - 1, number as u32)
}

fn normal(stream: &mut Stream) -> f64 {
    // Away from 0 and 1, where the quantile is infinite.
    Normal::standard().inverse_cdf(stream.unit().mul_add(1.0 - 1e-15, 5e-16))
}

/// A table of as many records and nodes, each evaluator's scores made on its own from its random numbers: `score` gives the
/// one of a cell, NaN where there is none.
fn table_of(real: &ScoreTable, pool: &Pool, score: impl Fn(usize, usize, &mut Stream) -> f64 + Sync) -> ScoreTable {
    let columns: Vec<Vec<f64>> = (0..pool.evaluators)
        .into_par_iter()
        .map(|evaluator| {
            let mut stream = stream(pool, evaluator);
            (0..real.cells()).map(|cell| score(cell, evaluator, &mut stream)).collect()
        })
        .collect();
    let mut table = ScoreTable::new(real.tasks(), real.models(), pool.evaluators);
    for (evaluator, column) in columns.iter().enumerate() {
        for (cell, &score) in column.iter().enumerate().filter(|(_, score)| !score.is_nan()) {
            let (task, model) = real.task_and_model(cell);
            table.set(task, model, evaluator, score);
        }
    }
    table
}

fn noisy(real: &ScoreTable, pool: &Pool, templates: &[usize]) -> ScoreTable {
    table_of(real, pool, |cell, evaluator, stream| {
        let score = real.score(cell, templates[evaluator % templates.len()]);
        if score.is_nan() { score } else { (score + pool.noise * normal(stream)).clamp(0.0, 10.0) }
    })
}

/// A one-factor Gaussian copula. The normal scores of real evaluator j are `lambda_j F + sqrt(1 - lambda_j^2) e_j` with a
/// common factor F per cell. F is drawn from its posterior given the real scores, once per cell, so that synthetic
/// evaluators correlate with each other, and with the real ones they are not modelled on, as the real ones do; each then
/// draws its own e and is mapped back to the distribution of its template's scores.
fn copula(real: &ScoreTable, pool: &Pool, templates: &[usize]) -> Result<ScoreTable> {
    let count = real.evaluators();
    ensure!(
        count >= 2,
        "`simulation.pool.method = \"copula\"` needs at least two real evaluators to see how they agree; use `noise`"
    );
    let normal_scores: Vec<Vec<f64>> = (0..count).map(|j| to_normal(real, j)).collect();
    let loadings = loadings(&correlations(&normal_scores));
    let sorted: Vec<Vec<f64>> = (0..count).map(|j| sorted_scores(real, j)).collect();
    let mut factors = stream(pool, usize::try_from(u32::MAX).unwrap_or(0));
    let factor: Vec<f64> = (0..real.cells())
        .map(|cell| {
            // Posterior of F: precisions and weighted evidence of the evaluators that have a score.
            let (mut precision, mut evidence) = (1.0, 0.0);
            for (lambda, scores) in loadings.iter().zip(&normal_scores) {
                if !scores[cell].is_nan() {
                    let noise = 1.0 - lambda * lambda;
                    precision += lambda * lambda / noise;
                    evidence += lambda * scores[cell] / noise;
                }
            }
            evidence / precision + normal(&mut factors) / precision.sqrt()
        })
        .collect();
    Ok(table_of(real, pool, |cell, evaluator, stream| {
        let template = templates[evaluator % templates.len()];
        if real.score(cell, template).is_nan() {
            return f64::NAN;
        }
        let lambda = loadings[template];
        let value = lambda * factor[cell] + (1.0 - lambda * lambda).sqrt() * normal(stream);
        quantile(&sorted[template], Normal::standard().cdf(value)).unwrap_or(f64::NAN)
    }))
}

fn sorted_scores(real: &ScoreTable, evaluator: usize) -> Vec<f64> {
    let mut scores: Vec<f64> =
        (0..real.cells()).map(|cell| real.score(cell, evaluator)).filter(|score| !score.is_nan()).collect();
    scores.sort_unstable_by(f64::total_cmp);
    scores
}

/// Normal scores: the quantile of each score's mean rank; NaN stays NaN.
fn to_normal(real: &ScoreTable, evaluator: usize) -> Vec<f64> {
    let sorted = sorted_scores(real, evaluator);
    let count = sorted.len() as f64;
    (0..real.cells())
        .map(|cell| {
            let score = real.score(cell, evaluator);
            if score.is_nan() {
                return f64::NAN;
            }
            let below = sorted.partition_point(|&other| other < score);
            let up_to = sorted.partition_point(|&other| other <= score);
            Normal::standard().inverse_cdf((below + up_to) as f64 / 2.0 / count)
        })
        .collect()
}

/// Pearson correlations over the cells that two evaluators both scored; 0 where there is no spread.
fn correlations(scores: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let of = |a: &[f64], b: &[f64]| {
        let both: Vec<(f64, f64)> =
            a.iter().copied().zip(b.iter().copied()).filter(|(x, y)| !x.is_nan() && !y.is_nan()).collect();
        let count = both.len() as f64;
        let (mean_x, mean_y) =
            (both.iter().map(|p| p.0).sum::<f64>() / count, both.iter().map(|p| p.1).sum::<f64>() / count);
        let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
        for (x, y) in both {
            xx += (x - mean_x).powi(2);
            yy += (y - mean_y).powi(2);
            xy += (x - mean_x) * (y - mean_y);
        }
        if xx > 0.0 && yy > 0.0 { xy / (xx * yy).sqrt() } else { 0.0 }
    };
    scores.iter().map(|a| scores.iter().map(|b| of(a, b)).collect()).collect()
}

/// Loadings of one common factor by iterated principal factoring: the largest eigenvector of the correlations with
/// communalities on the diagonal, until they stand still. Kept below 1 in absolute value (Heywood cases).
fn loadings(correlations: &[Vec<f64>]) -> Vec<f64> {
    const LARGEST: f64 = 0.98;
    let count = correlations.len();
    let strongest = |j: usize| (0..count).filter(|&k| k != j).map(|k| correlations[j][k].abs()).fold(0.0, f64::max);
    let mut communalities: Vec<f64> = (0..count).map(strongest).collect();
    let mut loadings = vec![0.0; count];
    for _ in 0..200 {
        let reduced = |j: usize, k: usize| if j == k { communalities[j] } else { correlations[j][k] };
        let mut vector: Vec<f64> = (0..count).map(|j| if j == 0 { 1.0 } else { correlations[0][j].signum() }).collect();
        let mut eigenvalue = 0.0;
        for _ in 0..200 {
            let next: Vec<f64> = (0..count).map(|j| (0..count).map(|k| reduced(j, k) * vector[k]).sum()).collect();
            eigenvalue = next.iter().map(|x| x * x).sum::<f64>().sqrt();
            if eigenvalue < 1e-12 {
                return vec![0.0; count];
            }
            vector = next.iter().map(|x| x / eigenvalue).collect();
        }
        loadings = vector.iter().map(|x| (x * eigenvalue.sqrt()).clamp(-LARGEST, LARGEST)).collect();
        let next: Vec<f64> = loadings.iter().map(|lambda| lambda * lambda).collect();
        let moved = next.iter().zip(&communalities).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        communalities = next;
        if moved < 1e-10 {
            break;
        }
    }
    loadings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::tests::random_network;

    fn pool(evaluators: usize, method: PoolMethod) -> Pool {
        Pool { evaluators, method, ..Pool::default() }
    }

    /// Three evaluators that see a common quality through noise of their own.
    fn correlated() -> Network {
        let mut network = random_network(1, (400, 5, 3), 0);
        let mut stream = Stream::new(9, 0);
        for cell in 0..network.table.cells() {
            let (task, model) = network.table.task_and_model(cell);
            let common = normal(&mut stream);
            for (evaluator, lambda) in [0.9_f64, 0.6, 0.4].into_iter().enumerate() {
                let value = lambda * common + (1.0 - lambda * lambda).sqrt() * normal(&mut stream);
                // Skewed, so that the distribution of scores is not the copula's own.
                network.table.set(task, model, evaluator, 10.0 * Normal::standard().cdf(value).powi(2));
            }
        }
        network
    }

    fn column(table: &ScoreTable, evaluator: usize) -> Vec<f64> {
        (0..table.cells()).map(|cell| table.score(cell, evaluator)).collect()
    }

    #[test]
    fn the_factor_is_found() {
        let network = correlated();
        let scores: Vec<Vec<f64>> = (0..3).map(|j| to_normal(&network.table, j)).collect();
        for (found, expected) in loadings(&correlations(&scores)).iter().zip([0.9, 0.6, 0.4]) {
            assert!((found - expected).abs() < 0.06, "{found} is not {expected}");
        }
    }

    #[test]
    fn a_copula_keeps_distributions_and_agreement() {
        let network = correlated();
        let synthetic = synthesize(&network, &pool(9, PoolMethod::Copula)).expect("a pool");
        assert_eq!(synthetic.evaluators[4].key, "m1~4");
        assert_eq!(synthetic.evaluators[4].template, "m1");
        let mut real = sorted_scores(&network.table, 1);
        let mut made = sorted_scores(&synthetic.table, 4);
        for share in [0.1, 0.5, 0.9] {
            let (a, b) = (quantile(&real, share), quantile(&made, share));
            let (a, b) = a.zip(b).expect("both have scores");
            assert!((a - b).abs() < 0.6, "quantile {share}: {a} and {b}");
        }
        real.dedup();
        made.dedup();
        assert!(made.len() > real.len() / 2, "scores are interpolated, not copied");
        // Evaluators 3 and 4 are modelled on 0 and 1: they agree with each other, and with the real ones, by 0.9 * 0.6.
        let normal_of = |table: &ScoreTable, j| to_normal(table, j);
        for (a, b, expected) in [
            (normal_of(&synthetic.table, 3), normal_of(&synthetic.table, 4), 0.54),
            (normal_of(&network.table, 0), normal_of(&synthetic.table, 4), 0.54),
            (normal_of(&network.table, 2), normal_of(&synthetic.table, 0), 0.36),
        ] {
            let found = correlations(&[a, b])[0][1];
            assert!((found - expected).abs() < 0.08, "{found} is not {expected}");
        }
    }

    #[test]
    fn noise_moves_scores_by_what_it_says_and_leaves_gaps() {
        let network = random_network(5, (200, 3, 2), 20);
        let synthetic = synthesize(&network, &Pool { noise: 0.5, ..pool(5, PoolMethod::Noise) }).expect("a pool");
        let (real, made) = (column(&network.table, 1), column(&synthetic.table, 3));
        let mut squares = Vec::new();
        for (a, b) in real.iter().zip(&made) {
            assert_eq!(a.is_nan(), b.is_nan());
            if (2.0..8.0).contains(a) {
                squares.push((a - b).powi(2));
            }
        }
        let sd = (squares.iter().sum::<f64>() / squares.len() as f64).sqrt();
        assert!((sd - 0.5).abs() < 0.08, "{sd}");
        let same = synthesize(&network, &Pool { noise: 0.0, ..pool(5, PoolMethod::Noise) }).expect("a pool");
        assert_eq!(
            column(&same.table, 2).iter().map(|x| x.to_bits()).collect::<Vec<_>>(),
            column(&network.table, 0).iter().map(|x| x.to_bits()).collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_pool_can_be_modelled_on_some() {
        let network = random_network(5, (20, 3, 4), 0);
        let of = |templates: &[&str]| {
            let templates = templates.iter().map(|&key| key.to_owned()).collect();
            synthesize(&network, &Pool { templates, noise: 0.0, ..pool(5, PoolMethod::Noise) })
        };
        let made = of(&["m3", "m1"]).expect("a pool");
        let keys: Vec<&str> = made.evaluators.iter().map(|node| node.key.as_str()).collect();
        assert_eq!(keys, ["m3~0", "m1~1", "m3~2", "m1~3", "m3~4"]);
        assert_eq!(column(&made.table, 2), column(&network.table, 3));
        let error = of(&["m9"]).expect_err("refused").to_string();
        assert!(error.contains("`simulation.pool.templates`: there is no evaluator `m9`"), "{error}");
    }

    #[test]
    fn one_evaluator_has_nobody_to_agree_with() {
        let network = random_network(5, (20, 3, 1), 0);
        let error = synthesize(&network, &pool(5, PoolMethod::Copula)).expect_err("refused").to_string();
        assert!(error.contains("at least two real evaluators"), "{error}");
    }
}
