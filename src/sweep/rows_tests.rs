//! Which rows a cell leaves, and that they do not depend on who else is in the batch.

use super::*;
use crate::settings::Simulation;
use crate::simulate::Watch;
use crate::simulate::network::Network;
use crate::simulate::tests::random_network;
use crate::sweep::{SweepFile, simulate_cell};
use arrow::array::AsArray;
use arrow::datatypes::DataType;
use std::collections::HashSet;

fn sweep(text: &str) -> Sweep {
    let file = SweepFile::parse(&format!("name = \"s\"\n{text}")).expect("valid");
    let settings = Simulation { rounds: 300, replicates: 4, ..Simulation::default() };
    Sweep::new(&file, &settings).expect("valid")
}

fn network() -> Network {
    random_network(3, (12, 3, 4), 10)
}

fn cells(sweep: &Sweep, network: &Network, cells: std::ops::Range<usize>) -> Vec<Simulated> {
    cells.map(|cell| simulate_cell(sweep, network, cell, Watch::NOBODY).expect("plays")).collect()
}

fn texts<'b>(batch: &'b RecordBatch, name: &str) -> Vec<Option<&'b str>> {
    batch.column_by_name(name).expect("column").as_string::<i32>().iter().collect()
}

/// Metrics of the rows that `keep` keeps, by cell and node.
fn metrics<'b>(batch: &'b RecordBatch, cell: i64, node: Option<&str>) -> Vec<&'b str> {
    let numbers = batch.column_by_name("cell").expect("column").as_any().downcast_ref::<Int64Array>().expect("numbers");
    let nodes = texts(batch, "node");
    let metrics = texts(batch, "metric").into_iter().flatten().enumerate();
    metrics.filter(|&(row, _)| numbers.value(row) == cell && nodes[row] == node).map(|(_, metric)| metric).collect()
}

#[test]
fn the_described_columns_are_those_of_the_table() {
    let (network, sweep) = (network(), sweep("[grid]\nk = [1]\n"));
    let schema = batch(&sweep, "r", &cells(&sweep, &network, 0..1)).expect("rows").schema();
    let columns = schema.fields().iter().map(|field| (field.name().replace('k', "<setting>"), field.is_nullable()));
    let described = COLUMNS.iter().map(|one| (one.name.to_owned(), one.is_nullable()));
    assert_eq!(columns.collect::<Vec<_>>(), described.collect::<Vec<_>>());
}

#[test]
fn a_cell_has_the_figures_of_its_mechanism_and_no_others() {
    let network = network();
    let sweep = sweep(
        "[[list]]\n[[list]]\nevaluator_attacks = [{ strategy = \"boost\", nodes = [\"m1\"] }]\n[[list]]\nconsensus.trust = {}\n",
    );
    let batch = batch(&sweep, "r", &cells(&sweep, &network, 0..3)).expect("rows");
    let node = |cell, node| metrics(&batch, cell, Some(node));
    assert_eq!(
        node(0, "m1"),
        [
            "jobs",
            "avg_reward",
            "stderr",
            "ci_low",
            "ci_high",
            "std_reward",
            "reward_p05",
            "reward_p50",
            "reward_p95",
            "expected_reward",
            "expected_std",
            "z"
        ]
    );
    assert!(node(1, "f0").ends_with(&["z", "honest_reward"]));
    assert!(node(2, "m1").ends_with(&["reward_p95", "trust_weight"]) && !node(2, "f0").contains(&"trust_weight"));
    let of_network = |cell| metrics(&batch, cell, None).into_iter().collect::<HashSet<_>>();
    assert!(of_network(0).is_superset(&["consensus_error", "ranking_kendall", "void_rounds"].into()));
    assert!(of_network(1).is_superset(&["payout_inflation_inference", "honest_malicious_gap"].into()));
    assert!(of_network(2).contains("trust_saturation_round") && !of_network(0).contains("trust_saturation_round"));
    let strategies: HashSet<Option<&str>> = texts(&batch, "strategy").into_iter().collect();
    assert!(strategies.contains(&Some("honest")) && strategies.contains(&None) && strategies.len() >= 3);
    assert_eq!(texts(&batch, "run").into_iter().flatten().collect::<HashSet<_>>(), ["r"].into());
}

/// What a cell has in a metric of the network; panics where it has no such row.
fn figure(batch: &RecordBatch, cell: i64, metric: &str) -> Option<f64> {
    let numbers = column::<Int64Array>(batch, "cell").expect("numbers");
    let (metrics, nodes) = (texts(batch, "metric"), texts(batch, "node"));
    let is_it = |&row: &usize| numbers.value(row) == cell && metrics[row] == Some(metric) && nodes[row].is_none();
    let row = (0..batch.num_rows()).find(is_it).expect("a row");
    let values = column::<Float64Array>(batch, "value").expect("values");
    values.is_valid(row).then(|| values.value(row))
}

#[test]
fn an_unknown_figure_is_null_and_never_zero() {
    // A relative update tells evaluators apart, so that not all weights reach their maximum; a median of 40 evaluators has
    // more outcomes than a cell may look at.
    let sweep = sweep(
        "[[list]]\nconsensus.trust = { update = \"relative\" }\n\
         [[list]]\nconsensus.rule = \"median\"\nk = 7\npool.evaluators = 40\n[[list]]\n",
    );
    let batch = batch(&sweep, "r", &cells(&sweep, &network(), 0..3)).expect("rows");
    assert_eq!(figure(&batch, 0, "trust_saturated_share"), Some(0.0));
    assert_eq!(figure(&batch, 0, "trust_saturation_round"), None);
    assert_eq!(figure(&batch, 1, "disagreements"), None);
    assert_eq!(figure(&batch, 2, "disagreements"), Some(0.0));
    assert!(!metrics(&batch, 0, None).contains(&"disagreements"), "rounds that remember have no closed form");
    let (of, values) = (texts(&batch, "metric"), column::<Float64Array>(&batch, "value").expect("values"));
    let numbers = column::<Int64Array>(&batch, "cell").expect("numbers");
    for metric in ["expected_reward", "expected_std", "z"] {
        let rows = || (0..batch.num_rows()).filter(|&row| of[row] == Some(metric));
        assert_eq!(rows().filter(|&row| numbers.value(row) == 1).count(), 3 + 40, "{metric}");
        assert!(rows().all(|row| values.is_null(row) == (numbers.value(row) == 1)), "{metric}");
    }
}

#[test]
fn settings_are_columns_of_their_own_kind() {
    let sweep = sweep(
        "[grid]\nk = [1, 2]\nbeta_f = [0, 0.5]\n\"consensus.rule\" = [\"mean\"]\nevaluator_attacks = [[{ strategy = \"lazy\", count = 1 }]]\n",
    );
    let batch = batch(&sweep, "r", &cells(&sweep, &network(), 0..2)).expect("rows");
    let schema = batch.schema();
    let kinds: Vec<(&str, &DataType, bool)> =
        schema.fields().iter().map(|field| (field.name().as_str(), field.data_type(), field.is_nullable())).collect();
    let (text, number, integer) = (&DataType::Utf8, &DataType::Float64, &DataType::Int64);
    assert_eq!(
        kinds,
        [
            ("run", text, false),
            ("cell", integer, false),
            ("k", integer, true),
            ("beta_f", number, true),
            ("consensus.rule", text, true),
            ("evaluator_attacks", text, true),
            ("node_type", text, false),
            ("node", text, true),
            ("strategy", text, true),
            ("metric", text, false),
            ("proxy", text, true),
            ("value", number, true),
        ]
    );
    assert_eq!(texts(&batch, "consensus.rule")[0], Some("mean"));
    assert_eq!(texts(&batch, "evaluator_attacks")[0], Some(r#"[{"strategy":"lazy","count":1}]"#));
}

#[test]
fn a_cell_is_the_same_alone_and_in_company() {
    let network = network();
    let sweep = sweep("[grid]\nk = [1, 2, 3]\nbeta_f = [0, 0.5]\n");
    let together = batch(&sweep, "r", &cells(&sweep, &network, 0..6)).expect("rows");
    let mut begin = 0;
    for cell in 0..6 {
        let alone = batch(&sweep, "r", &cells(&sweep, &network, cell..cell + 1)).expect("rows");
        assert_eq!(together.slice(begin, alone.num_rows()), alone);
        begin += alone.num_rows();
    }
    assert_eq!(begin, together.num_rows());
}

#[test]
fn alarms_name_the_cells_that_are_far_off() {
    let sweep = sweep("[grid]\nseed = [1, 2, 3]\n");
    let mut cells = cells(&sweep, &network(), 0..3);
    let mut alarms = Alarms::default();
    alarms.see(&batch(&sweep, "r", &cells).expect("rows")).expect("sees");
    assert_eq!((alarms.compared, alarms.cells.len()), (3 * 7, 0));
    let far = |row: &mut RewardRow, jobs| (row.z, row.jobs) = (Some(-5.1), jobs);
    // A mean of few jobs is not normal: that far off it may well be by chance.
    far(&mut cells[0].outcome.rewards[0], 999);
    far(&mut cells[1].outcome.rewards[0], 1000);
    cells[1].outcome.rewards[3].z = Some(f64::NAN);
    (cells[2].outcome.rewards[6].z, cells[2].outcome.rewards[6].expected_reward) = (None, None);
    let batch = batch(&sweep, "r", &cells).expect("rows");
    assert_eq!([0, 1, 2].map(|cell| figure(&batch, cell, "disagreements")), [Some(0.0), Some(2.0), Some(0.0)]);
    let mut alarms = Alarms::default();
    alarms.see(&batch).expect("sees");
    assert_eq!((alarms.compared, alarms.cells), (3 * 7 - 1, vec![1]));
}

#[test]
fn what_the_network_cannot_play_is_refused_by_cell() {
    let network = network();
    let check = |text: &str| crate::sweep::check(&sweep(text), &network, Watch::NOBODY);
    let refused = |text: &str| format!("{:#}", check(text).expect_err("refused"));
    let message = refused("[grid]\nk = [3, 5]\n");
    assert!(
        message.contains("cell 1 (k = 5): `simulation.k` asks for 5 evaluators per round, but the pool has 4"),
        "{message}"
    );
    // Each value alone is fine; together they are not.
    let message = refused("[simulation.pool]\nevaluators = 9\n[grid]\nk = [3, 9]\n\"pool.evaluators\" = [9, 5]\n");
    assert!(message.contains("cell 3 (k = 9, pool.evaluators = 5)"), "{message}");
    let message = refused("[grid]\nconsensus.stakes = [{ m1 = 2.0 }, { nobody = 2.0 }]\n");
    assert!(message.contains("cell 1") && message.contains("nobody"), "{message}");
    // Neither a value alone nor any two are wrong, and no one round is.
    let message = refused(
        "[grid]\nrounds = [1, 4_000_000_000_000_000_000]\n\"pool.evaluators\" = [9, 3]\nk = [1]\n\
         evaluator_attacks = [[], [{ strategy = \"boost\", count = 4 }]]\n",
    );
    assert!(
        message.contains("cell 3 (rounds = 1, pool.evaluators = 3") && message.contains("4 attackers"),
        "{message}"
    );
    let message = refused("[simulation]\nalpha_f = 1e150\n[grid]\nrounds = [1, 4_000_000_000_000_000_000]\n");
    assert!(message.contains("cell 1") && message.contains("too large to add up"), "{message}");
    let message = refused("[grid]\npool = [{ templates = [\"m9\"] }]\n");
    assert!(message.contains("cell 0") && message.contains("there is no evaluator `m9`"), "{message}");
    check("[grid]\nk = [1, 4]\npool = [\"none\", { evaluators = 9 }]\n").expect("plays");
    let stopped = Watch { stopped: &|| true, ..Watch::NOBODY };
    let error = crate::sweep::check(&sweep("[grid]\nk = [1, 4]\n"), &network, stopped).expect_err("stopped");
    assert!(error.is::<crate::simulate::Stopped>());
}
