//! Paths of settings below `[simulation]`, as `--set` and sweeps write them: `consensus.rule`, `costs.hardware.node_a`.

use anyhow::{Context, Result, bail};

/// What takes away a setting that may be absent (`pool`, `congestion`, `consensus.trust`, `quality`).
pub const NONE: &str = "none";

/// Settings that are tables by the name of a node or of a task type, which may hold dots of their own.
pub const MAPS: [&str; 6] = [
    "consensus.stakes",
    "rewards.task_weights",
    "costs.hardware",
    "costs.price_per_hour",
    "costs.power_watts",
    "costs.bytes_per_answer",
];

/// The keys that a dotted path goes through. What follows one of [`MAPS`] is one key, dots and all.
#[must_use]
pub fn segments(path: &str) -> Vec<&str> {
    let below = |map: &&str| path.strip_prefix(*map).and_then(|rest| rest.strip_prefix('.'));
    match MAPS.iter().find_map(|map| Some((*map, below(map)?))) {
        Some((map, key)) => map.split('.').chain([key]).collect(),
        None => path.split('.').collect(),
    }
}

/// Puts a value at a path, making the tables on the way; takes the path away for [`NONE`], where that is no value.
pub(super) fn set(table: &mut toml::Table, path: &[&str], value: toml::Value) -> Result<()> {
    match path {
        [] | [""] => bail!("a setting has a name, e.g. `consensus.rule`"),
        [last] => {
            let optional = ["pool", "congestion", "trust", "quality"].contains(last);
            if optional && value.as_str() == Some(NONE) {
                table.remove(*last);
            } else {
                table.insert((*last).to_owned(), value);
            }
            Ok(())
        }
        [first, rest @ ..] => {
            let inner = table.entry(*first).or_insert_with(|| toml::Value::Table(toml::Table::new()));
            let inner = inner.as_table_mut().with_context(|| {
                format!("`simulation.{first}` holds a value, so there is no `{}` in it", rest.join("."))
            })?;
            set(inner, rest, value)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_nodes_may_hold_dots() {
        assert_eq!(segments("costs.hardware.gpt-4.1"), ["costs", "hardware", "gpt-4.1"]);
        assert_eq!(segments("costs.hardware"), ["costs", "hardware"]);
        assert_eq!(segments("consensus.trust.min"), ["consensus", "trust", "min"]);
        let mut table = toml::Table::new();
        set(&mut table, &segments("consensus.stakes.gpt-4.1"), 2.into()).expect("set");
        assert_eq!(table.to_string().trim(), "[consensus.stakes]\n\"gpt-4.1\" = 2");
    }
}
