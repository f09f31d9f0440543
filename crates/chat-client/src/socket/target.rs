use std::net::IpAddr;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Request, Uri};

use crate::{ConnectError, TokenSource};

/// The server to connect to, and the settings of the connection.
#[derive(Clone, Debug)]
pub struct Target {
    /// `ws://host:port/path`, or `wss://host:port/path` with TLS.
    pub url: String,
    /// The guest's name. Without one, the server chooses.
    pub name: Option<String>,
    /// The source of the tokens. A token is sent in `Authorization`.
    pub token: Option<TokenSource>,
    /// The root certificates to trust. By default, those of the operating system.
    #[cfg(feature = "tls")]
    pub roots: Option<crate::Roots>,
    /// The address of this machine to connect from. By default, the system chooses one.
    pub local_address: Option<IpAddr>,
    /// Bytes of the largest event. A server that sends more breaks the protocol. Default 1 MiB.
    pub max_event: usize,
    /// Bytes of the read buffer of the connection. Default 8 KiB.
    pub read_buffer: usize,
    /// Bytes of the kernel's receive buffer. By default, the system chooses.
    pub receive_buffer: Option<u32>,
    /// True to offer the subprotocol `chat.v1`. Default true.
    pub offer: bool,
}

impl Target {
    /// Creates a target with the default settings.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            name: None,
            token: None,
            #[cfg(feature = "tls")]
            roots: None,
            local_address: None,
            max_event: 1024 * 1024,
            read_buffer: 8 * 1024,
            receive_buffer: None,
            offer: true,
        }
    }

    pub(super) fn request(&self) -> Result<Request<()>, ConnectError> {
        const ADDRESS: ConnectError =
            ConnectError::Address("it must have the form ws://host:port/ws or wss://host:port/ws");
        let mut url = self.url.clone();
        if let Some(name) = &self.name {
            let separator = if url.contains('?') { '&' } else { '?' };
            url = format!("{url}{separator}name={}", utf8_percent_encode(name, NON_ALPHANUMERIC));
        }
        let mut request = url.into_client_request().map_err(|_| ADDRESS)?;
        match request.uri().scheme_str() {
            Some("wss") if !cfg!(feature = "tls") => {
                return Err(ConnectError::Address(
                    "this build has no TLS; it needs the feature `tls` of chat-client",
                ));
            }
            Some("ws" | "wss") if port(request.uri()).is_some() => {}
            _ => return Err(ADDRESS),
        }
        if self.offer {
            let offered = HeaderValue::from_static(chat_proto::SUBPROTOCOL);
            request.headers_mut().insert("sec-websocket-protocol", offered);
        }
        if let Some(token) = &self.token {
            let credentials = HeaderValue::try_from(format!("Bearer {}", token.newest()));
            let mut credentials = credentials.map_err(|_| ConnectError::Token)?;
            credentials.set_sensitive(true);
            request.headers_mut().insert("authorization", credentials);
        }
        Ok(request)
    }
}

/// Returns the port, or `None` if it is invalid. `http` does not distinguish an invalid port from a missing one.
pub(super) fn port(uri: &Uri) -> Option<u16> {
    let authority = uri.authority()?;
    let default = if has_tls(uri) { 443 } else { 80 };
    if authority.as_str().ends_with(authority.host()) { Some(default) } else { authority.port_u16() }
}

pub(super) fn has_tls(uri: &Uri) -> bool {
    uri.scheme_str() == Some("wss")
}
