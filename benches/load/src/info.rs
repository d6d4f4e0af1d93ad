//! What a server tells of itself: INFO, asked for and read.

use crate::client::Failure;
use crate::pipeline::{Pipeline, Reply};

/// The text of INFO's `section`.
///
/// # Errors
///
/// A failed connection, or a reply that is no text.
pub fn info(pipeline: &mut Pipeline, section: &str) -> Result<String, Failure> {
    match pipeline.ask(&[b"INFO", section.as_bytes()])? {
        Reply::Bulk(Some(text)) => Ok(String::from_utf8_lossy(text).into_owned()),
        other => Err(other.unexpected()),
    }
}

/// The number in INFO's `section` that is called `name`.
///
/// # Errors
///
/// As [`info`], or if there is no such number.
pub fn number(pipeline: &mut Pipeline, section: &str, name: &str) -> Result<u64, Failure> {
    let text = info(pipeline, section)?;
    field(&text, name)
        .and_then(|value| value.parse().ok())
        .ok_or_else(|| Failure::Unexpected(format!("INFO {section} without {name}")))
}

/// What follows `name` on a line of its own.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim_end)
}

/// The longest turn of each shard in milliseconds, from the text of `INFO shards`; none from a
/// server that has no such section.
///
/// They are the figures after `longest_turn`. The field's name ends in its unit, `_ns`, `_us` or
/// `_ms`, or has none, which means microseconds.
pub fn longest_turns_ms(text: &str) -> Vec<f64> {
    let figures = text.split("longest_turn").skip(1).filter_map(|rest| {
        let (unit, rest) = rest.split_at(rest.find([':', '='])?);
        let end =
            rest[1..].find(|it: char| !it.is_ascii_digit() && it != '.').unwrap_or(rest.len() - 1);
        let figure: f64 = rest[1..=end].parse().ok()?;
        match unit {
            "_ns" => Some(figure / 1e6),
            "_us" | "" => Some(figure / 1e3),
            "_ms" => Some(figure),
            _ => None,
        }
    });
    figures.collect()
}

/// Has the server count anew.
///
/// # Errors
///
/// A failed connection, or a refusal.
pub fn reset(pipeline: &mut Pipeline) -> Result<(), Failure> {
    pipeline.ask(&[b"CONFIG", b"RESETSTAT"])?.ok()
}

/// The longest turn of any shard since the last [`reset`], in milliseconds, where it is told.
///
/// # Errors
///
/// As [`info`].
pub fn longest_turn_ms(pipeline: &mut Pipeline) -> Result<Option<f64>, Failure> {
    Ok(longest_turns_ms(&info(pipeline, "shards")?).into_iter().reduce(f64::max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_turns_are_found_in_any_unit() {
        let text = "# Shards\r\nshard0:keys=1,longest_turn_us=250\r\nlongest_turn_ns:5000000\r\n\
                    shard1:longest_turn_wall_us=9000\r\nlongest_turn_ms=1.5";
        assert_eq!(longest_turns_ms(text), [0.25, 5.0, 1.5]);
        assert!(longest_turns_ms("").is_empty());
    }

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "# Memory\r\nused_memory_rss:9\r\nused_memory:1234\r\nused_memory_human:1K\r\n";
        assert_eq!(field(text, "used_memory"), Some("1234"));
        assert_eq!(field(text, "used_memory_human"), Some("1K"));
        assert_eq!(field(text, "memory"), None);
        assert_eq!(field("", "used_memory"), None);
    }
}
