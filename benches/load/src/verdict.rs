//! Figures and the bars that they are held against.

use std::fmt;

/// A figure and the bar that it is held against.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// What is measured.
    pub name: String,
    /// The figure; nothing where it could not be measured.
    pub figure: Option<f64>,
    /// The largest figure that is good enough.
    pub bar: f64,
    /// The unit, after a space; empty for ratios.
    pub unit: &'static str,
}

impl Verdict {
    /// A ratio and its bar.
    pub fn new(name: impl Into<String>, figure: Option<f64>, bar: f64) -> Self {
        Self { name: name.into(), figure, bar, unit: "" }
    }

    /// A figure in `unit`, which starts with a space.
    #[must_use]
    pub fn in_unit(self, unit: &'static str) -> Self {
        Self { unit, ..self }
    }

    /// Whether the figure is above the bar.
    pub fn is_missed(&self) -> bool {
        self.figure.is_some_and(|figure| figure > self.bar)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, bar, unit, .. } = self;
        match self.figure {
            None => write!(f, "- {name}: not measured (bar {bar}{unit})"),
            Some(figure) => {
                let word = if self.is_missed() { "MISSED" } else { "met" };
                write!(f, "- {name}: {figure:.3}{unit}, bar {bar}{unit}: {word}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_say_what_they_found() {
        let verdict = |figure| Verdict::new("x", figure, 0.95).to_string();
        assert_eq!(verdict(Some(0.9)), "- x: 0.900, bar 0.95: met");
        assert_eq!(verdict(Some(1.0)), "- x: 1.000, bar 0.95: MISSED");
        assert_eq!(verdict(None), "- x: not measured (bar 0.95)");
        assert!(!Verdict::new("x", None, 1.0).is_missed());
    }
}
