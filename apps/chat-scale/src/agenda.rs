use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// The events to come, in the order of their times. Events of one time keep the order in which they were added.
#[derive(Debug)]
pub struct Agenda<E> {
    now: f64,
    added: u64,
    events: BinaryHeap<Entry<E>>,
}

#[derive(Debug)]
struct Entry<E> {
    at: f64,
    number: u64,
    event: E,
}

impl<E> Default for Agenda<E> {
    fn default() -> Self {
        Self { now: 0.0, added: 0, events: BinaryHeap::new() }
    }
}

impl<E> Agenda<E> {
    /// Returns the time of the last event, in seconds.
    pub fn now(&self) -> f64 {
        self.now
    }

    /// Adds an event for a time, which is not before the present one.
    pub fn add(&mut self, at: f64, event: E) {
        self.added += 1;
        self.events.push(Entry { at: at.max(self.now), number: self.added, event });
    }

    /// Adds an event for a time from now on.
    pub fn add_in(&mut self, delay: f64, event: E) {
        self.add(self.now + delay, event);
    }

    /// Removes the next event, and moves the present time to it.
    pub fn next_event(&mut self) -> Option<E> {
        let Entry { at, event, .. } = self.events.pop()?;
        self.now = at;
        Some(event)
    }
}

impl<E> Ord for Entry<E> {
    /// The heap returns the greatest entry, which is the earliest one.
    fn cmp(&self, other: &Self) -> Ordering {
        other.at.total_cmp(&self.at).then(other.number.cmp(&self.number))
    }
}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<E> Eq for Entry<E> {}
