//! The pages beside the chat: one to try it, and two for operators.

use chat_proto::handshake::Refusal;
use serde_json::{Map, Value};

use crate::{Answer, Endpoint, Health, RequestContext, RequestHead};

/// The pages of [`Endpoint::with_status_pages`].
pub(super) const STATUS_PAGES: [&str; 3] = ["/", "/healthz", "/readyz"];

/// Headers that a proxy adds.
const FORWARDED_BY: [&str; 3] = ["forwarded", "x-forwarded-for", "via"];

/// The content security policy of the page. No other page may show it in a frame.
const PAGE_POLICY: &str = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The host's part of the answer of `/readyz`.
///
/// Its fields are for requests from the same machine only.
///
/// ```
/// use chat_core::{Chat, Endpoint, Readiness};
///
/// let endpoint = Endpoint::new(Chat::default())
///     .with_status_pages()
///     .with_readiness(|| Readiness::default().with("version", "1.2.3"));
/// # drop(endpoint);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Readiness {
    /// False takes this process out of service: `/readyz` answers 503.
    pub is_ready: bool,
    /// Further fields of the JSON body.
    pub fields: Map<String, Value>,
}

impl Default for Readiness {
    /// Returns a readiness without further fields.
    fn default() -> Self {
        Self { is_ready: true, fields: Map::new() }
    }
}

impl Readiness {
    /// Adds a field.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(name.to_owned(), value.into());
        self
    }
}

impl Endpoint {
    /// Returns the page at the path of a request.
    pub(super) fn page(&self, head: &RequestHead<'_>, context: &RequestContext<'_>) -> Option<Answer> {
        let file = self.files.iter().find(|file| file.path == head.path());
        if file.is_none() && !(self.has_status_pages && STATUS_PAGES.contains(&head.path())) {
            return None;
        }
        if head.method != "GET" && head.method != "HEAD" {
            let refusal = Refusal::MethodNotAllowed;
            let answer = Answer::new(refusal.status(), "application/json", refusal.body());
            let headers = [("allow", "GET, HEAD"), ("connection", "close")];
            return Some(answer.with_headers(headers.map(|(name, value)| (name, value.to_owned())).into()));
        }
        if let Some(file) = file {
            return Some(file.answer(head));
        }
        Some(match head.path() {
            "/healthz" => Answer::new(200, "text/plain; charset=utf-8", "ok\n"),
            "/readyz" => self.readyz(is_local(head, context)),
            _ => {
                let page = include_str!("page.html").replace("{{path}}", &self.path);
                let answer = Answer::new(200, "text/html; charset=utf-8", page);
                answer.with_headers(vec![("content-security-policy", PAGE_POLICY.to_owned())])
            }
        })
    }

    fn readyz(&self, has_details: bool) -> Answer {
        let host = self.readiness.as_ref().map_or_else(Readiness::default, |readiness| readiness());
        let (is_reachable, cause) = match self.chat().health() {
            Health::Ready => (true, None),
            Health::Degraded(cause) => (true, Some(cause)),
            Health::Unreachable(cause) => (false, Some(cause)),
        };
        let is_ready = host.is_ready && is_reachable && !self.chat().is_draining();
        let status = if is_ready { 200 } else { 503 };
        let mut readiness = Readiness { is_ready, ..if has_details { host } else { Readiness::default() } };
        if has_details {
            let counts = self.chat().counts();
            readiness = readiness
                .with("connections", counts.connections)
                .with("sessions", counts.sessions)
                .with("rooms", counts.rooms);
            if let Some(cause) = cause {
                readiness = readiness.with("store_problem", cause);
            }
        }
        let fields = readiness.with("ready", is_ready).fields;
        Answer::new(status, "application/json", Value::Object(fields).to_string())
    }
}

/// Returns true if a request comes from this machine, and no proxy has added the address of another one.
fn is_local(head: &RequestHead<'_>, context: &RequestContext<'_>) -> bool {
    let is_forwarded = head
        .headers
        .iter()
        .any(|(name, _)| FORWARDED_BY.iter().any(|forwarded| name.eq_ignore_ascii_case(forwarded)));
    !is_forwarded && context.peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback())
}
