//! Which cells a file makes, in which order, and what is refused before any of them is simulated.

use super::*;
use crate::settings::mechanism::Rule;
use crate::signals::Composite;
use crate::sweep::qualities as qualities_of;
use proptest::prelude::*;
use std::fmt::Write;

fn sweep(text: &str) -> Result<Sweep> {
    Sweep::new(&SweepFile::parse(&format!("name = \"s\"\n{text}"))?, &Simulation::default())
}

fn error(text: &str) -> String {
    let error = sweep(text).and_then(|sweep| sweep.fingerprints()).expect_err("refused");
    format!("{error:#}")
}

fn kinds(sweep: &Sweep) -> Vec<(&str, Kind)> {
    sweep.columns().iter().map(|column| (column.path.as_str(), column.kind)).collect()
}

/// What each cell has in the column of this number, as TOML.
fn column(sweep: &Sweep, number: usize) -> Vec<Option<String>> {
    let column = &sweep.columns()[number];
    (0..sweep.size().cells).map(|cell| sweep.value(cell, column).map(ToString::to_string)).collect()
}

#[test]
fn the_last_axis_changes_fastest_and_the_list_slowest() {
    let sweep = sweep(
        "list = [{ beta_f = 0.1 }, { beta_f = 0.2, alpha_f = 2 }]\n\
         [grid]\nconsensus.rule = [\"mean\", \"median\"]\nk = [1, 2, 3]\n",
    )
    .expect("valid");
    let cells: Vec<(f64, f64, Rule, usize)> = (0..sweep.size().cells)
        .map(|cell| sweep.settings(cell).expect("sound"))
        .map(|settings| (settings.beta_f, settings.alpha_f, settings.consensus.rule, settings.k.bounds().0))
        .collect();
    let mut expected = Vec::new();
    for (beta, alpha) in [(0.1, 1.0), (0.2, 2.0)] {
        for rule in [Rule::Mean, Rule::Median] {
            expected.extend([1, 2, 3].map(|k| (beta, alpha, rule, k)));
        }
    }
    assert_eq!(cells, expected);
    assert_eq!(sweep.describe(11), "cell 11 (beta_f = 0.2, alpha_f = 2, consensus.rule = \"median\", k = 3)");
    assert_eq!(sweep.corners(), [0, 1, 2, 3, 6]);
    assert_eq!(
        kinds(&sweep),
        [("beta_f", Kind::Number), ("alpha_f", Kind::Number), ("consensus.rule", Kind::Text), ("k", Kind::Number)]
    );
    // An entry that does not say has what the settings have.
    let alphas: Vec<String> = column(&sweep, 1).into_iter().flatten().collect();
    assert_eq!(alphas, [["1.0"; 6], ["2"; 6]].concat());
}

#[test]
fn the_quality_signals_of_all_cells_are_known() {
    let qualities = |text: &str| sweep(text).and_then(|sweep| qualities_of(&sweep)).expect("valid");
    assert_eq!(qualities("[grid]\nk = [1, 2]\n"), []);
    assert_eq!(qualities("[grid]\nquality = [\"none\"]\n"), []);
    let both = [Composite::Default, Composite::Calibrated];
    assert_eq!(qualities("[simulation]\nquality = \"composite\"\n[grid]\nk = [1, 2]\n"), both[..1]);
    assert_eq!(qualities("[grid]\nk = [1]\nquality = [\"none\", \"composite_calibrated\"]\n"), both[1..]);
    assert_eq!(qualities("[[list]]\nquality = \"composite_calibrated\"\n[[list]]\nquality = \"composite\"\n"), both);
}

#[test]
fn a_list_alone_is_its_entries_and_an_empty_entry_is_the_settings() {
    let sweep = sweep(
        "[simulation]\nreplicates = 5\n[[list]]\n[[list]]\nconsensus.trust = {}\n[[list]]\nk = { min = 1, max = 3 }\n\
         [[list]]\ncongestion.strength = 2.0\n",
    )
    .expect("valid");
    let settings: Vec<Simulation> = (0..4).map(|cell| sweep.settings(cell).expect("sound")).collect();
    assert_eq!(settings[0], Simulation { replicates: 5, ..Simulation::default() });
    assert!(settings[1].consensus.trust.is_some() && settings[0].consensus.trust.is_none());
    assert_eq!(settings[2].k.bounds(), (1, 3));
    assert_eq!(settings[3].congestion.as_ref().map(|congestion| congestion.strength), Some(2.0));
    assert_eq!(
        kinds(&sweep),
        [("consensus.trust", Kind::Text), ("k", Kind::Text), ("congestion.strength", Kind::Number)]
    );
    assert_eq!(column(&sweep, 2), [None, None, None, Some("2.0".to_owned())]);
    assert_eq!(column(&sweep, 1)[0].as_deref(), Some("3"));
    assert_eq!(sweep.describe(0), "cell 0");
}

#[test]
fn values_of_a_column_have_one_kind() {
    let sweep = sweep(
        "[grid]\nk = [3, { min = 1, max = 2 }]\nbeta_f = [0, 0.5]\nevaluator_attacks = [[], [{ strategy = \"lazy\", count = 1 }]]\n\
         deviation = [\"inclusive\"]\n",
    )
    .expect("valid");
    let expected =
        [("k", Kind::Text), ("beta_f", Kind::Number), ("evaluator_attacks", Kind::Text), ("deviation", Kind::Text)];
    assert_eq!(kinds(&sweep), expected);
    assert_eq!(Kind::of(&[&Value::Boolean(true), &Value::Boolean(false)]), Kind::Boolean);
}

#[test]
fn unknown_settings_and_values_are_named_with_the_nearest() {
    let message = error("[grid]\nconsensus.rule = [\"mean\", \"medain\"]\n");
    assert!(message.contains("`simulation.consensus.rule` cannot be set"), "{message}");
    assert!(message.contains("did you mean `median`?"), "{message}");
    let message = error("[grid]\n\"consensus.trimm\" = [0.1]\n");
    assert!(message.contains("did you mean `trim`?"), "{message}");
    let message = error("[simulation]\nronds = 3\n[grid]\nk = [1]\n");
    assert!(message.contains("`[simulation]`") && message.contains("did you mean `rounds`?"), "{message}");
    let message = error("list = [{ k = 1 }, { beta_g = 1 }]\n");
    assert!(message.contains("`[[list]]`, entry 2") && message.contains("did you mean `beta_"), "{message}");
}

#[test]
fn what_does_not_go_together_names_its_cell() {
    let message = error("[grid]\nconsensus.trust.min = [0.5, 3.0]\nconsensus.trust.max = [2.0, 4.0]\n");
    assert!(message.starts_with("cell 2 (consensus.trust.min = 3.0, consensus.trust.max = 2.0): "), "{message}");
    let message = error("[grid]\nbeta_f = [0.1, -1.0]\n");
    assert!(message.contains("cell 1 (beta_f = -1.0): `simulation.beta_f` must be"), "{message}");
}

#[test]
fn one_path_cannot_overwrite_another() {
    let message = error("[grid]\nconsensus = [{ rule = \"mean\" }]\n\"consensus.trim\" = [0.1]\n");
    assert!(message.contains("`consensus` and `consensus.trim` are set in the same cell"), "{message}");
    let message = error("list = [{ k = 1 }]\n[grid]\nk = [1, 2]\n");
    assert!(message.contains("`k` is given twice"), "{message}");
    assert!(
        error("[grid]\n\"audit.penalty\" = [1]\n[grid.audit]\npenalty = [2]\n")
            .contains("`audit.penalty` is given twice")
    );
    // Names that only begin alike are fine.
    sweep("[grid]\nbeta_f = [1]\nbeta_m = [1]\n\"consensus.trim\" = [0.1]\n\"consensus.trust.min\" = [0.1]\n")
        .expect("valid");
}

#[test]
fn the_size_is_known_without_looking_at_cells() {
    let of = |text: &str| sweep(text).expect("valid").size();
    let size = of("[simulation]\nrounds = 10\n[grid]\nreplicates = [2, 4]\nk = [1, 2, 3]\n");
    assert_eq!(size, Size { cells: 6, rounds: 10.0 * (2.0 + 4.0) * 3.0 });
    let size = of("list = [{ rounds = 1 }, { rounds = 5, replicates = 3 }, {}]\n[grid]\nk = [1, 2]\n");
    assert_eq!(size, Size { cells: 6, rounds: 2.0 * (20.0 + 15.0 + 100_000.0) });
    let mut huge = "[grid]\n".to_owned();
    let values: Vec<String> = (0..2000).map(|value| value.to_string()).collect();
    for path in ["seed", "pool.seed", "audit.penalty", "beta_f", "beta_m", "alpha_f"] {
        let _ = writeln!(huge, "\"{path}\" = [{}]", values.join(", "));
    }
    assert!(error(&huge).contains("more cells than can be counted"));
}

#[test]
fn chunks_cover_every_cell_once_and_are_small_where_cells_are_large() {
    let of = |text: &str| sweep(text).expect("valid").chunks();
    let seeds: Vec<String> = (0..150).map(|seed| seed.to_string()).collect();
    let axis = format!("seed = [{}]", seeds.join(", "));
    assert_eq!(of(&format!("[grid]\n{axis}\n")), [0..64, 64..128, 128..150]);
    let large = of(&format!("[simulation]\nrounds = 1_000_000\nreplicates = 10\n[grid]\n{axis}\n"));
    assert_eq!((large.len(), large[0].clone(), large[49].clone()), (50, 0..3, 147..150));
    assert_eq!(of(&format!("[simulation]\nrounds = 1_000_000_000\n[grid]\n{axis}\n")).len(), 150);
}

#[test]
fn a_changed_sweep_keeps_the_hashes_of_the_chunks_that_did_not_change() {
    let of = |last: u32| {
        let seeds: Vec<String> = (0..127).chain([last]).map(|seed| seed.to_string()).collect();
        sweep(&format!("[grid]\nseed = [{}]\n", seeds.join(", "))).expect("valid").fingerprints().expect("sound")
    };
    let (one, other) = (of(127), of(128));
    assert_eq!(one.len(), 2);
    assert_eq!(one[0], other[0]);
    assert_ne!(one[1], other[1]);
    assert_eq!(one, of(127));
}

#[test]
fn every_shipped_sweep_can_be_run() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/sweeps");
    let mut shipped = 0;
    for entry in std::fs::read_dir(directory).expect("shipped sweeps") {
        let path = entry.expect("entry").path();
        let file = SweepFile::read(&path).expect("valid");
        assert_eq!(Some(file.name.as_str()), path.file_stem().and_then(|stem| stem.to_str()));
        let sweep = Sweep::new(&file, &Simulation::default()).expect("valid");
        sweep.fingerprints().expect("every cell goes together");
        shipped += 1;
    }
    assert!(shipped >= 2);
}

proptest! {
    #[test]
    fn there_are_as_many_cells_as_combinations_and_no_two_are_alike(
        lengths in prop::collection::vec(1_usize..5, 1..5),
        entries in 0_usize..4,
    ) {
        let paths = ["seed", "beta_f", "pool.noise", "consensus.kappa"];
        let mut text = String::new();
        for entry in 0..entries {
            let _ = writeln!(text, "[[list]]\nalpha_m = {entry}");
        }
        text.push_str("[grid]\n");
        for (path, &length) in paths.iter().zip(&lengths) {
            let values: Vec<String> = (1..=length).map(|value| if *path == "seed" { value.to_string() } else { format!("0.{value}") }).collect();
            let _ = writeln!(text, "\"{path}\" = [{}]", values.join(", "));
        }
        let sweep = sweep(&text).expect("valid");
        prop_assert_eq!(sweep.size().cells, lengths.iter().product::<usize>() * entries.max(1));
        let mut seen = std::collections::HashSet::new();
        for cell in 0..sweep.size().cells {
            prop_assert!(seen.insert(serde_json::to_string(&sweep.settings(cell).expect("sound")).expect("JSON")));
        }
        let covered: Vec<usize> = sweep.chunks().into_iter().flatten().collect();
        prop_assert_eq!(covered, (0..sweep.size().cells).collect::<Vec<_>>());
        prop_assert_eq!(sweep.fingerprints().expect("sound").len(), sweep.chunks().len());
        prop_assert!(sweep.corners().iter().all(|&cell| cell < sweep.size().cells));
    }
}
