//! The connections of a chat, and their users.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::Chat;
use crate::address::PlainConnection;
use crate::session::{Identification, Mechanism, Permit, Reservation, Ticket};
use crate::{AdmitError, Identify, Identity, TrustedProxies, User};

impl Chat {
    /// Admits a user to one session, over any connection.
    ///
    /// [`Endpoint`](crate::Endpoint) calls it for WebSockets. Other transports call it themselves and serve the
    /// session with [`Ticket::serve`].
    ///
    /// ```
    /// use chat_core::{AdmitError, Chat, Identity, Limits, User};
    ///
    /// let limits = Limits::default().with(|limits| limits.connection.max_connections = 1);
    /// let chat = Chat::builder().limits(limits).build();
    /// let ticket = chat.admit(Identity::from(User::new("7", "Ann")?))?;
    /// assert_eq!(ticket.user().map(|user| user.name()), Some("Ann"));
    /// assert_eq!(chat.admit(chat.next_guest()).err(), Some(AdmitError::Full));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`AdmitError::Full`] beyond [`ConnectionLimits::max_connections`](crate::ConnectionLimits::max_connections);
    /// [`AdmitError::FullForUser`] beyond [`ConnectionLimits::max_per_user`](crate::ConnectionLimits::max_per_user);
    /// [`AdmitError::Draining`] once the chat is draining. Addresses are counted only for an
    /// [`Endpoint`](crate::Endpoint).
    pub fn admit(&self, identity: Identity) -> Result<Ticket, AdmitError> {
        self.admit_reserved(self.reserve(None, Mechanism::Other)?, identity, None)
    }

    /// Reserves a connection for a user that is not identified yet.
    pub(crate) fn reserve(
        &self,
        address: Option<IpAddr>,
        mechanism: Mechanism,
    ) -> Result<Reservation, AdmitError> {
        self.shared.sessions.reserve(address, mechanism)
    }

    pub(crate) fn admit_reserved(
        &self,
        reservation: Reservation,
        identity: Identity,
        peer: Option<SocketAddr>,
    ) -> Result<Ticket, AdmitError> {
        let permit = reservation.admit(&identity.user, identity.limits.max_connections)?;
        let mut ticket = self.ticket(permit, Some(&identity.user), peer);
        self.shared.identities.apply(identity, &mut ticket);
        Ok(ticket)
    }

    /// Opens a connection whose user is named by its `hello`.
    pub(crate) fn open_reserved(&self, reservation: Reservation, peer: Option<SocketAddr>) -> Ticket {
        self.ticket(reservation.open(), None, peer)
    }

    fn ticket(&self, permit: Permit, user: Option<&User>, peer: Option<SocketAddr>) -> Ticket {
        let (rooms, reads) = (Arc::clone(&self.shared.rooms), Arc::clone(&self.shared.reads));
        let (limits, lines) =
            (Arc::clone(&self.shared.limits.read()), Arc::clone(&self.shared.lines.upgraded));
        Ticket::new((rooms, limits), reads, lines, permit, user, peer)
    }

    /// Returns the check of credentials by the host, whose users get the rights and the rates of this chat.
    pub(crate) fn identification(&self, identify: Option<Arc<dyn Identify>>) -> Arc<Identification> {
        Arc::new(Identification::new(identify, Arc::clone(&self.shared.identities)))
    }

    /// Counts a connection for the address of its peer, while it serves plain requests. An adapter calls it for each
    /// connection that it accepts, and drops the result when the connection ends or becomes a session: then
    /// [`ConnectionLimits::max_per_address`](crate::ConnectionLimits::max_per_address) counts it. Connections of
    /// [trusted proxies](crate::Endpoint::trust_proxies) do not count.
    ///
    /// ```
    /// use chat_core::{AdmitError, Chat, Limits};
    ///
    /// let limits = Limits::default().with(|limits| {
    ///     limits.connection.max_per_address = 1;
    ///     limits.connection.plain_allowance = 0;
    /// });
    /// let chat = Chat::builder().limits(limits).build();
    /// let connection = chat.accept("192.0.2.7:50000".parse()?)?;
    /// assert_eq!(chat.accept("192.0.2.7:50001".parse()?).err(), Some(AdmitError::FullForAddress));
    /// drop(connection);
    /// assert!(chat.accept("192.0.2.7:50002".parse()?).is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`AdmitError::FullForAddress`] beyond
    /// [`ConnectionLimits::max_plain_per_address`](crate::ConnectionLimits::max_plain_per_address). The adapter closes
    /// the connection.
    pub fn accept(&self, peer: SocketAddr) -> Result<PlainConnection, AdmitError> {
        self.shared.plain.accept(peer)
    }

    /// Trusts proxies, whose connections are those of many clients.
    pub(crate) fn trust_proxies(&self, proxies: Arc<TrustedProxies>) {
        self.shared.plain.exempt(proxies);
    }

    /// Returns the identity of a guest that has not chosen a name: see [`User::unnamed_guest`]. Its id is random, so
    /// it is not used again, not even by another server or after a restart.
    ///
    /// # Panics
    ///
    /// If the operating system has no random numbers.
    pub fn next_guest(&self) -> Identity {
        let random = getrandom::u64().expect("the operating system always has random numbers once it is up");
        User::unnamed_guest(random).into()
    }
}
