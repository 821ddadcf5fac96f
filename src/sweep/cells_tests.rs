//! Which cells a file makes, in which order, and what is refused before any of them is simulated.

use super::*;
use crate::settings::mechanism::{Pool, Rule};
use crate::signals::Composite;
use crate::sweep::{Kind, qualities as qualities_of};
use proptest::prelude::*;
use std::fmt::Write;

fn sweep(text: &str) -> Result<Sweep> {
    over(&Simulation::default(), text)
}

fn over(settings: &Simulation, text: &str) -> Result<Sweep> {
    Sweep::new(&SweepFile::parse(&format!("name = \"s\"\n{text}"))?, settings)
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
    assert_eq!(
        kinds(&sweep),
        [("beta_f", Kind::Number), ("alpha_f", Kind::Number), ("consensus.rule", Kind::Text), ("k", Kind::Integer)]
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
    assert_eq!(settings[0], Simulation { replicates: 5, round_log: RoundLog::None, ..Simulation::default() });
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
    assert_eq!(Kind::of(&[&Value::Integer(1), &Value::Integer(2)]), Kind::Integer);
}

#[test]
fn a_column_says_what_a_cell_has_whoever_set_it() {
    let run = Simulation { pool: Some(Pool { evaluators: 20, ..Pool::default() }), ..Simulation::default() };
    let list = "list = [{ pool = \"none\" }, { pool.evaluators = 50 }, {}]\n[grid]\nk = [1, 2]\n";
    let sweep = over(&run, list).expect("valid");
    let evaluators = |cell| sweep.settings(cell).expect("sound").pool.map(|pool| pool.evaluators);
    assert_eq!([0, 2, 4].map(evaluators), [None, Some(50), Some(20)]);
    // Without a pool it has no size, though the run has one; with another size the pool is that one.
    let [pools, sizes] = [0, 1].map(|number| column(&sweep, number));
    let sizes: Vec<Option<&str>> = sizes.iter().map(Option::as_deref).collect();
    assert_eq!(sizes, [None, None, Some("50"), Some("50"), Some("20"), Some("20")]);
    assert_eq!(pools[0].as_deref(), Some("\"none\""));
    for (cell, size) in [(2, "evaluators = 50"), (4, "evaluators = 20")] {
        assert!(pools[cell].as_ref().is_some_and(|pool| pool.contains(size)), "{pools:?}");
    }
    assert_eq!(kinds(&sweep), [("pool", Kind::Text), ("pool.evaluators", Kind::Integer), ("k", Kind::Integer)]);
}

#[test]
fn tables_by_name_are_set_whole_and_names_may_hold_dots() {
    let mut run = Simulation::default();
    run.consensus.stakes.insert("m0".into(), 3.0);
    let list = "[simulation]\ncosts.hardware.\"gpt-4.1\" = 2.0\n[[list]]\nconsensus.stakes = { \"gpt-4.1\" = 2.0 }\n\
                [[list]]\nconsensus.stakes = {}\n[[list]]\n[[list]]\n\"consensus.stakes.gpt-4.1\" = 2.0\n";
    let sweep = over(&run, list).expect("valid");
    let stakes = |cell| {
        let settings = sweep.settings(cell).expect("sound");
        assert_eq!(settings.costs.hardware, [("gpt-4.1".to_owned(), 2.0)].into());
        settings.consensus.stakes.into_iter().map(|(node, stake)| format!("{node} {stake}")).collect::<Vec<_>>()
    };
    assert_eq!(stakes(0), ["gpt-4.1 2"]);
    assert!(stakes(1).is_empty());
    assert_eq!(stakes(2), ["m0 3"]);
    assert_eq!(stakes(3), ["gpt-4.1 2", "m0 3"], "one name is one setting");
    assert_eq!(kinds(&sweep), [("consensus.stakes", Kind::Text), ("consensus.stakes.gpt-4.1", Kind::Number)]);
    let of_one = column(&sweep, 1);
    assert_eq!(of_one, [Some("2.0".to_owned()), None, None, Some("2.0".to_owned())]);
    // A name that begins like another is no part of it.
    over(&run, "[grid]\n\"consensus.stakes.gpt-4\" = [1.0]\n\"consensus.stakes.gpt-4.1\" = [1.0]\n").expect("valid");
}

#[test]
fn k_shrinks_where_the_real_evaluators_play_and_nobody_says_what_it_is() {
    let of = |text: &str| sweep(text).and_then(|sweep| sweep.among(3, 2)).expect("valid");
    let k = |sweep: &Sweep| -> Vec<usize> {
        (0..sweep.size().cells).map(|cell| sweep.settings(cell).expect("sound").k.bounds().1).collect()
    };
    let pools = of("[grid]\npool = [\"none\", { evaluators = 9 }]\n");
    assert_eq!(k(&pools), [2, 3]);
    assert_eq!(pools.shrunk(), Some(EvaluatorsPerRound::Fixed(2)));
    let said = of("list = [{}, { k = 3 }, { k = { min = 1, max = 3 } }]\n");
    assert_eq!(k(&said), [2, 3, 3]);
    assert_eq!(column(&said, 0)[0].as_deref(), Some("2"), "its column says what is played");
    for text in ["[simulation]\nk = 3\n[grid]\nseed = [1]\n", "[simulation.pool]\nevaluators = 9\n[grid]\nseed = [1]\n"]
    {
        assert_eq!((k(&of(text)), of(text).shrunk()), (vec![3], None));
    }
    assert_ne!(
        pools.fingerprints().expect("sound"),
        sweep("[grid]\npool = [\"none\", { evaluators = 9 }]\n").and_then(|it| it.fingerprints()).expect("sound")
    );
}

#[test]
fn the_log_of_rounds_is_no_part_of_a_sweep() {
    let logged = Simulation { round_log: RoundLog::All, ..Simulation::default() };
    let of = |settings| over(settings, "[grid]\nk = [1]\n").and_then(|sweep| sweep.fingerprints()).expect("sound");
    assert_eq!(of(&logged), of(&Simulation::default()));
    for text in ["[grid]\nround_log = [\"none\", \"all\"]\n", "list = [{ round_log = \"all\" }]\n"] {
        assert!(error(text).contains("`round_log` changes no row"), "{}", error(text));
    }
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
    }
}
