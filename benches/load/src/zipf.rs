//! Draws from a Zipf distribution: the few that are asked for often, the many that hardly ever are.

use crate::random::Random;

/// Ranks from 0 on; rank `r` is drawn in proportion to `1 / (r + 1)^skew`.
pub struct Zipf {
    /// The probability of each rank or a lower one: exact, and quick enough for millions of ranks.
    cumulative: Vec<f64>,
}

impl Zipf {
    /// The distribution over `ranks` ranks.
    ///
    /// # Panics
    ///
    /// If there is no rank.
    pub fn new(ranks: u64, skew: f64) -> Self {
        assert!(ranks > 0, "there is something to draw");
        let mut sum = 0.0;
        let mut cumulative: Vec<f64> = (1..=ranks)
            .map(|place| {
                sum += (place as f64).powf(-skew);
                sum
            })
            .collect();
        cumulative.iter_mut().for_each(|share| *share /= sum);
        Self { cumulative }
    }

    /// The next rank.
    pub fn draw(&self, random: &mut Random) -> u64 {
        let unit = random.unit();
        self.cumulative.partition_point(|share| *share <= unit) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often each rank comes in `draws` draws.
    fn frequencies(ranks: u64, skew: f64, draws: u64) -> Vec<f64> {
        let zipf = Zipf::new(ranks, skew);
        let mut random = Random::new(1);
        let mut counts = vec![0u64; ranks as usize];
        for _ in 0..draws {
            counts[zipf.draw(&mut random) as usize] += 1;
        }
        counts.iter().map(|count| *count as f64 / draws as f64).collect()
    }

    fn probabilities(ranks: u64, skew: f64) -> Vec<f64> {
        let weights = || (1..=ranks).map(|place| 1.0 / (place as f64).powf(skew));
        let sum: f64 = weights().sum();
        weights().map(|weight| weight / sum).collect()
    }

    #[test]
    fn frequencies_match_the_distribution() {
        const DRAWS: u64 = 1_000_000;
        for (ranks, skew) in [(10, 0.99), (1000, 0.99), (1000, 1.2), (5, 0.0)] {
            let expected = probabilities(ranks, skew);
            for (found, expected) in frequencies(ranks, skew, DRAWS).iter().zip(&expected) {
                // Five times the deviation that so many draws have.
                let tolerance = 5.0 * (expected * (1.0 - expected) / DRAWS as f64).sqrt();
                assert!((found - expected).abs() <= tolerance, "{found} for {expected}");
            }
        }
    }

    #[test]
    fn a_single_rank_is_always_drawn() {
        assert_eq!(frequencies(1, 0.99, 100), [1.0]);
    }
}
