use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use parking_lot::Mutex;
use sha1::{Digest, Sha1};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::retention::Retention;

/// The time without a sign of life after which a node is not asked any more.
const MAX_SILENCE: Duration = Duration::from_secs(7);

/// The nodes of the cluster that are there, as far as this node knows.
///
/// One of them is asked to append to a room, so that writers seldom meet. It is only a hint: a node that has another
/// view, or gets no answer, appends itself, and the stream takes one of two records.
#[derive(Debug)]
pub(crate) struct Peers {
    /// The name of this node.
    name: String,
    seen: Mutex<HashMap<String, Sign>>,
    /// Wakes the task that gives the signs of life.
    pub(super) nudge: Notify,
    /// True once this node leaves. It gives no sign of life any more.
    pub(super) has_left: AtomicBool,
}

/// The abilities of a node, as its sign of life names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Abilities {
    /// True if the node can read trims.
    pub(crate) reads_trims: bool,
    /// True if the node removes old messages.
    pub(crate) sweeps: bool,
    /// The limits of what its rooms keep, unless it is of an earlier version.
    pub(crate) retention: Option<Retention>,
}

/// The last sign of life of a node.
#[derive(Debug)]
struct Sign {
    at: Instant,
    abilities: Abilities,
}

impl Sign {
    fn is_recent(&self) -> bool {
        self.at.elapsed() < MAX_SILENCE
    }
}

impl Peers {
    pub(crate) fn new(name: String) -> Self {
        Self { name, seen: Mutex::default(), nudge: Notify::new(), has_left: AtomicBool::default() }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Records a sign of life of another node. Returns the abilities that it had before, or `None` if the node is new.
    pub(crate) fn saw(&self, name: &str, abilities: Abilities) -> Option<Abilities> {
        let mut seen = self.seen.lock();
        seen.retain(|_, sign| sign.is_recent());
        let sign = Sign { at: Instant::now(), abilities };
        seen.insert(name.to_owned(), sign).map(|before| before.abilities)
    }

    /// Returns true if all nodes that are there can read trims.
    pub(crate) fn all_read_trims(&self) -> bool {
        self.seen.lock().values().filter(|sign| sign.is_recent()).all(|sign| sign.abilities.reads_trims)
    }

    /// Returns true if another node of this name is there.
    pub(crate) fn is_there(&self, name: &str) -> bool {
        self.seen.lock().get(name).is_some_and(Sign::is_recent)
    }

    /// Returns the other nodes that are there.
    pub(super) fn alive(&self) -> BTreeSet<String> {
        let seen = self.seen.lock();
        seen.iter().filter(|(_, sign)| sign.is_recent()).map(|(name, _)| name.clone()).collect()
    }

    /// Records that a node does not answer.
    pub(crate) fn lost(&self, name: &str) {
        self.seen.lock().remove(name);
    }

    /// Returns the node that appends to a room, or `None` if it is this one.
    pub(crate) fn of_room(&self, token: &str) -> Option<String> {
        self.chosen(token, |_| true)
    }

    /// Returns the node that removes the old messages of a stream, or `None` if it is this one, which must be able to.
    pub(crate) fn sweeper_of(&self, stream: &str) -> Option<String> {
        self.chosen(stream, |abilities| abilities.sweeps)
    }

    /// Returns one of the other nodes that can do something, or `None` if this one is chosen.
    fn chosen(&self, token: &str, can: impl Fn(Abilities) -> bool) -> Option<String> {
        let seen = self.seen.lock();
        let able = seen.iter().filter(|(_, sign)| sign.is_recent() && can(sign.abilities));
        let alive = able.map(|(name, _)| &**name);
        let chosen = alive.chain([&*self.name]).max_by_key(|name| weight(name, token))?;
        (chosen != self.name).then(|| chosen.to_owned())
    }
}

/// Returns the weight of a node for a room. The highest one of all nodes decides, so that a node that comes or goes
/// moves only its own rooms.
fn weight(name: &str, token: &str) -> [u8; 20] {
    Sha1::new_with_prefix(name).chain_update(" ").chain_update(token).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATEST: Abilities = Abilities { reads_trims: true, sweeps: false, retention: None };

    fn peers(name: &str, others: &[&str]) -> Peers {
        let peers = Peers::new(name.to_owned());
        others.iter().for_each(|other| assert_eq!(peers.saw(other, LATEST), None));
        peers
    }

    #[test]
    fn all_nodes_choose_the_same_node_for_a_room_and_each_node_has_some() {
        let (a, b) = (peers("a", &["b", "c"]), peers("b", &["a", "c"]));
        let mut rooms: HashMap<String, u32> = HashMap::new();
        for number in 0..300 {
            let token = number.to_string();
            let chosen = a.of_room(&token).unwrap_or_else(|| "a".to_owned());
            assert_eq!(b.of_room(&token).unwrap_or_else(|| "b".to_owned()), chosen);
            *rooms.entry(chosen).or_default() += 1;
        }
        assert!(rooms.len() == 3 && rooms.values().all(|count| *count > 60), "{rooms:?}");
    }

    #[test]
    fn a_node_of_an_earlier_version_is_known_until_it_leaves() {
        let a = peers("a", &["b", "c"]);
        assert!(a.all_read_trims());
        let earlier = Abilities { reads_trims: false, ..LATEST };
        assert_eq!(a.saw("b", earlier), Some(LATEST));
        assert!(!a.all_read_trims(), "a node that goes back to an earlier version");
        a.lost("b");
        assert!(a.all_read_trims());
    }

    #[test]
    fn a_node_that_leaves_moves_only_its_own_rooms() {
        let a = peers("a", &["b", "c"]);
        let tokens: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        let before: Vec<_> = tokens.iter().map(|token| a.of_room(token)).collect();
        a.lost("c");
        for (token, before) in tokens.iter().zip(before) {
            let after = a.of_room(token);
            assert!(after == before || before.as_deref() == Some("c"), "{before:?} {after:?}");
        }
    }
}
