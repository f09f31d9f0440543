use fastrand::Rng;

/// Returns a random time with an exponential distribution, such as the time between two messages.
pub fn exponential(random: &mut Rng, mean: f64) -> f64 {
    -mean * (1.0 - random.f64()).ln()
}

/// Returns a random time between two times.
pub fn uniform(random: &mut Rng, (from, to): (f64, f64)) -> f64 {
    from + (to - from) * random.f64()
}

/// Values of which shares are reported.
#[derive(Clone, Debug, Default)]
pub struct Sample(Vec<f64>);

impl Sample {
    /// Adds a value.
    pub fn add(&mut self, value: f64) {
        self.0.push(value);
    }

    /// Returns the number of values.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Returns the mean, or 0 without values.
    pub fn mean(&self) -> f64 {
        self.0.iter().sum::<f64>() / self.0.len().max(1) as f64
    }

    /// Returns the values below which these shares are, or 0 without values.
    pub fn shares<const N: usize>(&self, shares: [f64; N]) -> [f64; N] {
        let mut sorted = self.0.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        shares.map(|share| {
            let last = sorted.len().saturating_sub(1);
            sorted.get(((sorted.len() as f64 * share) as usize).min(last)).copied().unwrap_or_default()
        })
    }

    /// Returns the share of the values that are above a limit.
    pub fn above(&self, limit: f64) -> f64 {
        self.0.iter().filter(|value| **value > limit).count() as f64 / self.0.len().max(1) as f64
    }
}
