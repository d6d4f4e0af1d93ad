//! The text format of Prometheus, version 0.0.4.

use std::fmt::{Display, Write};

use kevy_rt::{Distribution, Family, Kind, Label, Sample, Scrape};

/// Bounds of the buckets of times, as powers of two of nanoseconds: from a microsecond to 17 s.
const TIME_BOUNDS: std::ops::RangeInclusive<u32> = 10..=34;

/// Bounds of the buckets of other sizes: powers of two, too.
const SIZE_BOUNDS: std::ops::RangeInclusive<u32> = 0..=32;

/// Writes all families.
pub(crate) fn write(scrape: &Scrape) -> String {
    let mut text = String::with_capacity(64 * 1024);
    for family in scrape.families().iter().filter(|family| family.samples().len() > 0) {
        write_family(family, &mut text);
    }
    text
}

fn write_family(family: &Family, text: &mut String) {
    let name = family.name();
    let kind = match family.kind() {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram | Kind::Durations => "histogram",
    };
    let help = family.help().replace('\\', "\\\\").replace('\n', "\\n");
    // A string takes whatever is written to it.
    let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    for (labels, sample) in family.samples() {
        let labels = family.labels().iter().copied().zip(labels);
        match sample {
            Sample::Whole(number) => write_line(text, name, "", labels, None, number),
            Sample::Real(number) => write_line(text, name, "", labels, None, &Number(*number)),
            Sample::Distribution(distribution) => {
                write_distribution(text, family, labels, distribution);
            }
        }
    }
}

fn write_distribution<'a>(
    text: &mut String,
    family: &Family,
    labels: impl Iterator<Item = (&'a str, &'a Label)> + Clone,
    distribution: &Distribution,
) {
    let name = family.name();
    let mut bucket = |bound: &dyn Display, count: u64| {
        write_line(text, name, "_bucket", labels.clone(), Some(bound), &count);
    };
    let is_time = family.kind() == Kind::Durations;
    let bounds = if is_time { TIME_BOUNDS } else { SIZE_BOUNDS };
    for exponent in bounds {
        let largest = (1_u64 << exponent) - u64::from(!is_time);
        let bound = if is_time { largest as f64 / 1e9 } else { largest as f64 };
        bucket(&bound, distribution.count_below_power(exponent));
    }
    bucket(&"+Inf", distribution.count());
    let sum = distribution.sum() as f64 / if is_time { 1e9 } else { 1.0 };
    write_line(text, name, "_sum", labels.clone(), None, &sum);
    write_line(text, name, "_count", labels, None, &distribution.count());
}

/// A number as the format has it.
struct Number(f64);

impl Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            f64::INFINITY => f.write_str("+Inf"),
            f64::NEG_INFINITY => f.write_str("-Inf"),
            number => number.fmt(f),
        }
    }
}

fn write_line<'a>(
    text: &mut String,
    name: &str,
    suffix: &str,
    labels: impl Iterator<Item = (&'a str, &'a Label)>,
    bound: Option<&dyn Display>,
    value: &dyn Display,
) {
    text.push_str(name);
    text.push_str(suffix);
    let mut separator = '{';
    for (label, value) in labels {
        text.push(separator);
        let _ = write!(text, "{label}=\"");
        match value {
            Label::Number(number) => {
                let _ = write!(text, "{number}");
            }
            Label::Fixed(value) => escape(text, value),
            Label::Text(value) => escape(text, value),
        }
        text.push('"');
        separator = ',';
    }
    if let Some(bound) = bound {
        let _ = write!(text, "{separator}le=\"{bound}\"");
        separator = ',';
    }
    if separator == ',' {
        text.push('}');
    }
    let _ = writeln!(text, " {value}");
}

fn escape(text: &mut String, value: &str) {
    for letter in value.chars() {
        match letter {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            letter => text.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_as_prometheus_reads_it() {
        let mut scrape = Scrape::default();
        scrape.counter("requests_total", "All of them,\nwith a \\.", 7_u64);
        scrape.gauge("heat", "In degrees.", f64::INFINITY);
        scrape.family(Kind::Gauge, "nothing", "It has no samples.", &["shard"]);
        let family = scrape.family(Kind::Counter, "by_total", "By two.", &["shard", "name"]);
        family.sample([3_usize.into(), String::from("a \"b\"\\\n").into()], 0.5);
        assert_eq!(
            write(&scrape),
            "# HELP requests_total All of them,\\nwith a \\\\.\n\
             # TYPE requests_total counter\n\
             requests_total 7\n\
             # HELP heat In degrees.\n\
             # TYPE heat gauge\n\
             heat +Inf\n\
             # HELP by_total By two.\n\
             # TYPE by_total counter\n\
             by_total{shard=\"3\",name=\"a \\\"b\\\"\\\\\\n\"} 0.5\n"
        );
    }

    #[test]
    fn buckets_are_cumulative() {
        let times = kevy_rt::Durations::default();
        let taken = [900, 1500, 1600, 3_000_000_000, 60_000_000_000];
        taken.into_iter().for_each(|time| times.record_ns(time));
        let mut scrape = Scrape::default();
        scrape.family(Kind::Durations, "t_seconds", "Times.", &[]).sample([], times.read());
        let text = write(&scrape);
        for line in [
            "t_seconds_bucket{le=\"0.000001024\"} 1",
            "t_seconds_bucket{le=\"0.000002048\"} 3",
            "t_seconds_bucket{le=\"2.147483648\"} 3",
            "t_seconds_bucket{le=\"4.294967296\"} 4",
            "t_seconds_bucket{le=\"17.179869184\"} 4",
            "t_seconds_bucket{le=\"+Inf\"} 5",
            "t_seconds_sum 63.000004",
            "t_seconds_count 5",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} in {text}");
        }
        let sizes = kevy_rt::Histogram::default();
        [0, 1, 1, 2].into_iter().for_each(|size| sizes.record(size));
        let mut scrape = Scrape::default();
        scrape.family(Kind::Histogram, "sizes", "", &[]).sample([], sizes.read());
        let text = write(&scrape);
        for line in ["{le=\"0\"} 1", "{le=\"1\"} 3", "{le=\"3\"} 4", "{le=\"4294967295\"} 4"] {
            let line = format!("sizes_bucket{line}");
            assert!(text.lines().any(|other| other == line), "{line} in {text}");
        }
    }
}
