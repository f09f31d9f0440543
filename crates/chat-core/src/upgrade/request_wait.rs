use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use chat_proto::HttpLimits;
use tokio::time::{Sleep, sleep};

/// The wait of a plain connection for its next request, after the first one.
///
/// It is for adapters whose framework limits only the time for the first head of a connection. The connection may be
/// idle for [`HttpLimits::idle_timeout`]. From its first byte on, a head has [`HttpLimits::head_timeout`].
#[derive(Debug)]
pub struct RequestWait {
    head_timeout: Duration,
    idle_timeout: Duration,
    wait: Option<Wait>,
}

#[derive(Debug)]
struct Wait {
    sleep: Pin<Box<Sleep>>,
    has_bytes: bool,
    /// The requests before this one.
    requests: u64,
}

impl RequestWait {
    /// Returns a wait that has not begun.
    pub fn new(limits: &HttpLimits) -> Self {
        Self { head_timeout: limits.head_timeout, idle_timeout: limits.idle_timeout, wait: None }
    }

    /// Notes that bytes have arrived while all requests were answered, `requests` in number.
    pub fn note_bytes(&mut self, requests: u64) {
        self.begin(requests, true);
    }

    /// Ready if the next request is late. All requests are answered, `requests` in number. Another number begins
    /// another wait.
    pub fn poll_late(&mut self, cx: &mut Context<'_>, requests: u64) -> Poll<()> {
        self.begin(requests, false).sleep.as_mut().poll(cx)
    }

    /// Ends the wait, because a request is open or its response is on its way.
    pub fn end(&mut self) {
        self.wait = None;
    }

    fn begin(&mut self, requests: u64, has_bytes: bool) -> &mut Wait {
        self.wait.take_if(|wait| wait.requests != requests || (has_bytes && !wait.has_bytes));
        let limit = if has_bytes { self.head_timeout } else { self.idle_timeout };
        self.wait.get_or_insert_with(|| Wait { sleep: Box::pin(sleep(limit)), has_bytes, requests })
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::{Instant, advance};

    use super::*;

    async fn seconds_until_late(wait: &mut RequestWait, requests: u64) -> u64 {
        let started = Instant::now();
        poll_fn(|cx| wait.poll_late(cx, requests)).await;
        started.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_has_less_time_than_an_idle_connection_and_bytes_do_not_prolong_it() {
        let mut wait = RequestWait::new(&HttpLimits::default());
        assert_eq!(seconds_until_late(&mut wait, 1).await, 75);
        wait.end();
        wait.note_bytes(1);
        advance(Duration::from_secs(4)).await;
        wait.note_bytes(1);
        assert_eq!(seconds_until_late(&mut wait, 1).await, 6);
        assert_eq!(seconds_until_late(&mut wait, 2).await, 75);
    }
}
