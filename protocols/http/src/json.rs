//! The same families as JSON, for the page: a sample is its labels' values and its number, or for a
//! histogram its sum and the buckets that are not empty, each with the largest value that belongs
//! there. Times are in nanoseconds.
//!
//! ```text
//! { "now_ms": 1700000000000, "families": [
//!   { "name": "..", "help": "..", "kind": "counter", "labels": ["shard"],
//!     "samples": [ [["0"], 17], [["1"], 4] ] },
//!   { .., "kind": "durations", "samples": [ [["0"], {"sum": 900, "buckets": [[511, 1], ..]}] ] }
//! ] }
//! ```

use std::fmt::Write;

use kevy_rt::{Distribution, Family, Kind, Label, Sample, Scrape};

/// Writes all families.
pub(crate) fn write(scrape: &Scrape, now_ms: u64) -> String {
    let mut text = String::with_capacity(32 * 1024);
    // A string takes whatever is written to it.
    let _ = write!(text, "{{\"now_ms\":{now_ms},\"families\":[");
    list(&mut text, scrape.families(), write_family);
    text.push_str("]}\n");
    text
}

/// Writes items with commas between them.
fn list<T>(
    text: &mut String,
    items: impl IntoIterator<Item = T>,
    mut write: impl FnMut(&mut String, T),
) {
    for (place, item) in items.into_iter().enumerate() {
        if place > 0 {
            text.push(',');
        }
        write(text, item);
    }
}

fn write_family(text: &mut String, family: &Family) {
    let kind = match family.kind() {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
        Kind::Durations => "durations",
    };
    text.push_str("{\"name\":");
    quote(text, family.name());
    text.push_str(",\"help\":");
    quote(text, family.help());
    let _ = write!(text, ",\"kind\":\"{kind}\",\"labels\":[");
    list(text, family.labels(), |text, label| quote(text, label));
    text.push_str("],\"samples\":[");
    list(text, family.samples(), |text, (labels, sample)| {
        text.push_str("[[");
        list(text, labels, write_label);
        text.push_str("],");
        write_sample(text, sample);
        text.push(']');
    });
    text.push_str("]}");
}

fn write_label(text: &mut String, label: &Label) {
    match label {
        Label::Number(number) => {
            let _ = write!(text, "\"{number}\"");
        }
        Label::Fixed(value) => quote(text, value),
        Label::Text(value) => quote(text, value),
    }
}

fn write_sample(text: &mut String, sample: &Sample) {
    let _ = match sample {
        Sample::Whole(number) => write!(text, "{number}"),
        Sample::Real(number) if number.is_finite() => write!(text, "{number}"),
        Sample::Real(_) => write!(text, "null"),
        Sample::Distribution(distribution) => {
            write_distribution(text, distribution);
            Ok(())
        }
    };
}

fn write_distribution(text: &mut String, distribution: &Distribution) {
    let _ = write!(text, "{{\"sum\":{},\"buckets\":[", distribution.sum());
    list(text, distribution.buckets(), |text, (largest, count)| {
        let _ = write!(text, "[{largest},{count}]");
    });
    text.push_str("]}");
}

fn quote(text: &mut String, value: &str) {
    text.push('"');
    for letter in value.chars() {
        match letter {
            '"' | '\\' => {
                text.push('\\');
                text.push(letter);
            }
            letter if letter.is_control() => {
                let _ = write!(text, "\\u{:04x}", u32::from(letter));
            }
            letter => text.push(letter),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_json() {
        let mut scrape = Scrape::default();
        let family = scrape.family(Kind::Gauge, "heat", "In \"degrees\".", &["where"]);
        family.sample([String::from("a\\\n").into()], 1.5);
        family.sample(["b".into()], f64::NAN);
        let times = kevy_rt::Durations::default();
        [3, 3, 17].into_iter().for_each(|time| times.record_ns(time));
        scrape.family(Kind::Durations, "times", "", &[]).sample([], times.read());
        assert_eq!(
            write(&scrape, 5),
            "{\"now_ms\":5,\"families\":[\
             {\"name\":\"heat\",\"help\":\"In \\\"degrees\\\".\",\"kind\":\"gauge\",\
             \"labels\":[\"where\"],\"samples\":[[[\"a\\\\\\u000a\"],1.5],[[\"b\"],null]]},\
             {\"name\":\"times\",\"help\":\"\",\"kind\":\"durations\",\"labels\":[],\
             \"samples\":[[[],{\"sum\":23,\"buckets\":[[3,2],[17,1]]}]]}]}\n"
        );
    }
}
