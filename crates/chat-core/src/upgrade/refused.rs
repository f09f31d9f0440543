//! The log lines of refused upgrades.

use std::net::SocketAddr;
use std::sync::Arc;

use chat_proto::handshake::Refusal;
use tracing::{Level, info};

use crate::RequestHead;
use crate::chat::RefusalLog;

/// Characters of a header in a line.
const MAX_FIELD_CHARS: usize = 128;

/// A refused request, with what its line says.
#[derive(Debug)]
pub(crate) struct Refused {
    refusal: Refusal,
    origin: Option<String>,
    host: Option<String>,
    /// `None` for a refusal that no client can cause. It always has a line.
    log: Option<Arc<RefusalLog>>,
}

impl Refused {
    pub(super) fn new(refusal: Refusal, head: &RequestHead<'_>, log: Arc<RefusalLog>) -> Self {
        let field = |name: &str| {
            let (_, value) = head.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name))?;
            Some(String::from_utf8_lossy(value).escape_debug().take(MAX_FIELD_CHARS).collect())
        };
        Self { refusal, origin: field("origin"), host: field("host"), log: Some(log) }
    }

    /// Returns a refusal because of an error of the host.
    pub(super) fn internal() -> Self {
        Self { refusal: Refusal::Internal, origin: None, host: None, log: None }
    }

    /// Logs the refusal, or counts it if there are many.
    pub(super) fn log(self, status: u16, peer: Option<SocketAddr>) {
        if !tracing::enabled!(Level::INFO) {
            return;
        }
        let Self { refusal, origin, host, log } = self;
        let has_line = log.is_none_or(|log| log.record(peer.map(|peer| peer.ip().to_canonical())));
        if has_line {
            let peer = peer.map(tracing::field::display);
            info!(status, code = refusal.code(), origin, host, peer, "upgrade refused");
        }
    }
}
