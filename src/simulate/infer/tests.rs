//! Table 4 against figures that were computed outside poq, and made-up tables whose coefficients are known.

use super::*;
use crate::settings::EvaluatorsPerRound;
use crate::simulate::{consensus, reward};
use crate::store::rows::RewardRow;
use proptest::prelude::*;

fn paper() -> Inferred {
    infer(&RewardTable::of_paper()).expect("Table 4 pays")
}

fn assert_near(value: f64, expected: f64, tolerance: f64) {
    assert!((value - expected).abs() <= tolerance, "{value} is not {expected}");
}

fn at(extent: &Extent, alpha: f64) -> Option<Range> {
    let row = extent.beta_at_alpha.iter().find(|row| (row.alpha - alpha).abs() < 1e-12);
    row.expect("an alpha of the list").beta
}

fn implied(rows: &[Implied], beta: f64) -> &Implied {
    rows.iter().find(|row| (row.beta - beta).abs() < 1e-12).expect("a beta of the list")
}

#[test]
fn table_4_implies_these_qualities() {
    let side = paper().inference.expect("five nodes");
    assert_eq!(side.nodes, ["gemma_2_2b_it", "llama_3_2_3b", "phi3_mini_4k", "qwen2_1_5b", "tinyllama_1_1b"]);
    for (beta, expected) in [
        (0.2, [0.603, 0.623, 0.326, 0.344, 0.485]),
        (0.3, [0.605, 0.623, 0.426, 0.437, 0.514]),
        (0.4, [0.607, 0.623, 0.526, 0.530, 0.544]),
        (0.5, [0.609, 0.623, 0.626, 0.624, 0.574]),
    ] {
        let row = implied(&side.implied_quality, beta);
        for (quality, expected) in row.values.iter().zip(expected) {
            assert_near(*quality, expected, 0.001); // printed with three decimals, some of them cut
        }
        assert!(row.consistent);
        assert_near(row.values[1] - row.values[2], 0.497 - beta, 1e-9);
    }
    // At beta = 1 the slowest node would need a quality of 1.126.
    assert!(!implied(&side.implied_quality, 1.0).consistent);
}

#[test]
fn the_inference_rewards_of_table_4_bound_alpha_from_below_alone() {
    let region = paper().inference.expect("five nodes").region;
    let alpha = region.exact.alpha.expect("something fits");
    assert_near(alpha.low, 0.623, 1e-6);
    assert_eq!(alpha.high, None);
    // At alpha = 1 the slowest node sets the end: beta <= 1 - 0.126.
    let beta = at(&region.exact, 1.0).expect("something fits");
    assert_near(beta.low, 0.0, 1e-9);
    assert_near(beta.high.expect("bounded"), 0.874, 1e-6);
    let rounded = region.with_rounding.expect("Table 4 is rounded");
    assert_near(rounded.alpha.expect("something fits").low, 0.6225, 1e-6);
    assert_near(at(&rounded, 1.0).and_then(|beta| beta.high).expect("bounded"), 0.8745, 1e-6);
}

#[test]
fn the_ranking_by_quality_changes_first_at_0_42() {
    let side = paper().inference.expect("five nodes");
    let first = &side.crossings[0];
    assert_near(first.beta, 0.269 / 0.638, 1e-9);
    assert_eq!((first.cheaper.as_str(), first.dearer.as_str()), ("tinyllama_1_1b", "qwen2_1_5b"));
    let range = first.with_rounding.expect("Table 4 is rounded");
    assert!(range.low < first.beta && range.high.is_some_and(|high| high > first.beta && high < 0.43), "{range:?}");
    assert_eq!(side.crossings.len(), 10, "every dearer node of Table 4 earns less");
    assert!(side.crossings.windows(2).all(|pair| pair[0].beta <= pair[1].beta));
    let phi =
        side.crossings.iter().find(|crossing| crossing.cheaper == "llama_3_2_3b" && crossing.dearer == "phi3_mini_4k");
    assert_near(phi.expect("a pair").beta, 0.497, 1e-9);
}

#[test]
fn cost_alone_explains_the_inference_rewards() {
    let line = paper().inference.and_then(|side| side.regression).expect("five nodes");
    assert_near(line.intercept, 0.604, 5e-4);
    assert_near(line.slope, -0.484, 5e-4);
    assert_near(line.r_squared, 0.992, 5e-4);
}

#[test]
fn the_evaluator_rewards_of_table_4_leave_a_polygon() {
    let side = paper().evaluators.expect("three nodes");
    assert!(side.everybody_judges);
    assert_eq!(side.evaluators_per_round, 3);
    // From a scan of a grid of 0.001: lower ends are rounded up and upper ends down.
    for (alpha, low, high) in [
        (0.87, 0.278, 0.306),
        (0.9, 0.248, 0.336),
        (0.95, 0.198, 0.386),
        (1.0, 0.148, 0.437),
        (1.1, 0.047, 0.537),
        (1.2, 0.0, 0.638),
    ] {
        let beta = at(&side.region.exact, alpha).expect("something fits");
        assert_near(beta.low, low, 1.1e-3);
        assert_near(beta.high.expect("bounded"), high, 1.1e-3);
        let rounded =
            at(side.region.with_rounding.as_ref().expect("Table 4 is rounded"), alpha).expect("something fits");
        assert!(rounded.low <= beta.low && rounded.high >= beta.high, "rounding only relaxes: {rounded:?}");
        assert_near(rounded.high.expect("bounded"), high, 0.01);
    }
    // By hand: at the least alpha, sts_stsb agrees with the mean in every round.
    let least = side.region.exact.alpha.expect("something fits");
    assert_near(least.low, 0.856, 1e-6);
    assert!(least.high.is_some(), "a deviation below 1 bounds alpha from above");
    let corner = side.region.exact.corners.iter().min_by(|a, b| a.alpha.total_cmp(&b.alpha)).expect("a polygon");
    assert_near(corner.beta, 0.29 / 0.993, 1e-6);
    let deviations = &implied(&side.implied_deviation, 0.3);
    for (deviation, expected) in deviations.values.iter().zip([0.166 - 0.0021, 0.456 - 0.3, 0.144]) {
        assert_near(*deviation, expected, 1e-9);
    }
    assert!(deviations.consistent);
    assert!(!implied(&side.implied_deviation, 0.5).consistent, "(1, 0.5) would need a negative deviation");
}

#[test]
fn coefficients_shared_by_both_sides_are_those_of_the_evaluators_at_alpha_one() {
    let inferred = paper();
    let shared = inferred.shared.expect("both sides");
    let beta = at(&shared.exact, 1.0).expect("something fits");
    assert_near(beta.low, 0.147, 5e-4);
    assert_near(beta.high.expect("bounded"), 0.437, 5e-4);
    assert_near(shared.exact.alpha.expect("something fits").low, 0.856, 1e-6);
    let rounded = at(shared.with_rounding.as_ref().expect("Table 4 is rounded"), 1.0).expect("something fits");
    assert!(rounded.low < 0.147 && rounded.high > Some(0.437));
}

#[test]
fn what_the_paper_leaves_out_is_said() {
    let inferred = paper();
    let text = inferred.not_reproducible.join("\n");
    for part in
        ["neither α_F", "K between 1 and 3", "5000 jobs", "not published", "6.64", "p = 0.16", "ce_minilm", "99.2 %"]
    {
        assert!(text.contains(part), "`{part}` is missing:\n{text}");
    }
    assert_eq!((inferred.notes.len(), inferred.true_coefficients), (0, None));
}

#[test]
fn the_json_form_reads_back() {
    let inferred = paper();
    let json = serde_json::to_string(&inferred).expect("serialises");
    assert_eq!(serde_json::from_str::<Inferred>(&json).expect("reads"), inferred);
}

fn row(node_type: &str, node: &str, avg_reward: Option<f64>, cost_norm: f64, jobs: i64) -> RewardRow {
    RewardRow { jobs, ..crate::store::samples::reward(node_type, node, avg_reward, cost_norm) }
}

fn of_rows(rows: &[RewardRow], simulation: &Simulation) -> Result<Inferred> {
    RewardTable::of_rewards("test", rows, simulation).and_then(|table| infer(&table))
}

#[test]
fn two_evaluators_identify_beta() {
    // Both deviate alike in every round, so the difference of their rewards is beta times that of their costs.
    let simulation = Simulation { k: EvaluatorsPerRound::Fixed(2), ..Simulation::default() };
    let rows = [
        row("inference", "f", Some(0.4), 0.0, 10),
        row("evaluator", "m0", Some(0.9), 0.0, 10),
        row("evaluator", "m1", Some(0.6), 1.0, 10),
    ];
    let inferred = of_rows(&rows, &simulation).expect("sound");
    let side = inferred.evaluators.expect("two nodes");
    let beta = at(&side.region.exact, 1.0).expect("something fits");
    assert_near(beta.low, 0.3, 1e-6);
    assert_near(beta.high.expect("bounded"), 0.3, 1e-6);
    assert_eq!(inferred.true_coefficients.and_then(|own| own.evaluators_inside), Some(true));
    assert!(inferred.notes.iter().any(|note| note.contains("one inference node")), "{:?}", inferred.notes);
}

#[test]
fn equal_costs_leave_beta_unknown_and_say_so() {
    let rows = [
        row("inference", "f0", Some(0.4), 0.0, 10),
        row("inference", "f1", Some(0.5), 0.0, 10),
        row("evaluator", "m0", Some(0.8), 0.0, 9),
        row("evaluator", "m1", Some(0.9), 0.0, 8),
    ];
    let inferred = of_rows(&rows, &Simulation { k: EvaluatorsPerRound::Fixed(1), ..Simulation::default() });
    let inferred = inferred.expect("sound");
    let notes = inferred.notes.join("\n");
    assert!(
        notes.contains("inference nodes cost the same") && notes.contains("β_F: it cannot be identified"),
        "{notes}"
    );
    assert!(notes.contains("evaluators cost the same") && notes.contains("No α_M and β_M fit"), "{notes}");
    let side = inferred.inference.expect("two nodes");
    assert!(!side.tells_beta && side.crossings.is_empty() && side.regression.is_none());
    assert_near(side.region.exact.alpha.expect("something fits").low, 0.5, 1e-6);
    assert_eq!(at(&side.region.exact, 1.0), Some(Range { low: 0.0, high: None }));
}

#[test]
fn nodes_without_jobs_are_left_out_and_noted() {
    let rows = [row("inference", "f0", None, 0.3, 0), row("evaluator", "m0", Some(1.0), 0.0, 5)];
    let inferred = of_rows(&rows, &Simulation::default()).expect("sound");
    assert!(inferred.inference.is_none() && inferred.shared.is_none() && inferred.jobs.is_none());
    let notes = inferred.notes.join("\n");
    assert!(notes.contains("`f0` never had a job") && notes.contains("No inference node has a mean reward"), "{notes}");
    let nobody = of_rows(&[row("inference", "f0", None, 0.3, 0)], &Simulation::default());
    assert!(nobody.is_err_and(|error| error.to_string().contains("no node of the rewards of run `test`")));
}

/// A run whose profile is the latencies 1, 2 and 3 ms of either side, the last of which never had a job.
fn with_idle_nodes(simulation: &Simulation) -> Inferred {
    let timed = |node_type: &str, node: &str, reward: Option<f64>, cost: f64, latency: f64| RewardRow {
        avg_latency_ms: Some(latency),
        ..row(node_type, node, reward, cost, if reward.is_some() { 10 } else { 0 })
    };
    let rows: Vec<RewardRow> = ["inference", "evaluator"]
        .into_iter()
        .flat_map(|side| {
            let node =
                |i: u32, reward| timed(side, &format!("{side}{i}"), reward, f64::from(i) / 2.0, f64::from(i) + 1.0);
            [node(0, Some(0.6)), node(1, Some(0.5)), node(2, None)]
        })
        .collect();
    of_rows(&rows, simulation).expect("sound")
}

#[test]
fn sound_costs_are_never_called_inconsistent() {
    let verdicts = |inferred: &Inferred| inferred.costs.iter().map(|check| check.verdict).collect::<Vec<_>>();
    let plain = with_idle_nodes(&Simulation::default());
    assert_eq!(verdicts(&plain), [Verdict::Exact; 4]);
    assert_eq!(plain.jobs.expect("three nodes").degrees, 2, "the idle node could have been drawn");
    let mut scaled = Simulation::default();
    scaled.costs.scale = crate::settings::mechanism::CostScale::Max;
    let mut hardware = Simulation::default();
    hardware.costs.hardware.insert("inference0".into(), 2.0);
    let mut money = Simulation::default();
    money.costs.basis = crate::settings::mechanism::CostBasis::Money;
    for simulation in [scaled, hardware, money] {
        let inferred = with_idle_nodes(&simulation);
        assert_eq!(verdicts(&inferred), [Verdict::NotMinMax; 4]);
        assert!(inferred.notes.iter().any(|note| note.contains("`simulation.costs`")), "{:?}", inferred.notes);
        assert!(inferred.costs.iter().all(|check| check.from_latencies.is_none() && check.possible.is_none()));
    }
    let pool = Some(crate::settings::mechanism::Pool::default());
    let pooled = with_idle_nodes(&Simulation { pool, ..Simulation::default() });
    assert_eq!(verdicts(&pooled), [Verdict::Exact, Verdict::Exact, Verdict::NotMinMax, Verdict::NotMinMax]);
    assert!(pooled.notes.iter().any(|note| note.contains("Synthetic evaluators")), "{:?}", pooled.notes);
}

#[test]
fn rows_that_cannot_be_are_named() {
    for (row, part) in [
        (row("inference", "odd", Some(f64::NAN), 0.0, 1), "`avg_reward`"),
        (row("inference", "odd", Some(0.1), -0.5, 1), "`cost_norm`"),
        (row("evaluator", "odd", Some(0.1), 0.5, -1), "`jobs`"),
        (row("judge", "odd", Some(0.1), 0.5, 1), "`node_type`"),
    ] {
        let error = of_rows(&[row], &Simulation::default()).expect_err("refused");
        let error = format!("{error:#}");
        assert!(error.contains("node `odd`") && error.contains(part), "{error}");
    }
}

/// What a made-up network was paid: rewards by Equations 2 and 5 from random qualities and rounds of random scores.
#[derive(Debug)]
struct MadeUp {
    inference: Coefficients,
    evaluators: Coefficients,
    table: RewardTable,
}

/// Rounds that each draw `k` evaluators with random scores.
fn made_up() -> impl Strategy<Value = MadeUp> {
    let coefficients = || (0.1..3.0f64, 0.0..2.0f64).prop_map(|(alpha, beta)| Coefficients { alpha, beta });
    let nodes = || prop::collection::vec((0.0..=1.0f64, 0.5..9.0f64), 2..6);
    (coefficients(), coefficients(), nodes(), nodes(), 1..6_usize, any::<u64>()).prop_map(
        |(inference, evaluators, models, judges, k, seed)| {
            let k = k.min(judges.len());
            let mut stream = crate::simulate::rng::Stream::new(seed, 0);
            let mut deviations = vec![(0.0, 0_u64); judges.len()];
            let rounds = 40_u64;
            for round in 0..rounds {
                let first = if k == judges.len() { 0 } else { round as usize };
                let drawn: Vec<usize> = (0..k).map(|i| (first + i) % judges.len()).collect();
                let scores: Vec<f64> = drawn.iter().map(|_| stream.below(10_001) as f64 / 1000.0).collect();
                let mean = scores.iter().sum::<f64>() / scores.len() as f64;
                for (judge, score) in drawn.into_iter().zip(scores) {
                    deviations[judge].0 += consensus::deviation(score, mean);
                    deviations[judge].1 += 1;
                }
            }
            let costs = |nodes: &[(f64, f64)]| {
                let latencies: Vec<f64> = nodes.iter().map(|node| node.1).collect();
                crate::profile::cost::min_max(&latencies).values
            };
            let node = |name: &str, i: usize, reward, cost, latency, jobs| PaidNode {
                node: format!("{name}{i}"),
                reward,
                cost,
                latency_ms: Some(latency),
                jobs,
            };
            let paid_models = models.iter().zip(costs(&models)).enumerate().map(|(i, (&(quality, latency), cost))| {
                let reward = reward::inference(inference.alpha, inference.beta, quality, cost);
                // All rounds go to the first node: jobs count, and how they spread does not matter.
                node("f", i, reward, cost, latency, if i == 0 { rounds } else { 0 })
            });
            let paid_judges = judges.iter().zip(costs(&judges)).enumerate().filter(|&(i, _)| deviations[i].1 > 0);
            let paid_judges = paid_judges.map(|(i, (&(_, latency), cost))| {
                let (sum, jobs) = deviations[i];
                let closeness = reward::closeness(sum / jobs as f64);
                node("m", i, reward::evaluator(evaluators.alpha, evaluators.beta, closeness, cost), cost, latency, jobs)
            });
            let table = RewardTable {
                source: "a made-up table".into(),
                published: false,
                inference: paid_models.collect(),
                evaluators: paid_judges.collect(),
                idle: Idle::default(),
                decimals: None,
                most_evaluators: k,
                simulated_with: Some(Simulation {
                    alpha_f: inference.alpha,
                    beta_f: inference.beta,
                    alpha_m: evaluators.alpha,
                    beta_m: evaluators.beta,
                    ..Simulation::default()
                }),
                notes: Vec::new(),
            };
            MadeUp { inference, evaluators, table }
        },
    )
}

/// The table as print would have it.
fn printed(table: &RewardTable, decimals: Decimals) -> RewardTable {
    let round = |value: f64, decimals: u32| {
        let unit = 10_f64.powf(f64::from(decimals));
        (value * unit).round() / unit
    };
    let mut table = RewardTable { decimals: Some(decimals), ..table.clone() };
    for node in table.inference.iter_mut().chain(&mut table.evaluators) {
        node.reward = round(node.reward, decimals.reward);
        node.cost = round(node.cost, decimals.cost);
        node.latency_ms = node.latency_ms.map(|latency| round(latency, decimals.latency));
    }
    table
}

proptest! {
    #[test]
    fn the_true_coefficients_are_always_in_the_region(made in made_up()) {
        let everybody = made.table.evaluators.len() == made.table.most_evaluators;
        let inferred = infer(&made.table).expect("everybody is paid");
        let own = inferred.true_coefficients.expect("a simulation");
        prop_assert_eq!((own.inference_inside, own.evaluators_inside), (Some(true), Some(true)));
        let side = inferred.evaluators.expect("two nodes at least");
        prop_assert_eq!(side.everybody_judges, everybody);
        // The polygon says the same as its constraints.
        for (extent, own) in [(&inferred.inference.expect("two nodes").region.exact, made.inference), (&side.region.exact, made.evaluators)] {
            let (alpha, beta) = (extent.alpha.expect("not empty"), at(extent, own.alpha).expect("not empty"));
            prop_assert!(alpha.low <= own.alpha + 1e-6 && alpha.high.is_none_or(|high| own.alpha <= high + 1e-6));
            prop_assert!(beta.low <= own.beta + 1e-6 && beta.high.is_none_or(|high| own.beta <= high + 1e-6));
        }
    }

    #[test]
    fn rounding_a_table_never_loses_its_coefficients(made in made_up(), reward in 2..5_u32, cost in 2..5_u32, latency in 0..3_u32) {
        let printed = printed(&made.table, Decimals { reward, cost, latency });
        let inferred = infer(&printed).expect("everybody is paid");
        for check in &inferred.costs {
            prop_assert!(check.verdict != Verdict::Inconsistent, "{check:?}");
        }
        let sides = [
            (inferred.inference.expect("two nodes").region, made.inference),
            (inferred.evaluators.expect("two nodes at least").region, made.evaluators),
        ];
        for (region, own) in sides {
            let rounded = region.with_rounding.expect("a printed table");
            let beta = at(&rounded, own.alpha).expect("not empty");
            prop_assert!(beta.low <= own.beta + 1e-6, "{own:?} is below {beta:?}");
            prop_assert!(beta.high.is_none_or(|high| own.beta <= high + 1e-6), "{own:?} is above {beta:?}");
        }
    }
}
