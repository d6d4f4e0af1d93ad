//! A bar chart of CPU time per request, as SVG.

use std::fmt::Write as _;

use crate::compare::{Group, Row};

const WIDTH: usize = 860;
const BAR_START: usize = 190;
const BAR_SPACE: usize = 480;
const ROW_HEIGHT: usize = 22;
const BAR_HEIGHT: usize = 16;
const TITLE_HEIGHT: usize = 34;
const MARGIN: usize = 16;

/// Told apart without colour vision too; servers take them in order of appearance.
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#999999", "#009e73", "#cc79a7", "#e69f00"];

/// One group of bars per case, each scaled to its longest bar, labelled with nanoseconds and the
/// multiple of the shortest.
pub fn svg(groups: &[Group]) -> String {
    let rows: usize = groups.iter().map(|group| group.rows.len()).sum();
    let height = 2 * MARGIN + TITLE_HEIGHT * (groups.len() + 1) + ROW_HEIGHT * rows;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let mut y = MARGIN + BAR_HEIGHT;
    label(&mut text, MARGIN, y, "CPU time per request (shorter is better)", "bold");
    let names = names(groups);
    for group in groups {
        y += TITLE_HEIGHT;
        label(&mut text, MARGIN, y, &group.title, "bold");
        let times = || group.rows.iter().filter_map(Row::cpu_ns);
        let (least, greatest) =
            (times().fold(f64::INFINITY, f64::min), times().fold(1.0, f64::max));
        for row in &group.rows {
            y += ROW_HEIGHT;
            let colour = names.iter().position(|name| *name == row.name).unwrap_or(0);
            label(&mut text, MARGIN, y, &row.name, "normal");
            let Some(ns) = row.cpu_ns() else { continue };
            let width = (ns / greatest * BAR_SPACE as f64).max(1.0);
            let _ = writeln!(
                text,
                "<rect x=\"{BAR_START}\" y=\"{}\" width=\"{width:.1}\" height=\"{BAR_HEIGHT}\" \
                 fill=\"{}\"/>",
                y - BAR_HEIGHT + 3,
                COLOURS[colour % COLOURS.len()],
            );
            let figure = format!("{ns:.0} ns ({:.2}x)", ns / least);
            label(&mut text, BAR_START + width as usize + 8, y, &figure, "normal");
        }
    }
    text + "</svg>\n"
}

/// The servers in order of appearance.
fn names(groups: &[Group]) -> Vec<&str> {
    let mut names = Vec::new();
    for row in groups.iter().flat_map(|group| &group.rows) {
        if !names.contains(&row.name.as_str()) {
            names.push(row.name.as_str());
        }
    }
    names
}

fn label(text: &mut String, x: usize, y: usize, label: &str, weight: &str) {
    let label = label.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(text, "<text x=\"{x}\" y=\"{y}\" font-weight=\"{weight}\">{label}</text>");
}
