use super::grouped;

/// An axis: the range of its values, and its ticks.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Axis {
    is_logarithmic: bool,
    first: f64,
    last: f64,
    /// The values with a label.
    pub(super) ticks: Vec<Tick>,
}

/// A value of an axis, and its label.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tick {
    pub(super) value: f64,
    pub(super) label: String,
}

/// The largest number of ticks of an axis.
const MAX_TICKS: usize = 7;

impl Axis {
    /// Creates an axis from 0 to the largest value, and further to the next tick.
    pub(super) fn linear(values: impl Iterator<Item = f64>) -> Self {
        let axis = Self::exact(values);
        let step = axis.ticks.get(1).map_or(1.0, |tick| tick.value);
        let last = (axis.last / step).ceil().max(1.0) * step;
        Self::with_step(last, step)
    }

    /// Creates an axis from 0 to the largest value.
    pub(super) fn exact(values: impl Iterator<Item = f64>) -> Self {
        let largest = values.fold(0.0, f64::max);
        let largest = if largest > 0.0 { largest } else { 1.0 };
        let rough = largest / 5.0;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| *step >= rough);
        Self::with_step(largest, step.unwrap_or(rough))
    }

    fn with_step(last: f64, step: f64) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a small number of digits"
        )]
        let decimals = (-step.log10().floor()).max(0.0) as usize;
        let values = (0..=MAX_TICKS).map(|n| n as f64 * step).take_while(|value| *value <= last * 1.000_001);
        let ticks = values.map(|value| Tick { value, label: label(value, decimals) }).collect();
        Self { is_logarithmic: false, first: 0.0, last, ticks }
    }

    /// Creates a logarithmic axis that has all positive values.
    pub(super) fn logarithmic(values: impl Iterator<Item = f64> + Clone) -> Self {
        let positive = values.filter(|value| *value > 0.0);
        let (least, largest) =
            positive.fold((f64::MAX, 0.0_f64), |(a, b), value| (a.min(value), b.max(value)));
        let (least, largest) = if largest > 0.0 { (least, largest) } else { (1.0, 1.0) };
        // 0.001, 0.002, 0.005, 0.01 and so on.
        let steps: Vec<f64> =
            (-4..7).flat_map(|power| [1.0, 2.0, 5.0].map(|factor| factor * 10_f64.powi(power))).collect();
        let first = steps.iter().rposition(|step| *step <= least * 1.000_001).unwrap_or(0);
        let last = steps.iter().position(|step| *step >= largest * 0.999_999).unwrap_or(steps.len() - 1);
        let last = last.max(first + 1).min(steps.len() - 1);
        let every = if last - first < MAX_TICKS { 1 } else { 3 };
        // The first of three steps is a power of ten.
        let labelled = (first..=last).filter(|n| n.is_multiple_of(every));
        let ticks = labelled.map(|n| Tick { value: steps[n], label: label(steps[n], decimals_of_step(n)) });
        Self { is_logarithmic: true, first: steps[first], last: steps[last], ticks: ticks.collect() }
    }

    /// Returns the position of a value, from 0 to 1.
    pub(super) fn position(&self, value: f64) -> f64 {
        let scaled = |value: f64| if self.is_logarithmic { value.max(self.first).log10() } else { value };
        let (first, last) = (scaled(self.first), scaled(self.last));
        ((scaled(value) - first) / (last - first)).clamp(0.0, 1.0)
    }
}

/// Returns the number of decimals of a step of a logarithmic axis. The first one is 0.0001.
fn decimals_of_step(n: usize) -> usize {
    4_usize.saturating_sub(n / 3)
}

fn label(value: f64, decimals: usize) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a tick is positive")]
    if decimals == 0 {
        return grouped(value.round() as u64);
    }
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|tick| tick.label.as_str()).collect()
    }

    #[test]
    fn a_linear_axis_begins_at_zero_and_ends_at_a_tick() {
        let axis = Axis::linear([3.0, 13.0].into_iter());
        assert_eq!(labels(&axis), ["0", "5", "10", "15"]);
        assert_eq!([0.0, 7.5, 15.0].map(|value| axis.position(value)), [0.0, 0.5, 1.0]);
        assert_eq!(labels(&Axis::linear([0.07].into_iter())), ["0.00", "0.02", "0.04", "0.06", "0.08"]);
        assert_eq!(
            labels(&Axis::linear([9_000.0].into_iter())),
            ["0", "2,000", "4,000", "6,000", "8,000", "10,000"]
        );
        assert_eq!(labels(&Axis::linear([0.0].into_iter())), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
    }

    #[test]
    fn a_logarithmic_axis_has_all_values_between_its_ends() {
        let axis = Axis::logarithmic([0.3, 4.0].into_iter());
        assert_eq!(labels(&axis), ["0.2", "0.5", "1", "2", "5"]);
        assert_eq!([0.0, 0.2, 1.0, 5.0].map(|value| axis.position(value) > 0.49), [false, false, true, true]);
        assert_eq!(labels(&Axis::logarithmic([0.02, 900.0].into_iter())), ["0.1", "1", "10", "100", "1,000"]);
        assert_eq!(labels(&Axis::logarithmic([1.0].into_iter())), ["1", "2"]);
        assert_eq!(labels(&Axis::logarithmic([].into_iter())), ["1", "2"]);
    }
}
