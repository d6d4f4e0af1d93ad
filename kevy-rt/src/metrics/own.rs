//! Metrics of a set's or a store's own: cells of one shard, declared with their meaning, that every
//! scrape finds by itself.
//!
//! ```
//! kevy_rt::metrics! {
//!     /// What the limiter counts.
//!     pub struct Limiting: "limiter" {
//!         /// Requests that found too few tokens.
//!         refused: Counter,
//!         /// Requests by what they were for.
//!         asked: Counter by "purpose",
//!         /// Buckets that there are now.
//!         buckets: Gauge by shard,
//!         /// Tokens asked for at once.
//!         tokens: Histogram,
//!     }
//! }
//!
//! fn take(cx: &kevy_rt::Cx<'_>, tokens: u64) {
//!     let counts = cx.own::<Limiting>();
//!     counts.asked.of("login").add(1);
//!     counts.tokens.record(tokens);
//! }
//! ```
//!
//! They are told as `limiter_refused_total`, `limiter_asked_total`, `limiter_buckets` and
//! `limiter_tokens`. Those of a shard exist from their first use on.

use std::any::Any;
use std::cell::OnceCell;

use super::histogram::{Durations, Histogram};
use super::scrape::{Kind, Label, Sample, Scrape};
use super::{Counter, Gauge};

/// Most values of a label that are told apart. A label whose values clients choose would otherwise
/// grow without end; what comes beyond is counted together, as `other`.
const LABEL_VALUES: usize = 64;

/// Something that counts.
pub trait Cell: Default + 'static {
    /// What kind of numbers it has.
    const KIND: Kind;
    /// What its name ends with.
    const SUFFIX: &'static str;
    /// Its present value.
    fn read(&self) -> Sample;
}

impl Cell for Counter {
    const KIND: Kind = Kind::Counter;
    const SUFFIX: &'static str = "_total";
    fn read(&self) -> Sample {
        Sample::Whole(self.get())
    }
}

impl Cell for Gauge {
    const KIND: Kind = Kind::Gauge;
    const SUFFIX: &'static str = "";
    fn read(&self) -> Sample {
        Sample::Real(self.get())
    }
}

impl Cell for Histogram {
    const KIND: Kind = Kind::Histogram;
    const SUFFIX: &'static str = "";
    fn read(&self) -> Sample {
        Sample::Distribution(self.read())
    }
}

impl Cell for Durations {
    const KIND: Kind = Kind::Durations;
    const SUFFIX: &'static str = "_seconds";
    fn read(&self) -> Sample {
        Sample::Distribution(self.read())
    }
}

/// A value of a label and its cell, once there is one.
type Place<T> = OnceCell<Box<(Box<str>, T)>>;

/// A cell per value of a label, 64 of them at most: what comes beyond is counted together.
#[derive(Debug)]
pub struct Labelled<T> {
    values: Box<[Place<T>]>,
    others: OnceCell<Box<T>>,
}

impl<T> Default for Labelled<T> {
    fn default() -> Self {
        let values = (0..LABEL_VALUES).map(|_| OnceCell::new());
        Labelled { values: values.collect(), others: OnceCell::new() }
    }
}

impl<T: Default> Labelled<T> {
    /// The cell of this value.
    pub fn of(&self, value: &str) -> &T {
        for place in &self.values {
            let (known, cell) = &**place.get_or_init(|| Box::new((value.into(), T::default())));
            if **known == *value {
                return cell;
            }
        }
        self.others.get_or_init(Box::default)
    }

    /// Those that were used, each with its value.
    fn all(&self) -> impl Iterator<Item = (Label, &T)> {
        let values = self.values.iter().map_while(OnceCell::get);
        let values = values.map(|labelled| (Label::Text(labelled.0.clone()), &labelled.1));
        values.chain(self.others.get().map(|cell| (Label::Fixed("other"), &**cell)))
    }
}

/// Metrics that [`metrics!`](crate::metrics!) declares.
pub trait Own: Any + Default {
    /// Tells all of them.
    fn tell(&self, shard: usize, scrape: &mut Scrape);
}

/// The metrics of one type, whatever type.
trait Known {
    fn as_any(&self) -> &dyn Any;
    fn tell(&self, shard: usize, scrape: &mut Scrape);
}

impl<M: Own> Known for M {
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn tell(&self, shard: usize, scrape: &mut Scrape) {
        Own::tell(self, shard, scrape);
    }
}

/// All metrics of their own that a shard's sets have used, one of each type.
#[derive(Default)]
pub(crate) struct Registry(OnceCell<Box<Entry>>);

struct Entry {
    metrics: Box<dyn Known>,
    rest: Registry,
}

impl Registry {
    /// Those of type `M`.
    pub(crate) fn get<M: Own>(&self) -> &M {
        let mut list = self;
        loop {
            let entry = list.0.get_or_init(|| {
                Box::new(Entry { metrics: Box::new(M::default()), rest: Registry::default() })
            });
            if let Some(metrics) = entry.metrics.as_any().downcast_ref() {
                return metrics;
            }
            list = &entry.rest;
        }
    }

    /// Tells all of them.
    pub(crate) fn tell(&self, shard: usize, scrape: &mut Scrape) {
        let mut list = self;
        while let Some(entry) = list.0.get() {
            entry.metrics.tell(shard, scrape);
            list = &entry.rest;
        }
    }
}

/// Tells a cell's present value. [`metrics!`](crate::metrics!) calls these.
#[doc(hidden)]
pub mod tell {
    use super::{Cell, Label, Labelled, Scrape};

    pub fn one<T: Cell>(name: &str, help: &'static str, _: usize, cell: &T, scrape: &mut Scrape) {
        let name = format!("{name}{}", T::SUFFIX);
        scrape.family(T::KIND, name, help.trim(), &[]).sample([], cell.read());
    }

    pub fn by_shard<T: Cell>(
        name: &str,
        help: &'static str,
        shard: usize,
        cell: &T,
        scrape: &mut Scrape,
    ) {
        let name = format!("{name}{}", T::SUFFIX);
        let family = scrape.family(T::KIND, name, help.trim(), &["shard"]);
        family.sample([Label::from(shard)], cell.read());
    }

    pub fn labelled<T: Cell>(
        name: &str,
        help: &'static str,
        label: &'static [&'static str; 1],
        cells: &Labelled<T>,
        scrape: &mut Scrape,
    ) {
        let name = format!("{name}{}", T::SUFFIX);
        let family = scrape.family(T::KIND, name, help.trim(), label);
        for (value, cell) in cells.all() {
            family.sample([value], cell.read());
        }
    }
}

/// Declares metrics of one's own: a struct of cells, each with what it means as its doc comment,
/// and the word that their names start with. A cell is a [`Counter`], a [`Gauge`], a [`Histogram`]
/// or [`Durations`]; `by "label"` makes one for each value of a label, `by shard` tells shards
/// apart. [`Cx::own`](crate::Cx::own) finds the present shard's; every scrape tells them.
#[macro_export]
macro_rules! metrics {
    (
        $(#[$attribute:meta])* $vis:vis struct $name:ident: $prefix:literal {
            $( $(#[doc = $doc:literal])+ $cell:ident: $kind:ident $(by $by:tt)? ),* $(,)?
        }
    ) => {
        $(#[$attribute])*
        #[derive(Debug, Default)]
        $vis struct $name {
            $( $(#[doc = $doc])+ pub $cell: $crate::metrics!(@type $kind $(by $by)?), )*
        }

        impl $crate::Own for $name {
            fn tell(&self, shard: usize, scrape: &mut $crate::Scrape) {
                let _ = (shard, &scrape);
                $( $crate::metrics!(
                    @tell self, shard, scrape, concat!($prefix, "_", stringify!($cell)),
                    concat!($($doc),+), $cell $(by $by)?
                ); )*
            }
        }
    };
    (@type $kind:ident) => { $crate::$kind };
    (@type $kind:ident by shard) => { $crate::$kind };
    (@type $kind:ident by $label:literal) => { $crate::Labelled<$crate::$kind> };
    (@tell $me:ident, $shard:ident, $scrape:ident, $name:expr, $help:expr, $cell:ident) => {
        $crate::tell_metric::one($name, $help, $shard, &$me.$cell, $scrape)
    };
    (@tell $me:ident, $shard:ident, $scrape:ident, $name:expr, $help:expr, $cell:ident by shard) => {
        $crate::tell_metric::by_shard($name, $help, $shard, &$me.$cell, $scrape)
    };
    (
        @tell $me:ident, $shard:ident, $scrape:ident, $name:expr, $help:expr,
        $cell:ident by $label:literal
    ) => {
        $crate::tell_metric::labelled($name, $help, &[$label], &$me.$cell, $scrape)
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::metrics! {
        /// A test's.
        struct Things: "things" {
            /// Seen ever,
            /// by kind.
            seen: Counter by "kind",
            /// Here now.
            here: Gauge by shard,
            /// How long they stay.
            stay: Durations,
        }
    }

    crate::metrics! {
        struct Others: "others" {
            /// All of them.
            all: Counter,
        }
    }

    #[test]
    fn metrics_of_each_type_are_told_once() {
        let registry = Registry::default();
        registry.get::<Things>().seen.of("large").add(2);
        registry.get::<Others>().all.add(1);
        registry.get::<Things>().seen.of("small").add(1);
        registry.get::<Things>().here.set(7.5);
        registry.get::<Things>().stay.record_ns(1000);
        let mut scrape = Scrape::default();
        registry.tell(3, &mut scrape);
        let families = scrape.families();
        let names: Vec<_> = families.iter().map(|family| (family.name(), family.help())).collect();
        assert_eq!(
            names,
            [
                ("things_seen_total", "Seen ever, by kind."),
                ("things_here", "Here now."),
                ("things_stay_seconds", "How long they stay."),
                ("others_all_total", "All of them."),
            ]
        );
        let seen = families[0].samples().map(|(labels, sample)| (labels[0].to_string(), sample));
        assert_eq!(
            seen.collect::<Vec<_>>(),
            [("large".into(), &Sample::Whole(2)), ("small".into(), &Sample::Whole(1))]
        );
        assert_eq!(families[1].samples().next(), Some((&[3_usize.into()][..], &7.5.into())));
    }

    #[test]
    fn the_values_of_a_label_are_bounded() {
        let labelled = Labelled::<Counter>::default();
        for value in 0..1000 {
            labelled.of(&value.to_string()).add(1);
        }
        labelled.of("7").add(1);
        let told: Vec<_> = labelled.all().map(|(label, n)| (label.to_string(), n.get())).collect();
        assert_eq!(told.len(), LABEL_VALUES + 1);
        assert_eq!(told[7], ("7".into(), 2));
        assert_eq!(told[LABEL_VALUES], ("other".into(), 1000 - LABEL_VALUES as u64));
    }
}
