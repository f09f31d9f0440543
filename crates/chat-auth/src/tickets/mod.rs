use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chat_core::{Identity, UserKey};
use parking_lot::Mutex;
use subtle::ConstantTimeEq;
use tokio::time::Instant;

/// Bytes that find a ticket, and bytes that prove it.
const ID_BYTES: usize = 16;
const SECRET_BYTES: usize = 32;

/// Redeemed tickets that stay in the order of expiry, beside one for each valid ticket.
const MAX_REDEEMED: usize = 64;

/// One-time tickets, for clients that can send neither a header nor a subprotocol.
///
/// A handler of the host, which knows the user, issues a ticket. The client connects with `?ticket=` within 30 s.
/// The ticket is in memory, so the client must reach the process that has issued it. A clone is another handle to the
/// same tickets.
///
/// ```
/// use chat_auth::Tickets;
/// use chat_core::{Identity, User};
///
/// let tickets = Tickets::default();
/// let ticket = tickets.issue(Identity::from(User::new("7", "Ann")?))?;
/// assert_eq!(tickets.redeem(&ticket).map(|identity| identity.user.id().to_owned()).as_deref(), Some("7"));
/// assert!(tickets.redeem(&ticket).is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct Tickets(Arc<Shared>);

/// Limits of [`Tickets`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TicketLimits {
    /// Time for which a ticket is valid. Default 30 s.
    pub lifetime: Duration,
    /// Tickets that are valid at the same time. Default 10,000.
    pub max_tickets: usize,
    /// Tickets of one user that are valid at the same time. Default 16.
    pub max_per_user: usize,
}

/// A ticket that was not issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TicketError {
    /// There are [`TicketLimits::max_tickets`].
    #[error("there are too many tickets")]
    Full,
    /// The user has [`TicketLimits::max_per_user`].
    #[error("the user has too many tickets")]
    FullForUser,
    /// The clock cannot count up to [`TicketLimits::lifetime`].
    #[error("the lifetime of tickets is too long")]
    Lifetime,
    /// The operating system has no random numbers.
    #[error("the operating system has no random numbers")]
    Random,
}

#[derive(Default)]
struct Shared {
    limits: TicketLimits,
    valid: Mutex<Valid>,
}

/// The tickets that are valid.
#[derive(Default)]
struct Valid {
    tickets: HashMap<[u8; ID_BYTES], Issued>,
    /// The tickets in the order in which they expire. Some may have been redeemed.
    order: VecDeque<(Instant, [u8; ID_BYTES])>,
    per_user: HashMap<UserKey, usize>,
}

/// The content of a ticket.
struct Issued {
    secret: [u8; SECRET_BYTES],
    identity: Identity,
}

impl Default for TicketLimits {
    fn default() -> Self {
        Self { lifetime: Duration::from_secs(30), max_tickets: 10_000, max_per_user: 16 }
    }
}

impl TicketLimits {
    /// Returns these limits after `change`.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
}

impl Tickets {
    /// Returns tickets with these limits.
    pub fn new(limits: TicketLimits) -> Self {
        Self(Arc::new(Shared { limits, valid: Mutex::default() }))
    }

    /// Returns the limits.
    pub fn limits(&self) -> TicketLimits {
        self.0.limits
    }

    /// Issues a ticket for one connection of this identity. It has 64 characters that need no escape in a URL.
    ///
    /// # Errors
    ///
    /// [`TicketError`] beyond a limit.
    pub fn issue(&self, identity: Identity) -> Result<String, TicketError> {
        let mut bytes = [0; ID_BYTES + SECRET_BYTES];
        getrandom::fill(&mut bytes).map_err(|_| TicketError::Random)?;
        let (id, secret) = split(&bytes);
        let (limits, user) = (&self.0.limits, identity.user.key());
        let mut valid = self.0.valid.lock();
        valid.forget_expired();
        if valid.tickets.len() >= limits.max_tickets {
            return Err(TicketError::Full);
        }
        let count = valid.per_user.get(&user).copied().unwrap_or_default();
        if count >= limits.max_per_user {
            return Err(TicketError::FullForUser);
        }
        let until = Instant::now().checked_add(limits.lifetime).ok_or(TicketError::Lifetime)?;
        valid.per_user.insert(user, count + 1);
        valid.order.push_back((until, id));
        valid.tickets.insert(id, Issued { secret, identity });
        Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Returns the identity of a ticket, and ends the ticket. Of several calls at the same time, one gets the identity.
    pub fn redeem(&self, ticket: &str) -> Option<Identity> {
        let mut bytes = [0; ID_BYTES + SECRET_BYTES];
        let length = BASE64_URL_SAFE_NO_PAD.decode_slice(ticket, &mut bytes).ok()?;
        if length != bytes.len() {
            return None;
        }
        let (id, secret) = split(&bytes);
        let mut valid = self.0.valid.lock();
        valid.forget_expired();
        // The time of the search depends on the id only, which proves nothing.
        let is_right: bool = valid.tickets.get(&id)?.secret.ct_eq(&secret).into();
        let identity = is_right.then(|| valid.remove(&id)).flatten();
        valid.forget_redeemed();
        identity
    }
}

impl Valid {
    fn forget_expired(&mut self) {
        let now = Instant::now();
        while let Some((_, id)) = self.order.front().copied().filter(|(until, _)| *until <= now) {
            self.order.pop_front();
            drop(self.remove(&id));
        }
    }

    /// Bounds `order` by the number of tickets, at a cost per call that is constant on average.
    fn forget_redeemed(&mut self) {
        if self.order.len() > 2 * self.tickets.len() + MAX_REDEEMED {
            self.order.retain(|(_, id)| self.tickets.contains_key(id));
        }
    }

    fn remove(&mut self, id: &[u8; ID_BYTES]) -> Option<Identity> {
        let Issued { identity, .. } = self.tickets.remove(id)?;
        let user = identity.user.key();
        match self.per_user.get_mut(&user) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(self.per_user.remove(&user)),
        }
        Some(identity)
    }
}

fn split(bytes: &[u8; ID_BYTES + SECRET_BYTES]) -> ([u8; ID_BYTES], [u8; SECRET_BYTES]) {
    let (mut id, mut secret) = ([0; ID_BYTES], [0; SECRET_BYTES]);
    id.copy_from_slice(&bytes[..ID_BYTES]);
    secret.copy_from_slice(&bytes[ID_BYTES..]);
    (id, secret)
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let valid = self.0.valid.lock().tickets.len();
        f.debug_struct("Tickets").field("limits", &self.0.limits).field("valid", &valid).finish()
    }
}

#[cfg(test)]
mod tests;
