use std::collections::BTreeMap;
use std::sync::Arc;

use chat_core::{NewAct, PurgePlaces, RoomName, Unavailable};
use parking_lot::Mutex;

/// The purges that a node carries out, by their ids. A clone is another handle to them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Purging(Arc<Mutex<BTreeMap<u64, (RoomName, NewAct)>>>);

/// The place of a purge. It is free when this value is dropped.
#[derive(Debug)]
pub(crate) struct PurgePlace {
    purging: Arc<Mutex<BTreeMap<u64, (RoomName, NewAct)>>>,
    id: u64,
}

impl Purging {
    /// Takes a place for a purge.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] if too many go on.
    pub(crate) fn enter(&self, id: u64, room: &RoomName, act: &NewAct) -> Result<PurgePlace, Unavailable> {
        let mut purging = self.0.lock();
        let going_on = purging.values().map(|(room, act)| (room, act));
        PurgePlaces::default().check(going_on, room, act).map_err(Unavailable::over_quota)?;
        purging.insert(id, (room.clone(), act.clone()));
        Ok(PurgePlace { purging: Arc::clone(&self.0), id })
    }
}

impl Drop for PurgePlace {
    fn drop(&mut self) {
        self.purging.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use chat_core::{Act, User};

    use super::*;

    #[test]
    fn a_purge_has_its_place_until_it_is_dropped() {
        let (purging, room) = (Purging::default(), "lobby".parse().unwrap());
        let user = |id: &str| User::new(id, id).unwrap();
        let purge = |by: &str| NewAct::new(user(by), Act::Purge { user: user("eve") });
        let one = purging.enter(1, &room, &purge("ann")).unwrap();
        let _other = purging.enter(2, &room, &purge("bob")).unwrap();
        assert!(purging.enter(3, &room, &purge("zoe")).is_err_and(|error| error.is_over_quota()));
        drop(one);
        assert!(purging.enter(3, &room, &purge("zoe")).is_ok());
    }
}
