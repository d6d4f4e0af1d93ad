//! Tables of results, in Markdown that reads well as plain text, and the files of a run.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use crate::chart;
use crate::compare::{Group, Row};

/// The name of the server that others are compared with.
pub const REDIS: &str = "redis-server";
/// The name of the lower bound.
pub const FLOOR: &str = "floor";

const COLUMNS: [&str; 12] = [
    "server",
    "requests/s",
    "/ redis",
    "CPU ns",
    "/ redis",
    "/ floor",
    "+-",
    "instructions",
    "p50 us",
    "p99 us",
    "p99.9 us",
    "client idle",
];

/// One table per group, in Markdown.
///
/// Figures are medians over the rounds; `+-` is half the range of the CPU times as a part of their
/// median; ratios are of medians. A client that is never idle is the bottleneck: then throughput
/// and latency are the client's, and only the CPU time is the server's.
pub fn markdown(groups: &[Group]) -> String {
    let mut text = String::new();
    for group in groups {
        let rows: Vec<_> = group.rows.iter().map(|row| cells(group, row)).collect();
        let _ = write!(text, "### {}\n\n{}\n", group.title, table(&COLUMNS, &rows));
    }
    text
}

fn cells(group: &Group, row: &Row) -> Vec<String> {
    let name = &row.name;
    vec![
        name.clone(),
        format!("{:.0}", row.throughput()),
        ratio(group.throughput_ratio(name, REDIS)),
        figure(row.cpu_ns()),
        ratio(group.cpu_ratio(name, REDIS)),
        ratio(group.cpu_ratio(name, FLOOR)),
        percent(row.cpu_spread()),
        figure(row.instructions()),
        format!("{:.1}", row.latency_us(0.5)),
        format!("{:.1}", row.latency_us(0.99)),
        format!("{:.1}", row.latency_us(0.999)),
        percent(Some(row.client_idle())),
    ]
}

fn ratio(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.2}"))
}

fn figure(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.0}"))
}

fn percent(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |value| format!("{:.0} %", value * 100.0))
}

/// A Markdown table with aligned columns, the first to the left and the others to the right.
fn table(titles: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].len());
        cells.chain([titles[column].len()]).max().unwrap_or(0)
    };
    let line = |cells: &mut dyn Iterator<Item = String>| {
        let mut line = String::from("|");
        for (column, cell) in cells.enumerate() {
            let width = width(column);
            let _ = match column {
                0 => write!(line, " {cell:<width$} |"),
                _ => write!(line, " {cell:>width$} |"),
            };
        }
        line + "\n"
    };
    let rule = |column: usize| match column {
        0 => "-".repeat(width(0)),
        column => "-".repeat(width(column) - 1) + ":",
    };
    let mut text = line(&mut titles.iter().map(|title| (*title).to_owned()));
    text += &line(&mut (0..titles.len()).map(rule));
    for row in rows {
        text += &line(&mut row.iter().cloned());
    }
    text
}

/// Every turn's figures, as comma-separated values.
pub fn rounds(groups: &[Group]) -> String {
    let mut text = String::from(
        "case,server,round,requests_per_s,cpu_ns,instructions,p50_us,p99_us,p999_us,client_idle\n",
    );
    for group in groups {
        for row in &group.rows {
            for (round, measured) in row.rounds.iter().enumerate() {
                let optional =
                    |value: Option<f64>| value.map(|it| format!("{it:.1}")).unwrap_or_default();
                let us = |fraction| measured.latency.quantile(fraction).as_nanos() as f64 / 1000.0;
                let _ = writeln!(
                    text,
                    "\"{}\",{},{round},{:.0},{},{},{:.1},{:.1},{:.1},{:.3}",
                    group.title,
                    row.name,
                    measured.throughput(),
                    optional(measured.cpu_ns()),
                    optional(measured.instructions()),
                    us(0.5),
                    us(0.99),
                    us(0.999),
                    measured.idle,
                );
            }
        }
    }
    text
}

/// Writes `report.md`, `rounds.csv` and `chart.svg` into `directory`.
///
/// # Errors
///
/// A folder or file that can't be written.
pub fn save(directory: &Path, head: &str, verdicts: &str, groups: &[Group]) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let chart = if groups.is_empty() { "" } else { "![CPU time per request](chart.svg)\n\n" };
    let report = format!("{head}\n{verdicts}\n{chart}{}", markdown(groups));
    fs::write(directory.join("report.md"), report)?;
    fs::write(directory.join("rounds.csv"), rounds(groups))?;
    fs::write(directory.join("chart.svg"), chart::svg(groups))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_align() {
        let rows =
            vec![vec!["a".to_owned(), "1".to_owned()], vec!["bc".to_owned(), "23".to_owned()]];
        let expected = "| x  | longer |\n| -- | -----: |\n| a  |      1 |\n| bc |     23 |\n";
        assert_eq!(table(&["x", "longer"], &rows), expected);
    }
}
