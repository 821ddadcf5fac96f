//! Values of flags that have a form of their own.

use crate::settings::{EvaluatorsPerRound, Price};
use crate::signals::Dimension;

pub(super) fn positive(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&number| number > 0).ok_or_else(|| "a number of at least 1 is needed".to_owned())
}

pub(super) fn latency(text: &str) -> Result<(String, f64), String> {
    let (node, latency) = text.split_once('=').ok_or("write NODE=MS, e.g. my_model=12.5")?;
    let latency = latency.parse::<f64>().map_err(|error| format!("`{latency}` is not a number of ms: {error}"))?;
    Ok((node.to_owned(), latency))
}

/// `PATH=VALUE`; a value that is no TOML is a text.
pub(super) fn setting(text: &str) -> Result<(String, toml::Value), String> {
    let (path, value) = text.split_once('=').ok_or("expected PATH=VALUE, e.g. consensus.rule=median")?;
    let parsed = toml::from_str::<toml::Table>(&format!("value = {value}")).ok().and_then(|mut t| t.remove("value"));
    Ok((path.trim().to_owned(), parsed.unwrap_or_else(|| toml::Value::String(value.trim().to_owned()))))
}

pub(super) fn price(text: &str) -> Result<Price, String> {
    let number = |text: &str| text.trim().parse::<f64>().map_err(|error| format!("`{text}` is not a price: {error}"));
    match text.split(',').map(number).collect::<Result<Vec<f64>, String>>()?[..] {
        [input, output] => Ok(Price {
            input_usd_per_million: input,
            cached_input_usd_per_million: None,
            output_usd_per_million: output,
        }),
        [input, output, cached] => Ok(Price {
            input_usd_per_million: input,
            cached_input_usd_per_million: Some(cached),
            output_usd_per_million: output,
        }),
        _ => Err("write INPUT,OUTPUT or INPUT,OUTPUT,CACHED, in dollars per million tokens, e.g. 0.15,0.60".to_owned()),
    }
}

pub(super) fn weight(text: &str) -> Result<(Dimension, f64), String> {
    let (name, weight) = text.split_once('=').ok_or("write DIMENSION=WEIGHT, e.g. alignment=0")?;
    let dimension = Dimension::from_name(name).map_err(|error| error.to_string())?;
    let weight = weight.parse::<f64>().map_err(|error| format!("`{weight}` is not a weight: {error}"))?;
    Ok((dimension, weight))
}

pub(super) fn k(text: &str) -> Result<EvaluatorsPerRound, String> {
    use EvaluatorsPerRound::{Fixed, Range};
    let number =
        |text: &str| text.trim().parse::<usize>().map_err(|error| format!("`{text}` is not a number: {error}"));
    match text.split_once("..") {
        Some((min, max)) => Ok(Range { min: number(min)?, max: number(max.trim_start_matches('='))? }),
        None => Ok(Fixed(number(text)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k_is_a_number_or_a_range() {
        use EvaluatorsPerRound::{Fixed, Range};
        assert_eq!(k("3"), Ok(Fixed(3)));
        assert_eq!(k("1..3"), Ok(Range { min: 1, max: 3 }));
        assert_eq!(k("1..=3"), Ok(Range { min: 1, max: 3 }));
        assert!(k("many").is_err_and(|error| error.contains("many")));
    }

    #[test]
    fn weights_name_a_dimension() {
        assert_eq!(weight("alignment=0"), Ok((Dimension::Alignment, 0.0)));
        for (text, part) in [("alignment", "DIMENSION=WEIGHT"), ("fluency=1", "`fluency`"), ("semantic=much", "`much`")]
        {
            assert!(weight(text).is_err_and(|error| error.contains(part)), "{text}");
        }
    }

    #[test]
    fn prices_are_two_numbers_or_three() {
        let three = price("0.15, 0.60,0.075").expect("a price");
        assert_eq!((three.input_usd_per_million, three.output_usd_per_million), (0.15, 0.60));
        assert_eq!(three.cached_input_usd_per_million, Some(0.075));
        assert!(price("1,2").is_ok_and(|price| price.cached_input_usd_per_million.is_none()));
        assert!(price("1").is_err() && price("1,2,3,4").is_err() && price("1,cheap").is_err());
    }

    #[test]
    fn latencies_name_a_node() {
        assert_eq!(latency("a=1.5"), Ok(("a".into(), 1.5)));
        assert!(latency("1.5").is_err() && latency("a=fast").is_err());
    }
}
