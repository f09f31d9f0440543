//! The host service of the cases about identity and rights.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use chat_core::{
    Action, Authorize, Builder, Change, Denied, Endpoint, Forbidden, Identify, IdentifyRequest, Identity,
    Role, RoomName, Unavailable, User,
};

use serde_json::value::RawValue;

use super::*;

/// The room that only the user `boss` may join, and the id of a user to whom only that one may write. That user is a
/// moderator of each room.
pub(super) const STAFF: &str = "staff";

/// The text of a message that the host rejects, and the id of a user with whom nobody has a direct room.
pub(super) const SPAM: &str = "spam";

/// The `detail` of that rejection.
pub(super) const DETAIL: &str = "no advertising";

/// A name of a room, and a text, about which the host never decides.
pub(super) const HANGING: &str = "hanging";

/// A name of a room, and a text, for which the host's decision fails.
pub(super) const FAILING: &str = "failing";

/// The name of a user whose credentials expire soon.
pub(super) const EXPIRING: &str = "expiring";

/// The name of a user whose credentials expire after [`BRIEF_TIME`].
pub(super) const BRIEF: &str = "brief";

/// The time for which the credentials of that user are valid. It is shorter than the notice of their end.
pub(super) const BRIEF_TIME: Duration = Duration::from_secs(2);

/// An identity check: the token `<id>:<name>` is the user, and `<id>:<name>:<role>` gives a role in all rooms too.
pub(super) fn with_tokens(endpoint: Endpoint) -> Endpoint {
    endpoint.identify(Tokens { has_hello: false })
}

/// An identity check as [`with_tokens`], for which the token may follow in a `hello`.
pub(super) fn with_hello(endpoint: Endpoint) -> Endpoint {
    endpoint.identify(Tokens { has_hello: true })
}

/// The rights of users: see the constants above.
pub(super) fn with_rights(builder: Builder) -> Builder {
    builder.authorize(Rights)
}

/// A handshake with a bearer token.
pub(super) fn with_token(stage: &Stage, token: &str) -> Request {
    stage.handshake("visitor").add("Authorization", &format!("Bearer {token}"))
}

struct Tokens {
    has_hello: bool,
}

#[async_trait]
impl Identify for Tokens {
    async fn identify(&self, request: &IdentifyRequest<'_>) -> Result<Identity, Denied> {
        match request.header("authorization").and_then(|value| value.strip_prefix("Bearer ")) {
            Some(token) => self.hello(token, request.peer()).await,
            None if self.has_hello => Err(Denied::HelloRequired),
            None => Err(Denied::Unauthorized),
        }
    }

    async fn hello(&self, token: &str, _: Option<SocketAddr>) -> Result<Identity, Denied> {
        match token {
            FAILING => Err(Unavailable::new("the users cannot be read").into()),
            HANGING => pending().await,
            token => {
                let (id, name) = token.split_once(':').ok_or(Denied::Unauthorized)?;
                let (name, role) = name.split_once(':').unwrap_or((name, "none"));
                let user = User::new(id, name).map_err(|_| Denied::Unauthorized)?;
                let mut identity = Identity::from(user);
                let role = serde_json::from_value(json!(role)).map_err(|_| Denied::Unauthorized)?;
                if role != Role::None {
                    identity.rights = Some(Arc::new(Granted(role)));
                }
                let valid = match name {
                    EXPIRING => Some(millis(300)),
                    BRIEF => Some(BRIEF_TIME),
                    _ => None,
                };
                identity.expires_at = valid.map(|valid| SystemTime::now() + valid);
                Ok(identity)
            }
        }
    }
}

/// The role of a token.
struct Granted(Role);

#[async_trait]
impl Authorize for Granted {
    async fn authorize(&self, _: &User, _: &RoomName, _: &Action<'_>) -> Result<(), Forbidden> {
        Ok(())
    }

    async fn role(&self, _: &User, _: &RoomName) -> Result<Role, Forbidden> {
        Ok(self.0)
    }
}

struct Rights;

#[async_trait]
impl Authorize for Rights {
    async fn authorize(&self, user: &User, room: &RoomName, action: &Action<'_>) -> Result<(), Forbidden> {
        let body: Value = match action {
            Action::Send { body, .. } => body_of(body),
            Action::Change { change: Change::Edit { body }, .. } => body_of(body),
            Action::Direct { with } => json!({ "text": with }),
            _ => Value::Null,
        };
        let subject = body["text"].as_str().unwrap_or(room.as_str());
        match subject {
            STAFF if user.name() != "boss" => Err(Forbidden::Rights),
            SPAM => Err(Forbidden::Rejected(DETAIL.to_owned())),
            FAILING => Err(Unavailable::new("the rights cannot be read").into()),
            HANGING => pending().await,
            _ => Ok(()),
        }
    }

    async fn role(&self, user: &User, _: &RoomName) -> Result<Role, Forbidden> {
        Ok(if user.name() == "boss" { Role::Moderator } else { Role::None })
    }
}

fn body_of(body: &RawValue) -> Value {
    serde_json::from_str(body.get()).unwrap_or_default()
}
