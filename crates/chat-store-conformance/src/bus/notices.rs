//! The notices, as a node gets them.

use std::collections::BTreeSet;
use std::time::Instant;

use chat_core::{Bus, NodePresence, Notice, Role, RosterEntry, User, UserKey};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::stage::typing;
use super::{Case, Heard, Node, Stage};
use crate::{Failure, TIME_LIMIT, Verdict};

/// The users of a large room.
const LARGE: usize = 12_000;

chat_suite::cases!(
    /// Each node hears of each other node, of those that connected before it and of those that connect later.
    #[source = "chat_core::Bus, Nodes"]
    async fn nodes_hear_of_each_other(stage: Stage) -> Verdict {
        stage.nodes(["a", "b", "c"]).await.map(drop)
    }

    /// A notice reaches each other node, with the name of the node that published it.
    #[source = "chat_core::Bus, Loss"]
    async fn a_notice_reaches_each_other_node(stage: Stage) -> Verdict {
        let nodes = stage.nodes(["a", "b", "c"]).await?;
        for sender in &nodes {
            let notice = typing(sender.id().as_str());
            sender.publish(&notice);
            for receiver in nodes.iter().filter(|node| node.id() != sender.id()) {
                receiver.hears(&Heard::Notice(sender.id().clone(), notice.clone())).await?;
            }
        }
        Ok(())
    }

    /// Each kind of notice arrives as it was published: also that a user is a guest, and an empty roster.
    #[source = "chat_core::Bus, Loss"]
    async fn each_kind_of_notice_arrives_unchanged(stage: Stage) -> Verdict {
        let nodes = stage.nodes(["a", "b"]).await?;
        for notice in each_kind(&nodes[1]) {
            nodes[0].publish(&notice);
            nodes[1].hears(&Heard::Notice(nodes[0].id().clone(), notice)).await?;
        }
        Ok(())
    }

    /// The users of a large room arrive as they were published.
    #[source = "chat_core::Bus, Loss"]
    async fn a_large_roster_arrives_unchanged(stage: Stage) -> Verdict {
        let nodes = stage.nodes(["a", "b"]).await?;
        let notice = large_roster(&nodes[1]);
        nodes[0].publish(&notice);
        let expected = Heard::Notice(nodes[0].id().clone(), notice);
        let expectation = format!("a roster of {LARGE} users on node b");
        nodes[1].hears_all(&expectation, |heard| heard.contains(&expected)).await
    }

    /// All of 2,000 notices that two nodes publish at once arrive at the third.
    #[source = "chat_core::Bus, Loss"]
    async fn no_notice_of_a_burst_is_lost(stage: Stage) -> Verdict {
        let nodes = stage.nodes(["a", "b", "c"]).await?;
        let burst = |node: &Node| {
            let (publish, name) = (node.publisher(), node.id().to_string());
            spawn_blocking(move || (0..1_000).for_each(|number| publish(&typing(&format!("{name}{number}")))))
        };
        let bursts = tokio::try_join!(burst(&nodes[0]), burst(&nodes[1]));
        bursts.map_err(|panic| Failure::new("publishing without a panic", panic))?;
        let expectation = "2,000 different notices, each at least once";
        let (mut different, mut examined) = (BTreeSet::new(), 0);
        let has_all = |heard: &[Heard]| {
            different.extend(heard[examined..].iter().filter_map(encoded));
            examined = heard.len();
            different.len() == 2_000
        };
        nodes[2].hears_all(expectation, has_all).await
    }

    /// A sink may publish from within its call. The answer arrives.
    #[source = "chat_core::Bus, Publish"]
    async fn a_sink_can_publish(stage: Stage) -> Verdict {
        let (question, answer) = (typing("question"), typing("answer"));
        let (asked, answered) = (question.clone(), answer.clone());
        let a = stage.node("a").await;
        let b: chat_core::NodeId = "b".parse().map_err(|error| Failure::new("a name", error))?;
        let id = b.clone();
        let react = move |bus: &dyn Bus, notice: &Notice| {
            if *notice == asked {
                bus.publish(&id, &answered);
            }
        };
        let _b = stage.node_with("b", react).await;
        a.hears(&Heard::Joined(b.clone())).await?;
        a.publish(&question);
        a.hears(&Heard::Notice(b, answer)).await
    }

    /// A publish returns although no other node can be reached.
    #[source = "chat_core::Bus, Publish"]
    async fn a_publish_does_not_wait_for_a_lost_node(stage: Stage) -> Verdict {
        let nodes = stage.nodes(["a", "b"]).await?;
        stage.lose("b").await;
        let publish = nodes[0].publisher();
        let publishing = spawn_blocking(move || (0..1_000).for_each(|_| publish(&typing("ann"))));
        let returned = timeout(TIME_LIMIT, publishing).await;
        returned.is_ok_and(|returned| returned.is_ok()).then_some(()).ok_or_else(|| {
            Failure::new("1,000 calls that return", format!("they did not within {TIME_LIMIT:?}"))
        })
    }

    /// A node that disconnects leaves after what it has published has arrived. A repeat changes nothing.
    #[source = "chat_core::Bus, End"]
    async fn a_node_that_disconnects_leaves(stage: Stage) -> Verdict {
        let nodes = stage.nodes(["a", "b", "c"]).await?;
        let notice = typing("ann");
        nodes[0].publish(&notice);
        nodes[0].disconnect().await?;
        let (notice, left) =
            (Heard::Notice(nodes[0].id().clone(), notice), Heard::Left(nodes[0].id().clone()));
        for node in &nodes[1..] {
            let expectation = format!("{notice:?}, and then {left:?} on node {}", node.id());
            let is_first = |heard: &[Heard]| {
                let place = |wanted| heard.iter().position(|heard| heard == wanted);
                place(&notice).zip(place(&left)).is_some_and(|(notice, left)| notice < left)
            };
            node.hears_all(&expectation, is_first).await?;
        }
        nodes[0].disconnect().await
    }

    /// No notice was on its way for longer than since it was published.
    #[source = "chat_core::Bus, Delay"]
    async fn a_delay_is_never_too_long(stage: Stage) -> Verdict {
        let nodes = stage.nodes(["a", "b"]).await?;
        let published = Instant::now();
        for number in 0..100 {
            let notice = typing(&number.to_string());
            nodes[0].publish(&notice);
            nodes[1].hears(&Heard::Notice(nodes[0].id().clone(), notice)).await?;
        }
        let delay = nodes[1].longest_delay();
        if delay > published.elapsed() {
            return Err(Failure::new("a delay within the time of the test", format!("{delay:?}")));
        }
        Ok(())
    }

    /// A notice that a node gets back is named as its own.
    #[source = "chat_core::Bus, Echo"]
    async fn an_echo_names_its_sender(stage: Stage) -> Verdict {
        let nodes = stage.nodes(["a", "b"]).await?;
        let notice = typing("ann");
        nodes[0].publish(&notice);
        nodes[1].hears(&Heard::Notice(nodes[0].id().clone(), notice.clone())).await?;
        for heard in nodes[0].heard() {
            if let Heard::Notice(from, echo) = &heard
                && *echo == notice
            {
                crate::cases::same(from, nodes[0].id())?;
            }
        }
        Ok(())
    }

    /// A node that is separated has left, for the others and in its own view, and joins again later.
    #[source = "chat_core::Bus, Nodes"]
    async fn a_lost_node_leaves_and_joins_again(stage: Stage) -> Verdict {
        let nodes = stage.nodes(["a", "b", "c"]).await?;
        let [a, b, c] = &nodes[..] else { return Ok(()) };
        stage.lose("c").await;
        for (node, lost) in [(a, c), (b, c), (c, a), (c, b)] {
            node.hears(&Heard::Left(lost.id().clone())).await?;
        }
        nodes.iter().for_each(Node::forget);
        stage.restore("c").await;
        for (node, returned) in [(a, c), (b, c), (c, a), (c, b)] {
            node.hears(&Heard::Joined(returned.id().clone())).await?;
        }
        let notice = typing("ann");
        c.publish(&notice);
        for node in [a, b] {
            node.hears(&Heard::Notice(c.id().clone(), notice.clone())).await?;
        }
        Ok(())
    }
);

fn encoded(heard: &Heard) -> Option<Vec<u8>> {
    match heard {
        Heard::Notice(_, notice) => Some(notice.encode()),
        _ => None,
    }
}

/// Returns the roster of a large room for a node. Its names have characters that JSON escapes, and others.
fn large_roster(to: &Node) -> Notice {
    let users = (0..LARGE).map(|number| {
        let (id, name) = (format!("{number:08}-{}", "0".repeat(64)), format!("\"\\ 로비 {number}"));
        RosterEntry::new(User::new(&id, &name).expect("a valid name"), Role::None)
    });
    let room = "lobby".parse().expect("a valid name");
    Notice::Roster { to: to.id().clone(), room, users: users.collect(), version: 7 }
}

/// Returns a notice of each kind for a node.
fn each_kind(to: &Node) -> Vec<Notice> {
    let room: chat_core::RoomName = "로비-1".parse().expect("a valid name");
    let guest = User::guest("é Ann").expect("a valid name");
    let user = User::new("é Ann", "Ann").expect("a valid name");
    let to = to.id().clone();
    let presence = |user: &User, state, role| Notice::Presence {
        room: room.clone(),
        user: user.clone(),
        state,
        role,
        version: u64::MAX,
    };
    vec![
        presence(&guest, NodePresence::Connected, Role::None),
        presence(&user, NodePresence::Connected, Role::Owner),
        presence(&user, NodePresence::Disconnected, Role::None),
        presence(&guest, NodePresence::Left, Role::None),
        Notice::Typing { room: room.clone(), user: guest.clone(), active: false },
        Notice::Read {
            room: room.clone(),
            user: guest.clone(),
            epoch: "e".to_owned(),
            seq: 7,
            receipt: true,
        },
        Notice::Followed { room: room.clone(), user: guest.key(), on: false },
        Notice::Followed { room: room.clone(), user: user.key(), on: true },
        Notice::Activity { room: room.clone() },
        Notice::Kick { user: UserKey::new("7"), version: 1 },
        Notice::Kick { user: guest.key(), version: u64::MAX },
        Notice::RosterRequest { to: None, rooms: vec![room.clone()] },
        Notice::RosterRequest { to: Some(to.clone()), rooms: vec![room.clone(); 100] },
        Notice::Roster { to: to.clone(), room: room.clone(), users: Vec::new(), version: 1 },
        Notice::Roster {
            to,
            room: room.clone(),
            users: vec![RosterEntry::new(guest, Role::None), RosterEntry::new(user, Role::Moderator)],
            version: 2,
        },
    ]
}
