//! What was inferred of alpha and beta, as tables and sentences. Called by `report::coefficients_to_text`; the numbers
//! are those of `simulate::infer`.

use crate::report::document::{Align, Block, Table};
use crate::report::format::{NONE, count, fixed, milliseconds};
use crate::simulate::infer::region::{Coefficients, Range};
use crate::simulate::infer::{
    CostCheck, Crossing, EvaluatorNodes, Extent, Implied, InferenceNodes, Inferred, Regions, TrueCoefficients, Verdict,
};

/// Decimals of alpha and beta.
const DECIMALS: usize = 4;

/// The whole document, top to bottom.
pub(in crate::report) fn blocks(inferred: &Inferred) -> Vec<Block> {
    let mut blocks = vec![Block::Heading(1, format!("Coefficients behind {}", inferred.source)), opening(inferred)];
    blocks.extend(costs(inferred));
    if let Some(side) = &inferred.inference {
        blocks.extend(inference(side));
    }
    if let Some(side) = &inferred.evaluators {
        blocks.extend(evaluators(side));
    }
    if let Some(shared) = &inferred.shared {
        blocks.push(Block::section("One α and one β for both sides"));
        blocks.push(Block::paragraph("Nothing says that both sides share them; if they do:"));
        blocks.extend(region(shared));
    }
    if let Some(own) = &inferred.true_coefficients {
        blocks.extend(true_coefficients(own));
    }
    for (title, points) in
        [("What cannot be told", &inferred.notes), ("What cannot be reproduced, and why", &inferred.not_reproducible)]
    {
        if !points.is_empty() {
            blocks.extend([Block::section(title), Block::List(points.clone())]);
        }
    }
    blocks
}

fn opening(inferred: &Inferred) -> Block {
    let precision = inferred.decimals.map_or_else(
        || "full".into(),
        |decimals| {
            format!(
                "printed with {} decimals of rewards, {} of costs and {} of latencies; \"with rounding\" takes each constraint at \
                 its most favourable rounding, a bound from outside",
                decimals.reward, decimals.cost, decimals.latency
            )
        },
    );
    let mut facts = vec![
        ("Inference nodes", "R = α_F Q - β_F C (Equation 2)".into()),
        ("Evaluators", "R = α_M (1 - d) - β_M C (Equations 4 and 5)".into()),
        ("Precision", precision),
    ];
    if let Some(jobs) = inferred.jobs {
        facts.push((
            "Jobs",
            format!(
                "{} rounds; against a uniform draw of inference nodes: chi-square {:.2}, {} degrees of freedom, p = {:.2}",
                count(jobs.rounds),
                jobs.chi_square,
                jobs.degrees,
                jobs.p
            ),
        ));
    }
    Block::Facts(facts)
}

fn costs(inferred: &Inferred) -> Vec<Block> {
    let printed = inferred.decimals.is_some();
    let mut headings = vec!["Type", "Node", "Reward", "ms", "Cost", "From ms"];
    headings.extend(printed.then_some("Possible"));
    headings.push("Verdict");
    let mut table = Table::new(2, headings);
    if let Some(verdict) = table.columns.last_mut() {
        verdict.1 = Align::Left;
    }
    for check in &inferred.costs {
        let mut cells = vec![
            check.node_type.clone(),
            check.node.clone(),
            fixed(Some(check.avg_reward), 3),
            // One decimal, as the paper prints: more would claim more than it says.
            if printed { fixed(check.avg_latency_ms, 1) } else { milliseconds(check.avg_latency_ms) },
            fixed(Some(check.cost_norm), 3),
            fixed(check.from_latencies, 3),
        ];
        let possible = |check: &CostCheck| {
            check.possible.map_or_else(|| NONE.into(), |range| format!("{:.3} to {:.3}", range.low, range.high))
        };
        cells.extend(printed.then(|| possible(check)));
        cells.push(verdict(check.verdict, printed).into());
        table.row(cells);
    }
    let what = if printed {
        "\"From ms\" is min-max of the printed latencies over the nodes of a type; \"Possible\" is what latencies that round \
         to the printed ones can give."
    } else {
        "\"From ms\" is min-max of the latencies over the nodes of a type."
    };
    vec![Block::section("Costs beside those that the latencies give"), Block::paragraph(what), Block::Table(table)]
}

fn verdict(verdict: Verdict, printed: bool) -> &'static str {
    match verdict {
        Verdict::Exact if printed => "as printed",
        Verdict::Exact => "equal",
        Verdict::UnroundedOnly => "unrounded only",
        Verdict::Inconsistent => "inconsistent",
        Verdict::Unknown => "no latency",
        Verdict::NotMinMax => "not min-max",
    }
}

fn inference(side: &InferenceNodes) -> Vec<Block> {
    let mut blocks = vec![Block::section("Inference nodes: α_F and β_F"), Block::List(side.constraints.clone())];
    blocks.extend(region(&side.region));
    blocks.extend(implied("Mean quality Q", &side.nodes, &side.implied_quality));
    if !side.crossings.is_empty() {
        blocks.push(Block::paragraph(
            "The ranking by Q, whatever α_F is. Below β the cheaper node of a pair is ahead, above it the dearer:",
        ));
        blocks.push(Block::Table(crossings(&side.crossings)));
    }
    if let Some(line) = side.regression {
        blocks.push(Block::paragraph(format!(
            "Rewards from costs alone, by least squares: R = {:.3} {} {:.3} C, R² = {:.3}.",
            line.intercept,
            if line.slope < 0.0 { "-" } else { "+" },
            line.slope.abs(),
            line.r_squared
        )));
    }
    blocks
}

fn evaluators(side: &EvaluatorNodes) -> Vec<Block> {
    let mut blocks = vec![Block::section("Evaluators: α_M and β_M"), Block::List(side.constraints.clone())];
    blocks.extend(region(&side.region));
    blocks.extend(implied("Mean deviation d", &side.nodes, &side.implied_deviation));
    blocks
}

/// The smallest alpha, the corners and the range of beta at some alphas.
fn region(regions: &Regions) -> Vec<Block> {
    let Regions { exact, with_rounding } = regions;
    let rounding = |extent: &Extent| format!(" With rounding: {}.", outline(extent));
    let rounded = with_rounding.as_ref();
    let mut blocks =
        vec![Block::paragraph(format!("The region: {}.{}", outline(exact), rounded.map(rounding).unwrap_or_default()))];
    if exact.alpha.is_none() && rounded.is_none_or(|extent| extent.alpha.is_none()) {
        return blocks;
    }
    let mut headings = vec!["α", "β from", "to"];
    if rounded.is_some() {
        headings.extend(["with rounding from", "to"]);
    }
    let mut table = Table::new(0, headings);
    for (index, row) in exact.beta_at_alpha.iter().enumerate() {
        let mut cells = vec![format!("{}", row.alpha)];
        cells.extend(ends(row.beta));
        cells.extend(rounded.into_iter().flat_map(|extent| ends(extent.beta_at_alpha[index].beta)));
        table.row(cells);
    }
    blocks.push(Block::Table(table));
    blocks
}

fn outline(extent: &Extent) -> String {
    let (Some(alpha), Some(beta)) = (extent.alpha, extent.beta) else { return "no α and β fit".into() };
    let corner = |corner: &Coefficients| format!("({:.DECIMALS$}, {:.DECIMALS$})", corner.alpha, corner.beta);
    let corners: Vec<String> = extent.corners.iter().map(corner).collect();
    format!("α {}, β {}, corners (α, β) {}", span(alpha), span(beta), corners.join(", "))
}

fn span(range: Range) -> String {
    match range.high {
        Some(high) => format!("from {:.DECIMALS$} to {high:.DECIMALS$}", range.low),
        None => format!("from {:.DECIMALS$} without end", range.low),
    }
}

/// Both ends of a range as cells.
fn ends(range: Option<Range>) -> [String; 2] {
    match range {
        None => [NONE.into(), NONE.into()],
        Some(range) => {
            let high = range.high.map_or_else(|| "no end".into(), |high| fixed(Some(high), DECIMALS));
            [fixed(Some(range.low), DECIMALS), high]
        }
    }
}

/// One column per beta, one line per node.
fn implied(what: &str, nodes: &[String], rows: &[Implied]) -> Vec<Block> {
    let Some(first) = rows.first() else { return Vec::new() };
    let heading = rows.iter().map(|row| format!("β = {}", row.beta));
    let mut table = Table::new(1, std::iter::once("Node".to_owned()).chain(heading));
    for (index, node) in nodes.iter().enumerate() {
        let values = rows.iter().map(|row| fixed(row.values.get(index).copied(), 3));
        table.row(std::iter::once(node.clone()).chain(values));
    }
    let spread = rows.iter().map(|row| fixed(Some(row.spread), 3));
    table.row(std::iter::once("highest - lowest".to_owned()).chain(spread));
    let fits = rows.iter().map(|row| if row.consistent { "yes" } else { "no" }.to_owned());
    table.row(std::iter::once("fits".to_owned()).chain(fits));
    vec![Block::paragraph(format!("{what} at α = {}:", first.alpha)), Block::Table(table)]
}

fn crossings(crossings: &[Crossing]) -> Table {
    let rounded = crossings.iter().any(|crossing| crossing.with_rounding.is_some());
    let mut headings = vec!["Cheaper", "Dearer", "β"];
    if rounded {
        headings.extend(["with rounding from", "to"]);
    }
    let mut table = Table::new(2, headings);
    for crossing in crossings {
        let mut cells = vec![crossing.cheaper.clone(), crossing.dearer.clone(), fixed(Some(crossing.beta), DECIMALS)];
        if rounded {
            cells.extend(ends(crossing.with_rounding));
        }
        table.row(cells);
    }
    table
}

fn true_coefficients(own: &TrueCoefficients) -> Vec<Block> {
    let mut table = Table::new(1, ["Side", "α", "β", "Inside its region"]);
    for (side, coefficients, inside) in [
        ("inference nodes", own.inference, own.inference_inside),
        ("evaluators", own.evaluators, own.evaluators_inside),
    ] {
        let inside = match inside {
            Some(true) => "yes",
            Some(false) => "no",
            None => NONE,
        };
        table.row([side.into(), format!("{}", coefficients.alpha), format!("{}", coefficients.beta), inside.into()]);
    }
    vec![
        Block::section("The coefficients that the run was simulated with"),
        Block::paragraph("They are known here, so that what was inferred above can be checked:"),
        Block::Table(table),
    ]
}
