//! What the network of a run cannot play, refused before anything is simulated.

use super::Sweep;
use crate::simulate::mechanism::Mechanism;
use crate::simulate::network::Network;
use crate::simulate::{Watch, played};
use anyhow::{Error, Result};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// A cell that cannot be played, and why.
type Refusal = (usize, Error);

/// Makes the mechanism of every cell ready without playing it, and refuses the first that is not to be had. Cells with the
/// same pool look at one network, and pools follow one another, so that there are few in memory at a time.
pub fn check(sweep: &Sweep, network: &Network, watch: Watch) -> Result<()> {
    let refusals = by_pool(sweep)?.into_par_iter().filter_map(|(_, cells)| first(sweep, network, &cells, watch));
    refusals.min_by_key(|(cell, _)| *cell).map_or(Ok(()), |(_, error)| Err(error))
}

/// Cells by the pool that they ask for, in words.
fn by_pool(sweep: &Sweep) -> Result<BTreeMap<String, Vec<usize>>> {
    let pool_of = |cell| -> Result<(String, usize)> { Ok((serde_json::to_string(&sweep.settings(cell)?.pool)?, cell)) };
    let pools: Vec<Result<(String, usize)>> = (0..sweep.size().cells).into_par_iter().map(pool_of).collect();
    let mut cells = BTreeMap::<String, Vec<usize>>::new();
    for found in pools {
        let (pool, cell) = found?;
        cells.entry(pool).or_default().push(cell);
    }
    Ok(cells)
}

/// The first refusal among cells with the same pool.
fn first(sweep: &Sweep, network: &Network, cells: &[usize], watch: Watch) -> Option<Refusal> {
    let (&one, refuse) = (cells.first()?, |cell, error: Error| (cell, error.context(sweep.describe(cell))));
    let settings = match sweep.settings(one) {
        Ok(settings) => settings,
        Err(error) => return Some((one, error)),
    };
    let network = match played(network, &settings) {
        Ok(network) => network,
        Err(error) => return Some(refuse(one, error)),
    };
    cells.par_iter().find_map_first(|&cell| {
        if let Err(stopped) = watch.go_on() {
            return Some((cell, stopped.into()));
        }
        let settings = match sweep.settings(cell) {
            Ok(settings) => settings,
            Err(error) => return Some((cell, error)),
        };
        Mechanism::new(&network, &settings).err().map(|error| refuse(cell, error))
    })
}
