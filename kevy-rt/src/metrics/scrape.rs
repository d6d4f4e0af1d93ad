//! What a server tells of itself to whoever asks: families of metrics, collected on each shard and
//! added up by the one that was asked.
//!
//! A family has a name, says what it means, and has a sample per combination of its labels. Samples
//! of one family with the same labels add up over the shards, so what is the same everywhere is told
//! by one shard only, and what is to be told apart carries the shard as a label.

use std::borrow::Cow;
use std::fmt;

use smallvec::SmallVec;

use super::histogram::Distribution;

/// What kind of number a family has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, from the server's start on.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Counts by size.
    Histogram,
    /// Counts of times by length, in nanoseconds; they are shown in seconds.
    Durations,
}

/// The value of a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Label {
    /// A number: a shard's, a database's.
    Number(u64),
    /// A text that the program has.
    Fixed(&'static str),
    /// Any other text.
    Text(Box<str>),
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Label::Number(number) => number.fmt(f),
            Label::Fixed(text) => f.write_str(text),
            Label::Text(text) => f.write_str(text),
        }
    }
}

impl From<usize> for Label {
    fn from(number: usize) -> Self {
        Label::Number(number as u64)
    }
}

impl From<&'static str> for Label {
    fn from(text: &'static str) -> Self {
        Label::Fixed(text)
    }
}

impl From<String> for Label {
    fn from(text: String) -> Self {
        Label::Text(text.into())
    }
}

/// A sample's number, or numbers.
#[derive(Clone, Debug, PartialEq)]
pub enum Sample {
    /// A whole number.
    Whole(u64),
    /// Any number.
    Real(f64),
    /// A histogram's.
    Distribution(Distribution),
}

impl Sample {
    fn add(&mut self, other: Sample) {
        match (self, other) {
            (Sample::Whole(sum), Sample::Whole(number)) => *sum = sum.wrapping_add(number),
            (Sample::Real(sum), Sample::Real(number)) => *sum += number,
            (Sample::Distribution(sum), Sample::Distribution(more)) => sum.add(&more),
            (sum, other) => debug_assert!(false, "{sum:?} and {other:?} are of one family"),
        }
    }
}

impl From<u64> for Sample {
    fn from(number: u64) -> Self {
        Sample::Whole(number)
    }
}

impl From<usize> for Sample {
    fn from(number: usize) -> Self {
        Sample::Whole(number as u64)
    }
}

impl From<f64> for Sample {
    fn from(number: f64) -> Self {
        Sample::Real(number)
    }
}

impl From<Distribution> for Sample {
    fn from(distribution: Distribution) -> Self {
        Sample::Distribution(distribution)
    }
}

/// A sample's labels, in the order of its family's names.
pub type Labels = SmallVec<[Label; 2]>;

/// The samples of one name.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    name: Cow<'static, str>,
    help: Cow<'static, str>,
    kind: Kind,
    labels: &'static [&'static str],
    samples: Vec<(Labels, Sample)>,
    /// Where the next sample of another shard is looked for first.
    next: usize,
}

impl Family {
    /// Its name, as it is shown: in seconds, with `_total` for a counter.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it means.
    pub fn help(&self) -> &str {
        &self.help
    }

    /// What kind of numbers these are.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The names of its labels.
    pub fn labels(&self) -> &'static [&'static str] {
        self.labels
    }

    /// Its samples: the labels' values, and the number.
    pub fn samples(&self) -> impl ExactSizeIterator<Item = (&[Label], &Sample)> {
        self.samples.iter().map(|(labels, sample)| (&labels[..], sample))
    }

    /// Adds a sample with as many labels as the family has names for.
    pub fn sample<const N: usize>(&mut self, labels: [Label; N], sample: impl Into<Sample>) {
        debug_assert_eq!(N, self.labels.len(), "labels of {}", self.name);
        self.samples.push((Labels::from_iter(labels), sample.into()));
    }

    /// Adds another shard's samples.
    fn add(&mut self, other: Family) {
        self.next = 0;
        for (labels, sample) in other.samples {
            // Shards tell the same things in the same order, or nearly so.
            let known = self.samples.len();
            let mut places = (self.next..known).chain(0..self.next);
            match places.find(|&place| self.samples[place].0 == labels) {
                Some(place) => {
                    self.samples[place].1.add(sample);
                    self.next = place + 1;
                }
                None => self.samples.push((labels, sample)),
            }
        }
    }
}

/// What a shard, or a server, tells of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scrape {
    families: Vec<Family>,
}

impl Scrape {
    /// All families, in the order in which they were told.
    pub fn families(&self) -> &[Family] {
        &self.families
    }

    /// The family of this name, to add samples to: one is made if there is none. Names and labels
    /// are of letters, digits and underscores.
    pub fn family(
        &mut self,
        kind: Kind,
        name: impl Into<Cow<'static, str>>,
        help: impl Into<Cow<'static, str>>,
        labels: &'static [&'static str],
    ) -> &mut Family {
        let name = name.into();
        let place = self.families.iter().position(|family| family.name == name);
        let place = place.unwrap_or_else(|| {
            let help = help.into();
            self.families.push(Family { name, help, kind, labels, samples: Vec::new(), next: 0 });
            self.families.len() - 1
        });
        let family = &mut self.families[place];
        debug_assert_eq!((family.kind, family.labels), (kind, labels), "{}", family.name);
        family
    }

    /// A counter without labels.
    pub fn counter(&mut self, name: &'static str, help: &'static str, value: impl Into<Sample>) {
        self.family(Kind::Counter, name, help, &[]).sample([], value);
    }

    /// A gauge without labels.
    pub fn gauge(&mut self, name: &'static str, help: &'static str, value: impl Into<Sample>) {
        self.family(Kind::Gauge, name, help, &[]).sample([], value);
    }

    /// Adds what another shard tells.
    pub fn add(&mut self, other: Scrape) {
        for (place, family) in other.families.into_iter().enumerate() {
            let is_there = |known: &Family| known.name == family.name;
            let known = match self.families.get(place).is_some_and(is_there) {
                true => Some(place),
                false => self.families.iter().position(is_there),
            };
            match known {
                Some(known) => self.families[known].add(family),
                None => self.families.push(family),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(samples: &[(&'static str, u64)]) -> Scrape {
        let mut scrape = Scrape::default();
        let family = scrape.family(Kind::Counter, "of_letters_total", "By letter.", &["letter"]);
        for (letter, count) in samples {
            family.sample([(*letter).into()], *count);
        }
        scrape
    }

    #[test]
    fn samples_of_the_same_labels_add_up() {
        let mut sum = told(&[("a", 1), ("b", 2), ("c", 3)]);
        sum.add(told(&[("b", 10), ("d", 40), ("c", 30)]));
        sum.add(told(&[("d", 400), ("a", 100)]));
        assert_eq!(
            sum.families()[0].samples().map(|(_, sample)| sample.clone()).collect::<Vec<_>>(),
            [101, 12, 33, 440].map(Sample::Whole)
        );
    }

    #[test]
    fn families_are_found_by_name() {
        let mut one = Scrape::default();
        one.gauge("only_here", "", 1.5);
        one.gauge("everywhere", "", 1_u64);
        let mut other = Scrape::default();
        other.gauge("everywhere", "", 2_u64);
        other.gauge("only_there", "", 7_u64);
        one.add(other);
        let sums = one.families().iter().map(|family| (family.name(), &family.samples[0].1));
        assert_eq!(
            sums.collect::<Vec<_>>(),
            [
                ("only_here", &Sample::Real(1.5)),
                ("everywhere", &Sample::Whole(3)),
                ("only_there", &Sample::Whole(7)),
            ]
        );
    }
}
