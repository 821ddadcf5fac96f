//! Whole reports: the numbers of a small run checked by hand,
//! the JSON shape, and runs that have not come far.

use super::fixtures::{Run, small_run};
use super::*;
use crate::store::samples::failed_answer;
use serde_json::Value;

fn close(actual: Option<f64>, expected: f64) {
    let actual = actual.expect("there is a value");
    assert!((actual - expected).abs() < 1e-9, "{actual} is not {expected}");
}

fn codes(report: &Report) -> Vec<&str> {
    report.warnings.iter().map(|warning| warning.code.as_str()).collect()
}

/// Both renderings of a report, checked for what always holds.
fn rendered(report: &Report) -> (String, String) {
    let (markdown, text) = (to_markdown(report), to_text(report));
    assert!(text.lines().all(|line| line.chars().count() <= 100), "a line is too wide:\n{text}");
    assert!(text.lines().all(|line| line == line.trim_end()), "a line ends in spaces");
    for page in [&markdown, &text] {
        assert!(page.contains("not a reproduction"));
        assert!(!page.contains("NaN") && !page.contains("inf "), "{page}");
        assert!(page.ends_with('\n') && !page.ends_with("\n\n"));
    }
    (markdown, text)
}

#[test]
fn quality_and_cost_follow_from_the_rows() {
    let report = small_run().report();
    let good = &report.quality[0];
    // F1 of twelve tasks: 0 1 2 3 4 0 1 2 3 4 0 1, sum 21, plus 4 each.
    close(good.f1.value, 21.0 / 12.0 + 4.0);
    assert_eq!(good.f1.n, 24);
    close(good.by_task[1].f1.value, 5.75);
    assert!(good.f1.half_width() < good.by_task[0].f1.half_width());
    close(good.exact_match_share, 2.0 / 12.0);
    close(good.latency_ms, 500.0);
    close(good.f1_per_second, 11.5);
    close(good.evaluators[0].score.value, 5.75 * 10.0 / 8.0);
    let slow = &report.quality[1];
    close(slow.mean_output_tokens, 74.0);
    close(slow.length_stop_share, 0.5);
    assert_eq!((slow.answers, slow.failed), (24, 0));
    assert_eq!(report.counts.tasks_by_type[1].datasets, ["summarization_set"]);
}

#[test]
fn a_judge_s_grades_are_a_section_and_a_reference() {
    let mut run = small_run();
    let report = run.report();
    assert!(report.judge.is_none() && report.missing.iter().any(|missing| missing.section == Section::Judge));
    assert!(rendered(&report).0.contains("--backend auto"));

    // It judges half of the answers, as F1 does, and better where there are more words.
    for row in &mut run.generations {
        row.output = Some("word ".repeat(if row.model == "good" { 20 } else { 10 }));
    }
    let graded = run.generations.iter().enumerate().filter(|(index, _)| index % 2 == 0);
    run.judgements = graded
        .map(|(index, row)| {
            let f1 = run
                .scores
                .iter()
                .find(|score| (&score.task_id, &score.model, &*score.scorer) == (&row.task_id, &row.model, "f1"));
            let grade = f1.and_then(|score| score.normalized).filter(|_| index != 2);
            crate::store::samples::judgement(&row.task_id, &row.model, grade)
        })
        .collect();
    let report = run.report();
    let judge = report.judge.as_ref().expect("somebody judged");
    assert_eq!((judge.answers, judge.graded, judge.cost_usd.is_some()), (24, 23, true));
    // Tasks 0, 4, 6, 8 and 10 of `good`, F1 0, 4, 1, 3, 0 plus 4 each; task 2 has no grade.
    close(judge.models[0].by_task[0].score.value, 5.6);
    assert_eq!((judge.models[0].by_task[0].score.n, judge.models[1].by_task[1].score.n), (5, 6));
    let slope = judge.verbosity[0].slope.expect("two lengths");
    assert!(slope.value > 3.0 && slope.ci_low.is_some(), "{slope:?}");
    let at_equal = judge.verbosity[0].slope_at_equal_f1.expect("two lengths");
    assert!(at_equal.value.abs() < 1e-9, "grades are F1: length adds nothing");
    let against: Vec<(&str, &str)> =
        report.correlations.iter().map(|row| (row.evaluator.as_str(), row.reference.as_str())).collect();
    assert_eq!(against[2..], [("follower", "judge"), ("flat", "judge"), ("f1", "judge")]);
    close(report.correlations[4].by_task[0].pearson.value, 1.0);
    let ours = report.paper.correlations.iter().filter_map(|pair| pair.ours.as_ref());
    assert!(ours.filter(|ours| ours.judge.is_some()).count() >= 1);
    let (markdown, text) = rendered(&report);
    for page in [&markdown, &text] {
        assert!(page.contains("The LLM judge") && page.contains("23 of 24"), "{page}");
    }

    // The judge follows F1 perfectly, and is no evaluator for that.
    assert!(markdown.contains("Evaluator with the highest correlation with F1: `follower`"), "{markdown}");

    run.judgements.retain(|row| row.score.is_none());
    assert!(rendered(&run.report()).1.contains("graded 0 of 1"));
}

#[test]
fn correlations_per_task_and_averaged() {
    let report = small_run().report();
    let [follower, flat] = &report.correlations[..] else { panic!("there are two evaluators") };
    close(follower.by_task[0].pearson.value, 1.0);
    close(follower.mean_over_tasks.value, 1.0);
    close(follower.fisher_z_mean, 1.0);
    assert_eq!((follower.by_task[0].pearson.n, follower.mean_over_tasks.n), (24, 48));
    assert!(follower.by_task[0].pearson.ci_low.is_some_and(|low| low > 0.999));
    assert_eq!(flat.by_task[0].pearson.value, None);
    close(flat.by_task[1].pearson.value, -1.0);
    close(flat.by_task[1].spearman, -1.0);
    assert_eq!((flat.mean_over_tasks.value, flat.mean_over_tasks.ci_low, flat.fisher_z_mean), (None, None, None));
    assert_eq!(codes(&report), ["constant_evaluator"]);
    assert!(report.warnings[0].text.starts_with("`flat` gives every `qa` answer the same score"));
}

#[test]
fn the_whole_report_is_rendered() {
    let report = small_run().report();
    let missing: Vec<Section> = report.missing.iter().map(|missing| missing.section).collect();
    assert_eq!(missing, [Section::Judge]);
    let (markdown, text) = rendered(&report);
    for line in [
        "# poq report: small",
        "- **Run**: results/small, started 2026-08-01T10:00:00Z, seed 42",
        "- **Tasks**: 12 qa (qa_set), 12 summarization (summarization_set)",
        "- **Failed rows**: 0 of 48 generations, 0 of 192 scores",
        "- Best paid LLM: `good`, 0.600 ± 0.004 per job.",
        "| inference | good | 0.600 ± 0.004 | 0.250 | 0.599 | 0.5 | 500.0 | 0.000 | 50,123 |",
        "| flat | qa | – | – | – | – | – | 24 |",
        "| flat | yes | 48 of 48 | – | 20.8 % | – | – | unclear |",
        "| follower | mean of tasks | 1.00 | 1.00 to 1.00 | 1.00 | – | – | 48 |",
        "| good | 500.0 | 11.50 | 287.5 | yes | 20.0 | 0.0 % | 24 | 0 |",
        "| slow | 1500.0 | 1.17 | 23.6 | no | 74.0 | 50.0 % | 24 | 0 |",
        "| sts_stsb | 0.856 | 0.9 | 0.000 | follower | 0.850 | 500.0 | 0.000 |",
        "| llama_3_2_3b | 0.623 | 1077.7 | 0.000 | good | 0.600 | 500.0 | 0.000 |",
        "| phi3_mini_4k | 0.126 | 2409.3 | 1.000 | – | – | – | – |",
        "| sts_stsb | 0.66 | 0.29 | follower | 1.00 |",
    ] {
        assert!(markdown.lines().any(|found| found == line), "`{line}` is not in:\n{markdown}");
    }
    let quality = markdown.lines().find(|line| line.starts_with("| good | 5.75 ±")).expect("the row is there");
    assert!(quality.ends_with("| 16.7 % of 12 |"), "{quality}");
    assert!(text.starts_with("poq report: small\n=================\n"));
    assert!(text.contains("inference   good       0.600 ± 0.004"), "{text}");
    assert!(markdown.contains("different models, data and hardware"));
}

#[test]
fn the_json_shape_is_kept_and_comes_back() {
    let report = small_run().report();
    let json = serde_json::to_string(&report).expect("a report can be written");
    assert_eq!(serde_json::from_str::<Report>(&json).expect("and read"), report);
    let value: Value = serde_json::from_str(&json).expect("it is JSON");
    let keys = |value: &Value| -> Vec<String> { value.as_object().expect("it is an object").keys().cloned().collect() };
    let sorted = |mut names: Vec<&str>| -> Vec<String> {
        names.sort_unstable();
        names.into_iter().map(Into::into).collect()
    };
    let check = |value: &Value, names: Vec<&str>| assert_eq!(keys(value), sorted(names));
    check(
        &value,
        vec![
            "report_version",
            "identity",
            "counts",
            "simulation",
            "rewards",
            "correlations",
            "evaluator_agreement",
            "evaluator_audit",
            "quality",
            "judge",
            "paper",
            "warnings",
            "missing",
        ],
    );
    check(&value["identity"], vec!["name", "directory", "poq_version", "started", "machine", "runtime", "seed"]);
    check(&value["counts"], vec!["tasks", "tasks_by_type", "answers", "tables"]);
    check(&value["counts"]["tables"][0], vec!["table", "rows", "failed"]);
    let parts = ["mean_over_tasks", "fisher_z_mean", "mean_at_equal_length", "pooled", "sign"];
    check(&value["correlations"][0], [&["evaluator", "reference", "by_task"][..], &parts].concat());
    let of_task = vec!["task_type", "pearson", "spearman", "kendall", "at_equal_length"];
    check(&value["correlations"][0]["by_task"][0], of_task.clone());
    check(&value["correlations"][0]["pooled"], of_task);
    check(&value["evaluator_agreement"], vec!["pairs", "alpha"]);
    check(&value["evaluator_agreement"]["alpha"][0], vec!["task_type", "alpha"]);
    let audit = ["paid", "answers", "scored", "truncated_share", "distinct_share", "sign", "f1", "f1_at_equal_length"];
    check(&value["evaluator_audit"][0], [&["evaluator"][..], &audit].concat());
    check(&value["correlations"][0]["mean_over_tasks"], vec!["value", "ci_low", "ci_high", "n"]);
    check(
        &value["quality"][0],
        vec![
            "model",
            "f1",
            "by_task",
            "exact_match_share",
            "exact_match_n",
            "evaluators",
            "latency_ms",
            "latency_source",
            "f1_per_second",
            "f1_per_1000_tokens",
            "on_frontier",
            "mean_output_tokens",
            "length_stop_share",
            "answers",
            "failed",
        ],
    );
    check(&value["paper"], vec!["source", "caution", "differences", "rewards", "correlations"]);
    check(&value["paper"]["rewards"][0], vec!["node_type", "paired_by", "paper", "ours"]);
    check(&value["paper"]["correlations"][0]["paper"], vec!["evaluator", "f1", "judge"]);
    check(&value["warnings"][0], vec!["code", "text"]);
    assert_eq!(value["paper"]["rewards"][0]["paired_by"], "rank");
    assert_eq!(value["rewards"][0]["avg_reward"], 0.6);
    assert_eq!(value["correlations"][1]["fisher_z_mean"], Value::Null);
}

#[test]
fn nodes_of_the_paper_pool_meet_their_own_values() {
    let mut run = small_run();
    run.rewards[0].node = "phi3_mini_4k".into();
    let report = run.report();
    let pair = |node: &str| {
        let of_node = |side: &Option<Payment>| side.as_ref().is_some_and(|side| side.node == node);
        let found = report.paper.rewards.iter().find(|pair| of_node(&pair.paper) || of_node(&pair.ours));
        found.expect("the node is there").clone()
    };
    let phi = pair("phi3_mini_4k");
    assert_eq!(phi.paired_by, Pairing::Node);
    assert_eq!(phi.ours.and_then(|ours| ours.avg_reward), Some(0.6));
    assert_eq!((pair("slow").paper, pair("llama_3_2_3b").ours), (None, None));
    assert_eq!(pair("follower").paired_by, Pairing::Rank);
    let (markdown, _) = rendered(&report);
    assert!(markdown.contains("checkpoints behind the same key may differ"));
    assert!(!markdown.contains("this run has other nodes"));
}

#[test]
fn a_run_that_has_not_started_says_what_to_do() {
    let run =
        Run { tasks: vec![], generations: vec![], scores: vec![], profile: vec![], rewards: vec![], ..small_run() };
    let report = run.report();
    let (markdown, text) = rendered(&report);
    for command in [
        "`poq tasks results/small`",
        "`poq generate results/small`",
        "`poq score results/small`",
        "`poq profile results/small`, then `poq simulate results/small`",
    ] {
        assert!(markdown.contains(command), "{command} is not in:\n{markdown}");
    }
    let command = &report.missing.last().expect("rewards are missing").command;
    let stages =
        ["tasks", "generate", "score", "profile", "simulate"].map(|stage| format!("poq {stage} results/small"));
    assert_eq!(*command, stages.join(" && "));
    assert!(text.contains("Nobody has been paid yet") && text.contains("This run has none yet."));
    assert_eq!(codes(&report), [] as [&str; 0]);
}

#[test]
fn a_run_without_evaluators_or_simulation_still_has_quality() {
    let mut run = small_run();
    run.scores.retain(|row| row.scorer == "f1" || row.scorer == "exact_match");
    run.rewards.clear();
    run.settings.scoring.evaluators.clear();
    let report = run.report();
    let (markdown, _) = rendered(&report);
    assert!(markdown.contains("The experiment names no evaluators"));
    assert!(markdown.contains("`poq score results/small`, then `poq simulate results/small`"));
    assert!(markdown.contains("| good | 5.75 ±"));
    assert!(!markdown.contains("Mean normalised score per evaluator"));
}

#[test]
fn a_run_of_failures_renders_without_numbers() {
    let mut run = small_run();
    run.generations = run.generations.iter().map(|row| failed_answer(&row.task_id, &row.model)).collect();
    for row in &mut run.scores {
        (row.raw, row.normalized, row.error) = (None, None, Some("no answer".into()));
    }
    let report = run.report();
    let (markdown, _) = rendered(&report);
    assert!(markdown.contains("48 of 48 generations, 192 of 192 scores"));
    assert!(markdown.contains("Every answer failed"));
    assert!(markdown.contains("| good | 500.0 | – | – | – | – | – | 0 | 24 |"), "{markdown}");
    assert_eq!(codes(&report), ["failed_answers", "failed_answers"]);
}

#[test]
fn one_task_type_and_one_node_are_pointed_out() {
    let mut run = small_run();
    run.tasks.truncate(12);
    run.generations.retain(|row| row.model == "good" && row.task_id.starts_with("qa"));
    run.scores.retain(|row| row.model == "good" && row.task_id.starts_with("qa") && row.scorer != "flat");
    run.profile.retain(|row| row.node != "slow" && row.node != "flat");
    run.rewards.retain(|row| row.node != "slow" && row.node != "flat");
    run.profile[0].source = "given".into();
    run.rewards[0].z = Some(-7.0);
    run.scores.pop();
    let report = run.report();
    let (markdown, _) = rendered(&report);
    assert!(markdown.contains("Averages over tasks are those of `qa` alone"));
    assert!(!markdown.contains("F1 over tasks") && !markdown.contains("mean of tasks |"));
    close(report.correlations[0].mean_over_tasks.value, 1.0);
    let expected = [
        "missing_answers",
        "missing_scores",
        "missing_scores",
        "one_node_pool",
        "one_node_pool",
        "latency_not_measured",
        "simulation_off",
    ];
    assert_eq!(codes(&report), expected);
}

#[test]
fn only_paid_evaluators_are_drawn() {
    let mut run = small_run();
    run.settings.scoring.evaluators.retain(|key| key != "flat");
    run.settings.scoring.unpaid_evaluators.push("flat".into());
    let lost = |row: &ScoreRow| row.task_id == "qa_3" && row.model == "slow" && row.scorer != "f1";
    run.scores.retain(|row| !lost(row));
    let warnings = run.report().warnings;
    let of = |evaluator: &str| {
        let text = format!("`{evaluator}` has no score for 1 of 48 answers");
        &warnings.iter().find(|warning| warning.text.starts_with(&text)).expect("is warned of").text
    };
    assert!(of("follower").ends_with("; rounds that draw it for one of them go on without it."));
    assert!(of("flat").ends_with(" answers."));
}

#[test]
fn long_node_keys_and_many_of_them_stay_within_the_width() {
    let mut run = small_run();
    let long = |name: &str| format!("{name}_with_a_very_long_node_key");
    run.generations.iter_mut().for_each(|row| row.model = long(&row.model));
    run.scores.iter_mut().for_each(|row| row.model = long(&row.model));
    run.rewards.iter_mut().for_each(|row| row.node = long(&row.node));
    for copy in 0..6 {
        let own = run.scores.iter().filter(|row| row.scorer == "follower").cloned();
        let copies: Vec<_> = own.map(|row| ScoreRow { scorer: format!("evaluator_number_{copy}"), ..row }).collect();
        run.scores.extend(copies);
    }
    let report = run.report();
    let (_, text) = rendered(&report);
    assert!(text.contains("evaluator_number_5   Fisher's z"), "{text}");
    assert_eq!(codes(&report)[..2], ["missing_answers", "missing_answers"]);
    assert!(report.warnings[0].text.contains("`good` is in the experiment but has no finished table of answers"));
}

#[test]
fn a_contradiction_is_an_error() {
    let mut run = small_run();
    run.generations.push(run.generations[0].clone());
    let inputs = Inputs {
        identity: &run.identity,
        settings: &run.settings,
        tasks: &run.tasks,
        generations: &run.generations,
        scores: &run.scores,
        judgements: &run.judgements,
        judge_checks: &[],
        profile: &run.profile,
        rewards: &run.rewards,
    };
    assert!(inputs.join().expect_err("an answer is there twice").to_string().contains("twice"));
}
