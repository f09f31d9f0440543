//! Requests of one node to another one to store something, some of which come too late.

use std::sync::Arc;
use std::time::Duration;

use chat_core::{Act, ChangeError, Limits, NewAct, Role, Room, Standing};
use tokio::time::sleep;

use super::quiet::{node, open, run, send};
use super::schedule::user;
use super::world::Model;
use crate::JetStreamStore;

/// The time after which a node without a sign of life is not asked any more.
const FORGOTTEN: Duration = Duration::from_secs(8);

/// Opens a room for which the other node is asked.
async fn asked_room(store: &JetStreamStore, limits: &Limits) -> Arc<dyn Room> {
    for number in 0.. {
        let (room, before) = (open(store, &format!("room-{number}"), limits).await, store.stats().routed);
        send(&room, "hi").await;
        if store.stats().routed > before {
            return room;
        }
    }
    unreachable!("each node is asked for some rooms")
}

async fn set_role(room: &Arc<dyn Room>, role: Role) -> Result<(), ChangeError> {
    let act = NewAct::new(user(9), Act::Role { user: user(1), role }).by_host();
    room.govern(act).await.map(drop)
}

async fn standing(room: &Arc<dyn Room>) -> Standing {
    room.standing(&user(1).key()).await.expect("a standing").1
}

/// Cuts the node off that is asked for the room, gives a user a role, and takes it away again. All of it takes less time
/// than a node needs to give its connection up.
async fn give_and_take(model: &Model, room: &Arc<dyn Room>, limits: &Limits) {
    model.act(|world| world.cut(1, true));
    assert!(matches!(set_role(room, Role::Moderator).await, Err(ChangeError::Unavailable(_))));
    sleep(FORGOTTEN - limits.rooms.call_timeout).await;
    set_role(room, Role::Moderator).await.expect("a receipt");
    set_role(room, Role::Member).await.expect("a receipt");
}

#[test]
fn a_role_whose_first_try_comes_too_late_does_not_come_back() {
    run(|model| async move {
        let limits = Limits::default();
        let (one, other) = (node(&model, 0, &limits).await, node(&model, 0, &limits).await);
        let _open = open(&other, "hall", &limits).await;
        sleep(Duration::from_secs(3)).await;
        let room = asked_room(&one, &limits).await;
        give_and_take(&model, &room, &limits).await;
        assert_eq!(standing(&room).await.role, Role::Member);
        model.act(|world| world.cut(1, false));
        sleep(Duration::from_secs(10)).await;
        assert_eq!(standing(&room).await.role, Role::Member, "the first try was stored");
        // From then on, the other node is asked as before.
        let before = one.stats().routed;
        sleep(FORGOTTEN).await;
        send(&room, "on").await;
        assert_eq!(one.stats().routed, before + 1);
    });
}
