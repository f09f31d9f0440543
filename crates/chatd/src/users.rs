//! The options about the users of the chat.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chat_auth::{
    Auth, CacheOptions, KeyCache, KeyFile, KeySet, KeySource, KeyUrl, LoadError, ProxyHeader, Tickets,
    TokenVerifier,
};
use chat_core::{Endpoint, Identify, async_trait};
use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, value_parser};
use parking_lot::Mutex;

/// The header in which a proxy sends its secret.
const SECRET_HEADER: &str = "x-proxy-secret";

#[derive(Clone, Debug, Args)]
pub(crate) struct UserOptions {
    /// Require tokens (JWT) that are signed with the secret in this file, with HS256; repeatable, for example for the
    /// previous secret
    #[arg(long, env = "CHATD_TOKEN_SECRET", value_name = "FILE", action = ArgAction::Append, value_delimiter = ',')]
    token_secret: Vec<PathBuf>,

    /// Require tokens that are signed with the private key of this public key, in a PEM file: RS256, ES256 or EdDSA;
    /// repeatable
    #[arg(long, env = "CHATD_TOKEN_PUBLIC_KEY", value_name = "FILE", action = ArgAction::Append,
          value_delimiter = ',')]
    token_public_key: Vec<PathBuf>,

    /// Require tokens that are signed with a key of this JSON Web Key Set: a file, or a URL with https
    #[arg(long, env = "CHATD_TOKEN_JWKS", value_name = "FILE|URL", hide_env_values = true)]
    token_jwks: Option<String>,

    /// Accept only tokens of this issuer (iss); repeatable [default: all]
    #[arg(long, env = "CHATD_TOKEN_ISSUER", value_name = "ISSUER", action = ArgAction::Append, value_delimiter = ',')]
    token_issuer: Vec<String>,

    /// Accept only tokens for this audience (aud); repeatable [default: tokens without an audience]
    #[arg(long, env = "CHATD_TOKEN_AUDIENCE", value_name = "AUDIENCE", action = ArgAction::Append,
          value_delimiter = ',')]
    token_audience: Vec<String>,

    /// Set the number of seconds by which the clock of an issuer may differ
    #[arg(long, env = "CHATD_TOKEN_LEEWAY", value_name = "SECONDS", default_value = "10",
          value_parser = value_parser!(u32).range(..=300))]
    token_leeway: u32,

    /// Accept the user id that a proxy sends in this header after its own login; needs --proxy-secret
    #[arg(long, env = "CHATD_USER_HEADER", value_name = "NAME", value_parser = header)]
    user_header: Option<String>,

    /// Read the name that other users see from this header of the proxy [default: the user id]
    #[arg(long, env = "CHATD_USER_NAME_HEADER", value_name = "NAME", value_parser = header)]
    user_name_header: Option<String>,

    /// Believe --user-header only in requests that have the secret in this file in the header X-Proxy-Secret
    #[arg(long, env = "CHATD_PROXY_SECRET", value_name = "FILE")]
    proxy_secret: Option<PathBuf>,

    /// Admit each client with a one-time ticket (?ticket=) that a call of the admin listener has issued; needs --admin
    #[arg(long, env = "CHATD_TICKETS", value_parser = BoolishValueParser::new())]
    pub(crate) tickets: bool,

    /// Admit clients without credentials as guests, also on an address that is not a loopback address
    #[arg(long, env = "CHATD_GUESTS", value_parser = BoolishValueParser::new())]
    pub(crate) guests: bool,
}

impl UserOptions {
    /// Returns true if an option names credentials of users.
    pub(crate) fn are_known(&self) -> bool {
        self.have_tokens() || self.user_header.is_some() || self.tickets
    }

    fn have_tokens(&self) -> bool {
        !self.token_secret.is_empty() || !self.token_public_key.is_empty() || self.token_jwks.is_some()
    }

    pub(crate) fn contradictions(&self) -> Vec<(&'static [&'static str], String)> {
        let mut found: Vec<(&'static [&'static str], String)> = Vec::new();
        let mut add = |options: &'static [&'static str], text: &str| found.push((options, text.to_owned()));
        if !self.have_tokens() && !self.token_issuer.is_empty() {
            add(
                &["token_issuer"],
                "--token-issuer: name the keys of tokens with --token-secret or another option",
            );
        }
        if !self.have_tokens() && !self.token_audience.is_empty() {
            add(
                &["token_audience"],
                "--token-audience: name the keys of tokens with --token-secret or another option",
            );
        }
        if self.user_header.is_some() != self.proxy_secret.is_some() {
            add(&["user_header", "proxy_secret"], "--user-header and --proxy-secret: set both or none");
        }
        if self.user_name_header.is_some() && self.user_header.is_none() {
            add(&["user_name_header"], "--user-name-header: name the header of the id with --user-header");
        }
        found
    }

    /// Returns the mistakes in the files of keys and secrets, each with the id of its option. It loads nothing from a
    /// URL.
    pub(crate) fn mistakes_in_files(&self) -> Vec<(&'static [&'static str], String)> {
        let mut found: Vec<(&'static [&'static str], String)> = Vec::new();
        let mut add = |ids: &'static [&'static str], problem: Option<LoadError>| {
            let option = ids.concat().replace('_', "-");
            found.extend(problem.map(|problem| (ids, format!("--{option}: {}", problem.cause()))));
        };
        let read = |file: KeyFile| file.read().err().map(LoadError::new);
        self.token_secret.iter().for_each(|file| add(&["token_secret"], read(KeyFile::secret(file))));
        self.token_public_key.iter().for_each(|file| add(&["token_public_key"], read(KeyFile::pem(file))));
        match self.token_jwks.as_deref() {
            Some(url) if is_url(url) => add(&["token_jwks"], KeyUrl::new(url).err().map(LoadError::new)),
            Some(file) => add(&["token_jwks"], read(KeyFile::jwks(file))),
            None => {}
        }
        if let Some(secret) = &self.proxy_secret {
            let header = self.user_header.as_deref().unwrap_or_default();
            let proxy = ProxyHeader::with_secret_file(header, SECRET_HEADER, secret);
            add(&["proxy_secret"], proxy.err().map(LoadError::new));
        }
        found
    }

    /// Returns the tickets of the process, or `None` without `--tickets`.
    pub(crate) fn tickets(&self) -> Option<Tickets> {
        self.tickets.then(Tickets::default)
    }

    /// Returns the check of credentials, or `None` if each client is a guest. It reads all keys. The tickets are those
    /// of the process, which stay the same when the options are read again.
    ///
    /// # Errors
    ///
    /// The reason why a key cannot be used, with the name of its source.
    pub(crate) async fn open(&self, tickets: Option<Tickets>) -> Result<Option<Auth>, String> {
        if !self.are_known() && tickets.is_none() {
            return Ok(None);
        }
        let mut auth = Auth::new();
        if self.have_tokens() {
            let sources = self.sources()?;
            let name = sources.name();
            let keys = KeyCache::open(sources, CacheOptions::default()).await;
            auth = auth.tokens(
                self.verifier(),
                keys.map_err(|error| format!("cannot load the keys from {name}: {}", error.cause()))?,
            );
            auth = auth.hello_later();
        }
        if let Some(proxy) = self.proxy().map_err(|error| LoadError::new(error).cause())? {
            auth = auth.proxy(proxy);
        }
        if let Some(tickets) = tickets {
            auth = auth.tickets(tickets);
        }
        if self.guests {
            auth = auth.guests();
        }
        Ok(Some(auth))
    }

    fn files(&self) -> impl Iterator<Item = KeyFile> {
        let secrets = self.token_secret.iter().map(KeyFile::secret);
        secrets.chain(self.token_public_key.iter().map(KeyFile::pem))
    }

    fn sources(&self) -> Result<KeySources, String> {
        let mut sources: Vec<Box<dyn KeySource>> = Vec::new();
        for file in self.files() {
            sources.push(Box::new(file));
        }
        match self.token_jwks.as_deref() {
            Some(url) if is_url(url) => {
                let url = KeyUrl::new(url).map_err(|error| format!("--token-jwks: {error}"))?;
                sources.push(Box::new(url));
            }
            Some(file) => sources.push(Box::new(KeyFile::jwks(file))),
            None => {}
        }
        Ok(KeySources(sources))
    }

    fn verifier(&self) -> TokenVerifier {
        let verifier = TokenVerifier::new().leeway(Duration::from_secs(self.token_leeway.into()));
        let verifier = self.token_issuer.iter().fold(verifier, TokenVerifier::issuer);
        self.token_audience.iter().fold(verifier, TokenVerifier::audience)
    }

    fn proxy(&self) -> Result<Option<ProxyHeader>, chat_auth::FileError> {
        let (Some(header), Some(secret)) = (&self.user_header, &self.proxy_secret) else { return Ok(None) };
        let proxy = ProxyHeader::with_secret_file(header, SECRET_HEADER, Path::new(secret))?;
        Ok(Some(match &self.user_name_header {
            Some(name) => proxy.name_header(name),
            None => proxy,
        }))
    }
}

/// The check of credentials that an endpoint uses now. A clone is another handle to it.
#[derive(Clone, Debug, Default)]
pub(crate) struct CurrentUsers(Arc<Mutex<Option<Auth>>>);

impl CurrentUsers {
    /// Replaces the check of an endpoint. The counters go on.
    pub(crate) fn set(&self, endpoint: &Endpoint, auth: Option<Auth>) {
        let mut current = self.0.lock();
        let auth = match &*current {
            Some(replaced) => auth.map(|auth| auth.continuing(replaced)),
            None => auth,
        };
        endpoint.set_identify(auth.clone().map(|auth| Arc::new(auth) as Arc<dyn Identify>));
        if auth.is_some() {
            *current = auth;
        }
    }

    /// Publishes the counters to the recorder of metrics.
    pub(crate) fn publish_metrics(&self) {
        if let Some(auth) = &*self.0.lock() {
            auth.publish_metrics();
        }
    }
}

/// Several sources of keys. If one fails, the keys of all stay as they were.
struct KeySources(Vec<Box<dyn KeySource>>);

#[async_trait]
impl KeySource for KeySources {
    fn name(&self) -> String {
        self.0.iter().map(|source| source.name()).collect::<Vec<_>>().join(", ")
    }

    async fn load(&self) -> Result<KeySet, LoadError> {
        let mut sets = Vec::new();
        for source in &self.0 {
            sets.push(source.load().await?);
        }
        KeySet::concat(sets).map_err(LoadError::new)
    }
}

fn is_url(jwks: &str) -> bool {
    jwks.contains("://")
}

/// Parses the name of a header, and returns it in lower case.
fn header(text: &str) -> Result<String, &'static str> {
    let is_in_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if text.is_empty() || !text.bytes().all(is_in_name) {
        return Err("a header is a name like X-User");
    }
    Ok(text.to_ascii_lowercase())
}
