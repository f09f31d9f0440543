use chat_proto::Limits;
use chat_proto::handshake::{Accept, OriginPolicy, Refusal, RequestHead, Version, decide};

pub(crate) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// A builder of requests: a valid request, with lines removed and added.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) version: Version,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
}

impl Request {
    pub(crate) fn good() -> Self {
        let headers = [
            ("Host", "chat.example"),
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Key", KEY),
            ("Sec-WebSocket-Version", "13"),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.into())).to_vec();
        Self { method: "GET".to_owned(), version: Version::Http11, target: "/ws".to_owned(), headers }
    }

    pub(crate) fn method(mut self, method: &str) -> Self {
        method.clone_into(&mut self.method);
        self
    }

    pub(crate) fn version(mut self, version: Version) -> Self {
        self.version = version;
        self
    }

    pub(crate) fn target(mut self, target: &str) -> Self {
        target.clone_into(&mut self.target);
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
        self
    }

    pub(crate) fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    pub(crate) fn set(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.without(name).with(name, value)
    }

    pub(crate) fn head(&self) -> RequestHead<'_> {
        RequestHead {
            method: &self.method,
            version: self.version,
            target: &self.target,
            headers: self.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect(),
        }
    }

    pub(crate) fn decide(&self) -> Result<Accept, Refusal> {
        self.decide_under(&OriginPolicy::SameOrigin)
    }

    pub(crate) fn decide_under(&self, origins: &OriginPolicy) -> Result<Accept, Refusal> {
        decide(&self.head(), origins, &Limits::default())
    }
}
