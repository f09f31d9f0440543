use std::net::SocketAddr;
use std::sync::Arc;

use chat_core::{
    Action, Authorize, Chat, Denied, Endpoint, Forbidden, Identify, IdentifyRequest, Identity, Role,
    RoomName, User, async_trait,
};
use serde_json::json;

use crate::{Peer, start_on};

/// A host whose tokens are the id of a user and a role: `ann:member`. The name of the user is the id in upper case.
#[derive(Clone, Copy, Debug)]
pub struct RoleTokens;

#[async_trait]
impl Identify for RoleTokens {
    async fn identify(&self, request: &IdentifyRequest<'_>) -> Result<Identity, Denied> {
        self.hello(&request.query("token").unwrap_or_default(), None).await
    }

    async fn hello(&self, token: &str, _: Option<SocketAddr>) -> Result<Identity, Denied> {
        let (id, role) = token.split_once(':').ok_or(Denied::Unauthorized)?;
        let user = User::new(id, &id.to_uppercase()).map_err(|_| Denied::Unauthorized)?;
        let mut identity = Identity::from(user);
        identity.rights = Some(Arc::new(Granted(serde_json::from_value(json!(role)).expect("a role"))));
        Ok(identity)
    }
}

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

/// Returns the session of a user with a token of [`RoleTokens`], after its welcome.
pub async fn connect_with_role(chat: &Chat, token: &str) -> Peer {
    let endpoint = Endpoint::new(chat.clone()).identify(RoleTokens);
    let mut peer = start_on(&endpoint, &format!("/ws?token={token}")).await;
    assert_eq!(peer.event().await["type"], "welcome");
    peer
}

/// Returns the session of a user with a token of [`RoleTokens`] that has joined the lobby.
pub async fn member_with_role(chat: &Chat, token: &str) -> Peer {
    let mut peer = connect_with_role(chat, token).await;
    peer.join("lobby").await;
    peer
}
