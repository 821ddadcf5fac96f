//! Statistics as sums over tasks: the sums of a resample are those of its tasks added up, so that two thousand resamples
//! need no second look at the rows. Called by whoever wants an interval of [`super::bootstrap`].

use super::finite;
use std::collections::BTreeMap;

/// Spreads below this share of their sum of squares are the rounding errors of constant columns.
const CONSTANT: f64 = 1e-12;

/// Fewest rows for which a partial correlation says anything: of three, two lines explain everything.
const FEWEST_TRIPLES: usize = 4;

/// What a task adds to a statistic, and the statistic of what was added.
pub trait Sums: Copy + Default {
    /// Adds another task's.
    fn add(&mut self, other: &Self);
    /// The statistic; null where it is not defined.
    fn value(&self) -> Option<f64>;
}

/// Sums behind Pearson's r.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Pearson {
    n: f64,
    x: f64,
    y: f64,
    xx: f64,
    yy: f64,
    xy: f64,
}

impl Pearson {
    /// Sums per task of the complete pairs of `x` and `y`, sorted by task; `tasks` says to which task each row belongs, by a name
    /// or by a number in the order of the names. The order of the rows changes no digit, so that a correlation has one interval whoever asks for it.
    #[must_use]
    pub fn by_task<T: Ord + Copy>(tasks: &[T], x: &[Option<f64>], y: &[Option<f64>]) -> Vec<Self> {
        let rows = tasks.iter().zip(x.iter().zip(y));
        let rows = rows.filter_map(|(task, (x, y))| Some((*task, [finite(*x)?, finite(*y)?])));
        by_task(rows.collect(), |[x, y]| Self { n: 1.0, x, y, xx: x * x, yy: y * y, xy: x * y })
    }
}

impl Sums for Pearson {
    fn add(&mut self, other: &Self) {
        self.n += other.n;
        self.x += other.x;
        self.y += other.y;
        self.xx += other.xx;
        self.yy += other.yy;
        self.xy += other.xy;
    }

    fn value(&self) -> Option<f64> {
        let xx = spread(self.n, self.x, self.xx)?;
        let yy = spread(self.n, self.y, self.yy)?;
        let xy = self.xy - self.x * self.y / self.n;
        Some((xy / (xx * yy).sqrt()).clamp(-1.0, 1.0)).filter(|r| r.is_finite())
    }
}

/// Sums behind the partial correlation of x and y given z.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct PartialPearson {
    pairs: Pearson,
    z: f64,
    zz: f64,
    xz: f64,
    yz: f64,
}

impl PartialPearson {
    /// Sums per task of the complete triples of `x`, `y` and `z`, sorted by task; `tasks` names the task of each row.
    #[must_use]
    pub fn by_task<T: Ord + Copy>(tasks: &[T], x: &[Option<f64>], y: &[Option<f64>], z: &[Option<f64>]) -> Vec<Self> {
        let rows = tasks.iter().zip(x.iter().zip(y).zip(z));
        let rows = rows.filter_map(|(task, ((x, y), z))| Some((*task, [finite(*x)?, finite(*y)?, finite(*z)?])));
        by_task(rows.collect(), |[x, y, z]| Self {
            pairs: Pearson { n: 1.0, x, y, xx: x * x, yy: y * y, xy: x * y },
            z,
            zz: z * z,
            xz: x * z,
            yz: y * z,
        })
    }

    /// Rows behind the sums.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.pairs.n as usize
    }
}

impl Sums for PartialPearson {
    fn add(&mut self, other: &Self) {
        self.pairs.add(&other.pairs);
        self.z += other.z;
        self.zz += other.zz;
        self.xz += other.xz;
        self.yz += other.yz;
    }

    fn value(&self) -> Option<f64> {
        let Pearson { n, x, y, xx, yy, xy } = self.pairs;
        if self.rows() < FEWEST_TRIPLES {
            return None;
        }
        let [xx, yy, zz] = [spread(n, x, xx)?, spread(n, y, yy)?, spread(n, self.z, self.zz)?];
        let cross = |product: f64, a: f64, b: f64| product - a * b / n;
        let (xy, xz, yz) = (cross(xy, x, y), cross(self.xz, x, self.z), cross(self.yz, y, self.z));
        // What the line through z leaves of x, of y, and of what they share.
        let (rest_x, rest_y, shared) = (xx - xz * xz / zz, yy - yz * yz / zz, xy - xz * yz / zz);
        let determined = rest_x <= CONSTANT * xx || rest_y <= CONSTANT * yy;
        (!determined).then(|| (shared / (rest_x * rest_y).sqrt()).clamp(-1.0, 1.0)).filter(|r| r.is_finite())
    }
}

/// Sums behind Krippendorff's alpha for interval scales (Krippendorff 2011, section D): how far raters agree on the score of an
/// answer, beyond what shuffled scores would.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Alpha {
    values: f64,
    sum: f64,
    squares: f64,
    observed: f64,
}

impl Alpha {
    /// Sums per task; `columns` holds the scores of each rater, one per row. Answers with fewer than two scores say nothing.
    #[must_use]
    pub fn by_task<T: Ord + Copy>(tasks: &[T], columns: &[Vec<Option<f64>>]) -> Vec<Self> {
        let known: Vec<f64> = columns.iter().flatten().filter_map(|value| finite(*value)).collect();
        let centre = super::mean(&known).unwrap_or_default();
        let mut found: BTreeMap<T, Self> = BTreeMap::new();
        for (row, &task) in tasks.iter().enumerate() {
            let scores: Vec<f64> =
                columns.iter().filter_map(|column| finite(column[row])).map(|score| score - centre).collect();
            if scores.len() < 2 {
                continue;
            }
            let m = scores.len() as f64;
            let (sum, squares) = (scores.iter().sum::<f64>(), scores.iter().map(|score| score * score).sum::<f64>());
            let observed = scores.iter().flat_map(|a| scores.iter().map(move |b| (a - b) * (a - b))).sum::<f64>();
            let own = Self { values: m, sum, squares, observed: observed / (m - 1.0) };
            found.entry(task).or_default().add(&own);
        }
        found.into_values().collect()
    }
}

impl Sums for Alpha {
    fn add(&mut self, other: &Self) {
        self.values += other.values;
        self.sum += other.sum;
        self.squares += other.squares;
        self.observed += other.observed;
    }

    fn value(&self) -> Option<f64> {
        let expected = 2.0 * self.values * spread(self.values, self.sum, self.squares)? / (self.values - 1.0);
        Some(1.0 - self.observed / expected).filter(|alpha| alpha.is_finite())
    }
}

/// The whole of some tasks.
#[must_use]
pub fn total<S: Sums>(tasks: &[S]) -> S {
    let mut total = S::default();
    for task in tasks {
        total.add(task);
    }
    total
}

/// Sum of squared deviations from the mean; null for a constant.
fn spread(n: f64, sum: f64, squares: f64) -> Option<f64> {
    let spread = squares - sum * sum / n;
    (spread > CONSTANT * squares).then_some(spread)
}

/// Adds up the rows of each task, sorted by task and value, their columns centred first so that squares do not drown the
/// spread.
fn by_task<T: Ord, S: Sums, const N: usize>(mut rows: Vec<(T, [f64; N])>, sums: impl Fn([f64; N]) -> S) -> Vec<S> {
    let by_value = |a: &[f64; N], b: &[f64; N]| {
        a.iter().zip(b).map(|(a, b)| a.total_cmp(b)).find(|order| order.is_ne()).unwrap_or(std::cmp::Ordering::Equal)
    };
    rows.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| by_value(&a.1, &b.1)));
    let count = rows.len() as f64;
    let centre: [f64; N] = std::array::from_fn(|column| rows.iter().map(|row| row.1[column]).sum::<f64>() / count);
    let mut found: Vec<S> = Vec::new();
    for task in rows.chunk_by(|a, b| a.0 == b.0) {
        let mut own = S::default();
        for (_, row) in task {
            own.add(&sums(std::array::from_fn(|column| row[column] - centre[column])));
        }
        found.push(own);
    }
    found
}
