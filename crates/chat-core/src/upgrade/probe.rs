//! The answer to a page that asks why its handshake was refused.

use crate::{Answer, Endpoint, RequestContext, RequestHead};

impl Endpoint {
    /// Returns the answer to a probe: 200 if its handshake would be accepted, or else the refusal.
    ///
    /// The host is asked for the user, as for a handshake, so a probe uses a one-time ticket up.
    pub(super) async fn probe(&self, head: &RequestHead<'_>, context: &RequestContext<'_>) -> Option<Answer> {
        if head.is_probe_preflight() {
            let headers = [
                ("access-control-allow-methods", "GET".to_owned()),
                ("access-control-allow-headers", "Authorization".to_owned()),
                ("access-control-max-age", "600".to_owned()),
            ];
            return Some(self.readable(Answer::empty().with_headers(headers.into()), head));
        }
        let answer = match self.admit(&head.probed()?, context).await {
            Ok(_) => Answer::new(200, "application/json", r#"{"ok":true}"#),
            Err(refusal) => self.refusal(refusal),
        };
        Some(self.readable(answer, head))
    }

    fn readable(&self, answer: Answer, head: &RequestHead<'_>) -> Answer {
        answer.with_headers(self.origins().cross_origin_headers(head))
    }
}
