//! What the numbers come to, in sentences: what a table cannot tell, and what of the paper's cannot be reproduced.
//! Every figure in them is computed from the table.

use super::costs::Verdict;
use super::{Inferred, Regions, RewardTable};

/// What cannot be told from this table.
pub fn notes(table: &RewardTable, inferred: &Inferred) -> Vec<String> {
    let inference = inferred.inference.as_ref().map(|side| (side.tells_beta, &side.region));
    let evaluators = inferred.evaluators.as_ref().map(|side| (side.tells_beta, &side.region));
    let sides = [
        ("inference node", "_F", "Equation 2", inference, &table.inference),
        ("evaluator", "_M", "Equations 4 and 5", evaluators, &table.evaluators),
    ];
    let mut notes = Vec::new();
    for (node, suffix, equation, side, nodes) in sides {
        let Some((tells_beta, region)) = side else {
            notes.push(format!("No {node} has a mean reward, so nothing is known of α{suffix} and β{suffix}."));
            continue;
        };
        if !tells_beta {
            let cost = nodes.first().map_or(0.0, |node| node.cost);
            let who =
                if nodes.len() == 1 { format!("There is one {node}") } else { format!("All {node}s cost the same") };
            notes.push(format!(
                "{who} (C = {cost:.3}), so no difference between rewards depends on β{suffix}: it cannot be identified."
            ));
        }
        if fits_nothing(region) {
            notes.push(format!(
                "No α{suffix} and β{suffix} fit the {node}s: {equation} with the constraints above did not make these rewards."
            ));
        }
    }
    notes
}

fn fits_nothing(region: &Regions) -> bool {
    region.with_rounding.as_ref().unwrap_or(&region.exact).alpha.is_none()
}

/// What of a published table cannot be reproduced, and why.
pub fn not_reproducible(table: &RewardTable, inferred: &Inferred) -> Vec<String> {
    let mut statements = vec![
        "The coefficients: the paper prints neither α_F, β_F, α_M nor β_M. The regions above are all that the table says \
         of them, and it prefers no point inside."
            .into(),
        "Any single reward: it needs a mean quality or deviation, and the scores of the records behind these are not \
         published."
            .into(),
    ];
    if let Some(jobs) = inferred.jobs.filter(|_| table.everybody_judges()) {
        statements.push(format!(
            "Rounds with fewer evaluators: the text draws K between 1 and {}, but each of the {} evaluators has {} jobs in \
             {} rounds. All took part in every round, so the table shows one K only.",
            table.evaluators.len(),
            table.evaluators.len(),
            jobs.rounds,
            jobs.rounds
        ));
    }
    for check in inferred.costs.iter().filter(|check| check.verdict == Verdict::UnroundedOnly) {
        let (recomputed, possible) = (check.from_latencies.unwrap_or_default(), check.possible);
        let range = possible.map_or_else(String::new, |range| format!(" ({:.3} to {:.3})", range.low, range.high));
        statements.push(format!(
            "The cost of {}: printed latencies give {recomputed:.3}, the table has {:.3}. Latencies that round to the printed \
             ones allow it{range}, so costs were made before rounding, from latencies that are not published.",
            check.node, check.cost_norm
        ));
    }
    for check in inferred.costs.iter().filter(|check| check.verdict == Verdict::Inconsistent) {
        statements.push(format!(
            "The cost of {}: no latencies that round to the printed ones give {:.3}.",
            check.node, check.cost_norm
        ));
    }
    if let Some(jobs) = inferred.jobs {
        let drawn = if jobs.p >= 0.05 { "do not differ from a uniform draw" } else { "differ from a uniform draw" };
        statements.push(format!(
            "The draw itself: the jobs of the inference nodes {drawn} (chi-square {:.2}, {} degrees of freedom, p = {:.2}), but \
             no seed is published.",
            jobs.chi_square, jobs.degrees, jobs.p
        ));
    }
    if let Some(line) = inferred.inference.as_ref().and_then(|side| side.regression) {
        statements.push(format!(
            "The share of quality: cost alone explains {:.1} % of the variance of the inference rewards (R = {:.3} {} {:.3} C), \
             so the table cannot show how much quality had to do with the ranking.",
            line.r_squared * 100.0,
            line.intercept,
            if line.slope < 0.0 { "-" } else { "+" },
            line.slope.abs()
        ));
    }
    statements
}
