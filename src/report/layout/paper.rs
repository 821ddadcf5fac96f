//! The paper's published values beside this run's, under a heading that says what they are not.
//! Called by `layout::blocks`; the pairing is that of `comparison.rs`.

use crate::report::comparison::{CorrelationPair, Pairing, Payment, RewardPair};
use crate::report::document::{Block, Table};
use crate::report::format::{NONE, fixed, milliseconds};
use crate::report::sections::Report;

/// The comparison, its caution and its reasons.
pub(super) fn comparison(report: &Report) -> Vec<Block> {
    let paper = &report.paper;
    let mut blocks = vec![
        Block::section("The paper's published values, for context (not a reproduction)"),
        Block::paragraph(format!("{} Source: {}.", paper.caution, paper.source)),
        Block::paragraph("Why they differ:"),
        Block::List(paper.differences.clone()),
    ];
    for (node_type, title) in [("inference", "Rewards of inference nodes."), ("evaluator", "Rewards of evaluators.")] {
        let pairs: Vec<&RewardPair> = paper.rewards.iter().filter(|pair| pair.node_type == node_type).collect();
        if let Some(first) = pairs.first() {
            let ours = pairs.iter().any(|pair| pair.ours.is_some());
            blocks.push(Block::paragraph(format!("{title} {}", explain(first.paired_by, ours, "reward"))));
            blocks.push(Block::Table(rewards(&pairs)));
        }
    }
    if let Some(first) = paper.correlations.first() {
        let ours = paper.correlations.iter().any(|pair| pair.ours.is_some());
        blocks.push(Block::paragraph(format!(
            "Correlation of evaluators with F1 and with the paper's GPT judge, averaged over tasks. {}",
            explain(first.paired_by, ours, "correlation with F1")
        )));
        blocks.push(Block::Table(correlations(&paper.correlations)));
    }
    blocks
}

fn explain(paired_by: Pairing, ours: bool, ranked_by: &str) -> String {
    match paired_by {
        _ if !ours => "This run has none yet.".into(),
        Pairing::Node => "A line holds the node of the same key on both sides.".into(),
        Pairing::Rank => {
            format!("A line pairs places in the two rankings by {ranked_by}; the nodes have nothing else in common.")
        }
    }
}

fn rewards(pairs: &[&RewardPair]) -> Table {
    let headings = ["Paper: node", "Reward", "ms", "Cost", "This run: node", "Reward", "ms", "Cost"];
    let mut table = Table::new(1, headings);
    table.columns[4].1 = table.columns[0].1;
    for pair in pairs {
        // One decimal, as printed in the paper: more would claim more than it says.
        let published = payment(pair.paper.as_ref(), |ms| fixed(ms, 1));
        table.row(published.into_iter().chain(payment(pair.ours.as_ref(), milliseconds)));
    }
    table
}

fn payment(side: Option<&Payment>, latency: impl Fn(Option<f64>) -> String) -> [String; 4] {
    [
        side.map_or_else(|| NONE.into(), |side| side.node.clone()),
        fixed(side.and_then(|side| side.avg_reward), 3),
        latency(side.and_then(|side| side.avg_latency_ms)),
        fixed(side.map(|side| side.cost_norm), 3),
    ]
}

fn correlations(pairs: &[CorrelationPair]) -> Table {
    let judged = pairs.iter().any(|pair| pair.ours.as_ref().is_some_and(|ours| ours.judge.is_some()));
    let mut headings = vec!["Paper: evaluator", "F1", "Judge", "This run: evaluator", "F1"];
    headings.extend(judged.then_some("Judge"));
    let mut table = Table::new(1, headings);
    table.columns[3].1 = table.columns[0].1;
    for CorrelationPair { paper, ours, .. } in pairs {
        let name = |side: &Option<_>| side.as_ref().map_or_else(|| NONE.into(), evaluator);
        let (published, own) = (paper.as_ref(), ours.as_ref());
        let mut cells = vec![
            name(paper),
            fixed(published.and_then(|side| side.f1), 2),
            fixed(published.and_then(|side| side.judge), 2),
            name(ours),
            fixed(own.and_then(|side| side.f1), 2),
        ];
        cells.extend(judged.then(|| fixed(own.and_then(|side| side.judge), 2)));
        table.row(cells);
    }
    table
}

fn evaluator(side: &crate::report::comparison::Correlations) -> String {
    side.evaluator.clone()
}
