//! The log lines of refused upgrades.

use std::net::SocketAddr;
use std::sync::Arc;

use chat_proto::handshake::Refusal;
use tracing::{Level, info};

use crate::RequestHead;
use crate::address::LineLimit;

/// Characters of a header in a line.
const MAX_FIELD_CHARS: usize = 128;

/// A refused request, with what its line says.
#[derive(Debug)]
pub(crate) struct Refused {
    refusal: Refusal,
    origin: Option<String>,
    host: Option<String>,
    /// True if a proxy names its client.
    is_forwarded: bool,
    /// `None` for a refusal that no client can cause. It always has a line.
    lines: Option<Arc<LineLimit>>,
}

impl Refused {
    pub(super) fn new(refusal: Refusal, head: &RequestHead<'_>, lines: Arc<LineLimit>) -> Self {
        let field = |name: &str| {
            let (_, value) = head.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name))?;
            Some(String::from_utf8_lossy(value).escape_debug().take(MAX_FIELD_CHARS).collect())
        };
        let is_forwarded = field("x-forwarded-for").or_else(|| field("forwarded")).is_some();
        Self { refusal, origin: field("origin"), host: field("host"), is_forwarded, lines: Some(lines) }
    }

    /// Returns a refusal because of an error of the host.
    pub(super) fn internal() -> Self {
        Self { refusal: Refusal::Internal, origin: None, host: None, is_forwarded: false, lines: None }
    }

    /// Returns a refusal of a handshake that the framework does not carry out.
    pub(super) fn unsupported(lines: Arc<LineLimit>) -> Self {
        let refusal = Refusal::UpgradeRequired;
        Self { refusal, origin: None, host: None, is_forwarded: false, lines: Some(lines) }
    }

    /// Logs the refusal, or counts it if there are many.
    pub(super) fn log(self, status: u16, peer: Option<SocketAddr>) {
        if !tracing::enabled!(Level::INFO) {
            return;
        }
        let fix = self.fix(peer);
        let Self { refusal, origin, host, lines, .. } = self;
        let has_line = lines.is_none_or(|lines| lines.record(peer.map(|peer| peer.ip()), 1));
        if has_line {
            let peer = peer.map(tracing::field::display);
            info!(status, code = refusal.code(), origin, host, peer, fix, "upgrade refused");
        }
    }

    /// Returns the change that admits such a request, if the operator may want that.
    fn fix(&self, peer: Option<SocketAddr>) -> Option<String> {
        match self.refusal {
            Refusal::OriginForbidden => Some(format!(
                "if this page is yours, let the proxy pass Host on, or set --allow-origin {} \
                 (Endpoint::allow_origins)",
                self.origin.as_deref()?
            )),
            // A trusted proxy gives the address of its client, with port 0.
            Refusal::TooManyConnections if self.is_forwarded => {
                let proxy = peer.filter(|peer| peer.port() != 0)?.ip().to_canonical();
                Some(format!("if this is your proxy, set --trust-proxy {proxy} (Endpoint::trust_proxies)"))
            }
            _ => None,
        }
    }
}
