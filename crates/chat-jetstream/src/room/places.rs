use std::collections::BTreeMap;

/// The distance between two positions that are kept.
const SPACING: u64 = 64;

/// The distance within which a known place is near enough: reading on costs less than another request.
const NEAR: u64 = 128;

/// The largest number of places of a room that are kept.
const MAX_PLACES: usize = 1_024;

/// The requests that guess a place before the rest of the interval is halved.
const MAX_GUESSES: u32 = 4;

/// A sparse map from positions of a room to places in the stream.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// The places of some records, by the positions of their first entries.
    known: BTreeMap<u64, u64>,
}

/// The next step towards the record that has a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Read from this place on.
    Read(u64),
    /// Look at the first record from this place on. If it is not before the second place, then the room has none from
    /// the first place on, up to the second one.
    Look(u64, u64),
    /// Look at the oldest record.
    LookAtOldest,
}

impl Places {
    /// Records the place of a record whose first entry has this position.
    pub(crate) fn learn(&mut self, first: u64, place: u64) {
        let near = self.known.range(..=first).next_back().is_some_and(|(seq, _)| first - seq < SPACING);
        if near {
            return;
        }
        if self.known.len() >= MAX_PLACES {
            // Every second place is enough to find the others, in a request more.
            let mut keep = false;
            self.known.retain(|_, _| {
                keep = !keep;
                keep
            });
        }
        self.known.insert(first, place);
    }

    /// Records the result of a [`Step::Look`], however near another place is.
    pub(crate) fn found(&mut self, first: u64, place: u64) {
        self.known.insert(first, place);
    }

    /// Forgets the places before a position, whose records may be removed.
    pub(crate) fn forget_before(&mut self, oldest: u64) {
        // The record with the oldest position may begin before it.
        if let Some(begin) = self.known.range(..=oldest).next_back().map(|(seq, _)| *seq) {
            self.known = self.known.split_off(&begin);
        }
    }

    /// Returns the next step towards the record that has the position `seq`. `guesses` is the number of steps before.
    /// The room has no record from the place `limit` on, up to the one that is known, or none that can be read.
    pub(crate) fn step(&self, seq: u64, guesses: u32, limit: u64) -> Step {
        let Some((&below, &low)) = self.known.range(..=seq).next_back() else { return Step::LookAtOldest };
        let Some((&above, &high)) = self.known.range(seq + 1..).next() else { return Step::Read(low) };
        let high = high.min(limit);
        if seq - below <= NEAR || high <= low + 1 {
            return Step::Read(low);
        }
        let distance = high - low - 1;
        let offset = if guesses < MAX_GUESSES {
            // A little too low: reading on reaches the record then.
            let part = u128::from(seq - below - NEAR / 2) * u128::from(distance) / u128::from(above - below);
            u64::try_from(part).unwrap_or(distance)
        } else {
            distance / 2
        };
        Step::Look(low + 1 + offset, high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream in which the room's record number `n` has the position `n` and is at the place that `place` gives.
    fn requests(count: u64, place: impl Fn(u64) -> u64, seq: u64) -> u32 {
        let mut places = Places::default();
        places.learn(count, place(count));
        let (mut guesses, mut limit) = (0, u64::MAX);
        loop {
            match places.step(seq, guesses, limit) {
                Step::Read(from) => {
                    let first = (1..=count).find(|n| place(*n) >= from).unwrap();
                    assert!(first <= seq && seq - first <= NEAR, "{first} for {seq}");
                    return guesses;
                }
                Step::LookAtOldest => places.learn(1, place(1)),
                Step::Look(from, high) => {
                    let found = (1..=count).find(|n| place(*n) >= from).unwrap();
                    if place(found) < high {
                        places.found(found, place(found));
                    }
                    if place(found) >= high || found > seq {
                        limit = from;
                    }
                }
            }
            guesses += 1;
        }
    }

    #[test]
    fn a_position_is_found_in_few_requests() {
        for seq in [1, 2, 500, 5_000, 9_998] {
            assert!(requests(10_000, |n| n * 7, seq) <= 3, "even, {seq}");
        }
        // Half of the records came in a burst, between long pauses.
        let uneven = |n: u64| if n < 5_000 { n } else { n * 1_000 };
        for seq in [1, 4_000, 5_100, 9_000] {
            let count = requests(10_000, uneven, seq);
            assert!(count <= 24, "uneven, {seq}: {count}");
        }
    }

    #[test]
    fn the_number_of_places_is_bounded() {
        let mut places = Places::default();
        for seq in 1..=1_000_000 {
            places.learn(seq, seq);
        }
        assert!((MAX_PLACES / 4..=MAX_PLACES).contains(&places.known.len()));
        places.forget_before(900_000);
        assert!(places.known.keys().next().is_some_and(|seq| (800_000..=900_000).contains(seq)));
    }
}
