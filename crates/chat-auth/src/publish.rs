//! The metrics of identities, for the crate `metrics`.

use metrics::{counter, describe_counter};

use crate::Auth;

/// Describes the metrics of identities to the recorder of the crate `metrics`. A host calls it once, after it has
/// installed the recorder.
pub fn describe_metrics() {
    describe_counter!(
        "chat_auth_rejections_total",
        "Requests and hello commands whose credentials were not accepted."
    );
    describe_counter!("chat_auth_key_loads_total", "Loads of the keys of tokens.");
}

impl Auth {
    /// Publishes the counters of refused credentials, and of loads of keys if there is a
    /// [`KeyCache`](crate::KeyCache), to the recorder of the crate `metrics`. A host calls it before each scrape, or
    /// every few seconds.
    ///
    /// ```
    /// use chat_auth::{Auth, describe_metrics};
    ///
    /// // Once, after `metrics::set_global_recorder`.
    /// describe_metrics();
    /// let auth = Auth::new();
    /// // Before each scrape.
    /// auth.publish_metrics();
    /// ```
    pub fn publish_metrics(&self) {
        for (reason, count) in self.rejections() {
            counter!("chat_auth_rejections_total", "reason" => reason).absolute(count);
        }
        let (loads, failures) = self.key_loads();
        if loads + failures > 0 {
            counter!("chat_auth_key_loads_total", "result" => "loaded").absolute(loads);
            counter!("chat_auth_key_loads_total", "result" => "failed").absolute(failures);
        }
    }
}
