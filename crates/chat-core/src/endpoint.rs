use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use chat_proto::handshake::{OriginPolicy, Refusal, decide};
use serde_json::{Map, Value};

use crate::upgrade::Purpose;
use crate::{Chat, Message, RequestHead, Upgrade, Watch};

/// The chat as seen over HTTP: where it is, and whom it lets in.
///
/// Cloning shares the chat.
#[derive(Debug)]
pub struct Endpoint<M: Message> {
    chat: Chat<M>,
    path: Arc<str>,
    origins: Arc<OriginPolicy>,
    site: bool,
    report: Report,
    purpose: Purpose,
}

/// Which of an adapter's ways to a connection is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mechanism {
    /// The connection is taken over from the framework as a stream of bytes: the same on the wire for all.
    #[default]
    Hijack,
    /// The framework's own WebSocket is used, and the framework stays in charge of the connection.
    Context,
}

/// What is to be done with a request.
#[derive(Debug)]
pub enum Decision<M: Message> {
    /// It becomes a connection.
    Upgrade(Upgrade<M>),
    /// It is answered with this.
    Answer(Answer),
    /// It is not for the chat.
    Pass,
}

/// A complete HTTP answer that upgrades nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
}

impl<M: Message> Endpoint<M> {
    /// The chat at `/ws`, for pages of its own origin and for clients that are no browsers.
    pub fn new(chat: Chat<M>) -> Self {
        Self {
            chat,
            path: "/ws".into(),
            origins: Arc::default(),
            site: false,
            report: Report::default(),
            purpose: Purpose::Chat,
        }
    }

    /// Puts the chat at another path.
    #[must_use]
    pub fn at(mut self, path: &str) -> Self {
        self.path = path.into();
        self
    }

    /// Lets pages of these origins in, besides its own: `https://chat.example`, or `*` for all.
    #[must_use]
    pub fn allow_origins(mut self, origins: Vec<String>) -> Self {
        self.origins = Arc::new(OriginPolicy::SameOriginOr(origins));
        self
    }

    /// Also serves `/`, `/healthz` and `/readyz`, and answers 404 for what is not there.
    #[must_use]
    pub fn with_site(mut self) -> Self {
        self.site = true;
        self
    }

    /// Lets `/readyz` also tell what the host has to report, as further fields.
    #[must_use]
    pub fn with_report(mut self, report: impl Fn() -> Map<String, Value> + Send + Sync + 'static) -> Self {
        self.report = Report(Some(Arc::new(report)));
        self
    }

    /// Serves an echo in the chat's place: each text or binary message comes back as it was. For examining or
    /// measuring what is below the chat, with the chat's limits and drain.
    #[must_use]
    pub fn echo(mut self) -> Self {
        self.purpose = Purpose::Echo;
        self
    }

    /// The chat behind this endpoint.
    pub fn chat(&self) -> &Chat<M> {
        &self.chat
    }

    /// Whether a request for this path is for the chat: one that is not, [`handle`](Self::handle) passes on.
    pub fn concerns(&self, path: &str) -> bool {
        self.site || path == &*self.path
    }

    /// Decides what happens to a request. `watch` is the one that its outermost layer made; without one, the
    /// chat could not know what becomes of its answer, and refuses.
    pub fn handle(&self, head: &RequestHead<'_>, watch: Option<&Watch>) -> Decision<M> {
        if head.path() == &*self.path {
            return match self.upgrade(head, watch) {
                Ok(upgrade) => Decision::Upgrade(upgrade),
                Err(refusal) => {
                    if let Some(watch) = watch {
                        watch.refuse(refusal);
                    }
                    let headers = refusal.headers(self.chat.limits());
                    Decision::Answer(Answer::refusal(refusal, headers))
                }
            };
        }
        if self.site { Decision::Answer(self.page(head)) } else { Decision::Pass }
    }

    fn upgrade(&self, head: &RequestHead<'_>, watch: Option<&Watch>) -> Result<Upgrade<M>, Refusal> {
        let accept = decide(head, &self.origins, self.chat.limits())?;
        let watch = watch.ok_or_else(|| {
            tracing::error!("the chat is mounted without the outermost layer of its adapter");
            Refusal::Internal
        })?;
        let permit = self.chat.permit()?;
        Ok(Upgrade::new(self.chat.clone(), self.purpose, permit, &accept, watch))
    }

    fn page(&self, head: &RequestHead<'_>) -> Answer {
        let known = matches!(head.path(), "/" | "/healthz" | "/readyz");
        if known && head.method != "GET" && head.method != "HEAD" {
            return Answer::refusal(Refusal::MethodNotAllowed, vec![("allow", "GET, HEAD".to_owned())]);
        }
        match head.path() {
            "/" => Answer::new(
                200,
                "text/html; charset=utf-8",
                include_str!("page.html").replace("/ws", &self.path),
            ),
            "/healthz" => Answer::new(200, "text/plain; charset=utf-8", "ok\n"),
            "/readyz" => {
                let counts = self.chat.counts();
                let (status, ready) = if self.chat.is_draining() { (503, false) } else { (200, true) };
                let mut body = self.report.make();
                body.insert("ready".to_owned(), ready.into());
                for (name, count) in [
                    ("connections", counts.connections),
                    ("sessions", counts.sessions),
                    ("rooms", counts.rooms),
                ] {
                    body.insert(name.to_owned(), count.into());
                }
                Answer::new(status, "application/json", Value::Object(body).to_string())
            }
            _ => Answer::not_found(),
        }
    }
}

impl<M: Message> Clone for Endpoint<M> {
    fn clone(&self) -> Self {
        Self {
            chat: self.chat.clone(),
            path: Arc::clone(&self.path),
            origins: Arc::clone(&self.origins),
            site: self.site,
            report: self.report.clone(),
            purpose: self.purpose,
        }
    }
}

/// What a host has to say in `/readyz`.
#[derive(Clone, Default)]
struct Report(Option<Arc<dyn Fn() -> Map<String, Value> + Send + Sync>>);

impl Report {
    fn make(&self) -> Map<String, Value> {
        self.0.as_ref().map_or_else(Map::new, |report| report())
    }
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Report").finish_non_exhaustive()
    }
}

impl Answer {
    fn new(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        let headers =
            vec![("content-type", content_type.to_owned()), ("cache-control", "no-store".to_owned())];
        Self { status, headers, body: body.into() }
    }

    pub(crate) fn refusal(refusal: Refusal, headers: Vec<(&'static str, String)>) -> Self {
        let mut answer = Self::new(refusal.status(), "application/json", refusal.body());
        answer.headers.extend(headers);
        answer
    }

    /// 404, for whoever has nothing of its own to answer.
    pub fn not_found() -> Self {
        Self::new(404, "application/json", r#"{"error":{"code":"not_found","message":"nothing is here"}}"#)
    }

    /// The status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The header lines, without the length. The names are lower case.
    pub fn headers(&self) -> &[(&'static str, String)] {
        &self.headers
    }

    /// The body.
    pub fn into_body(self) -> Bytes {
        self.body
    }
}
