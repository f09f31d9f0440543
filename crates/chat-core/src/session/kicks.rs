use std::collections::{BTreeMap, HashMap};

use crate::{NodeId, UserKey};

/// The maximum number of kicks that are remembered.
const MAX_KICKS: usize = 4_096;

/// The last kicks of other nodes. A bus may repeat a notice, and the user may have connected again meanwhile.
///
/// A kick that is not remembered counts as new: a repeated kick does less harm than a lost one.
#[derive(Debug, Default)]
pub(super) struct RemoteKicks {
    /// The version of the last kick of each user by each node, and its number in the order of arrival.
    last: HashMap<(NodeId, UserKey), (u64, u64)>,
    order: BTreeMap<u64, (NodeId, UserKey)>,
    arrived: u64,
}

impl RemoteKicks {
    /// Records a kick. Returns false if it is a repeated one, or older than another one of the same user.
    pub(super) fn is_new(&mut self, node: &NodeId, user: &UserKey, version: u64) -> bool {
        let key = (node.clone(), user.clone());
        if let Some((known, number)) = self.last.get(&key) {
            if version <= *known {
                return false;
            }
            self.order.remove(number);
        }
        self.arrived += 1;
        self.last.insert(key.clone(), (version, self.arrived));
        self.order.insert(self.arrived, key);
        if self.order.len() > MAX_KICKS
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.last.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_newer_kick_of_a_node_is_new_and_the_memory_is_bounded() {
        let [a, b]: [NodeId; 2] = ["a", "b"].map(|name| name.parse().unwrap());
        let (ann, bob, mut kicks) = (UserKey::new("ann"), UserKey::new("bob"), RemoteKicks::default());
        assert!(kicks.is_new(&a, &ann, 5));
        assert!(!kicks.is_new(&a, &ann, 5) && !kicks.is_new(&a, &ann, 4));
        assert!(kicks.is_new(&a, &bob, 4), "notices arrive in any order");
        assert!(kicks.is_new(&b, &ann, 1) && kicks.is_new(&a, &ann, 6));
        for version in 7..10_000 {
            assert!(kicks.is_new(&a, &UserKey::new(&version.to_string()), version));
            assert!(kicks.is_new(&a, &ann, version) && !kicks.is_new(&a, &ann, version));
        }
        assert_eq!((kicks.last.len(), kicks.order.len()), (MAX_KICKS, MAX_KICKS));
    }
}
