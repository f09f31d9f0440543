//! Plain connections: those that have not become a session.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use chat_proto::handshake::TrustedProxies;
use parking_lot::{Mutex, RwLock};
use tracing::info;

use super::{Addresses, CountedAddress, LineLimit};
use crate::{AdmitError, ConnectionLimits};

/// The plain connections of a chat's servers.
#[derive(Debug)]
pub(crate) struct PlainConnections {
    max_per_address: AtomicUsize,
    addresses: Mutex<Addresses>,
    /// Proxies, whose connections are those of many clients.
    proxies: RwLock<Vec<Arc<TrustedProxies>>>,
    refused: AtomicU64,
    lines: Arc<LineLimit>,
}

/// A connection that counts for its address while it serves plain requests. Dropping this value ends that.
/// [`Chat::accept`](crate::Chat::accept) returns it.
#[derive(Debug)]
#[must_use = "a plain connection that is dropped does not count"]
pub struct PlainConnection(Option<(Arc<PlainConnections>, CountedAddress)>);

impl PlainConnections {
    pub(crate) fn new(limits: &ConnectionLimits, lines: Arc<LineLimit>) -> Self {
        Self {
            max_per_address: AtomicUsize::new(limits.max_plain_per_address()),
            addresses: Mutex::default(),
            proxies: RwLock::default(),
            refused: AtomicU64::new(0),
            lines,
        }
    }

    /// Sets the number of connections that one address may have from now on.
    pub(crate) fn set_limits(&self, limits: &ConnectionLimits) {
        self.max_per_address.store(limits.max_plain_per_address(), Ordering::Relaxed);
    }

    /// Counts no connection of these proxies.
    pub(crate) fn exempt(&self, proxies: Arc<TrustedProxies>) {
        if !proxies.is_empty() {
            self.proxies.write().push(proxies);
        }
    }

    pub(crate) fn accept(self: &Arc<Self>, peer: SocketAddr) -> Result<PlainConnection, AdmitError> {
        let max = self.max_per_address.load(Ordering::Relaxed);
        if max == 0 || self.is_exempt(peer.ip().to_canonical()) {
            return Ok(PlainConnection(None));
        }
        let counted = self.addresses.lock().add(peer.ip(), max);
        if let Some(address) = counted {
            return Ok(PlainConnection(Some((Arc::clone(self), address))));
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        if self.lines.record(Some(peer.ip()), 1) {
            info!(%peer, max, "connection refused");
        }
        Err(AdmitError::FullForAddress)
    }

    /// Returns the number of connections that were refused.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn is_exempt(&self, address: IpAddr) -> bool {
        self.proxies.read().iter().any(|proxies| proxies.contains(address))
    }
}

impl Drop for PlainConnection {
    fn drop(&mut self) {
        if let Some((connections, address)) = self.0.take() {
            connections.addresses.lock().remove(address);
        }
    }
}
