use std::collections::VecDeque;

/// Requests that wait for one server, which takes one after the other.
#[derive(Debug)]
pub struct Queue<R> {
    waiting: VecDeque<R>,
    limit: usize,
    is_busy: bool,
    /// Requests that were discarded.
    pub discarded: u64,
    /// Requests that were served.
    pub served: u64,
}

impl<R> Queue<R> {
    /// Returns an empty queue. At `limit` waiting requests, all of them are discarded, as a server of NATS does with
    /// the requests of its API.
    pub fn new(limit: usize) -> Self {
        Self { waiting: VecDeque::new(), limit, is_busy: false, discarded: 0, served: 0 }
    }

    /// Adds a request. Returns true if the server begins to work: the caller calls [`finish`](Self::finish) when the
    /// work is done.
    pub fn add(&mut self, request: R) -> bool {
        self.waiting.push_back(request);
        if self.waiting.len() > self.limit {
            self.discarded += self.waiting.len() as u64;
            self.waiting.clear();
        }
        !self.waiting.is_empty() && !std::mem::replace(&mut self.is_busy, true)
    }

    /// Ends the work for the oldest request. Returns it, and true if the server begins to work for the next one. A
    /// request that was discarded during the work is `None`.
    pub fn finish(&mut self) -> (Option<R>, bool) {
        let request = self.waiting.pop_front();
        self.served += u64::from(request.is_some());
        self.is_busy = !self.waiting.is_empty();
        (request, self.is_busy)
    }

    /// Returns the request for which the server works.
    pub fn first(&self) -> Option<&R> {
        self.waiting.front()
    }

    /// Returns the number of requests that wait or are in work.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Returns true if no request waits or is in work.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

/// A limit of a rate, without a burst. What is beyond it waits in order.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    interval: f64,
    next: f64,
}

impl Bucket {
    /// Returns a bucket for a rate per second.
    pub fn new(rate: f64) -> Self {
        Self { interval: 1.0 / rate, next: 0.0 }
    }

    /// Returns the time at which what comes now may go on.
    pub fn admit(&mut self, now: f64) -> f64 {
        let at = self.next.max(now);
        self.next = at + self.interval;
        at
    }
}
