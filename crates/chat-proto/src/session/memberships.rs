use crate::RoomName;

/// The memberships of one session, in the order of the names of their rooms. Most sessions have few, so a list takes
/// less memory than a map.
#[derive(Debug)]
pub(super) struct Memberships<M>(Vec<(RoomName, M)>);

impl<M> Memberships<M> {
    pub(super) fn new() -> Self {
        Self(Vec::new())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the name of a room, if it has a membership.
    pub(super) fn name(&self, room: &str) -> Option<&RoomName> {
        self.find(room).ok().map(|at| &self.0[at].0)
    }

    pub(super) fn contains(&self, room: &RoomName) -> bool {
        self.find(room.as_str()).is_ok()
    }

    pub(super) fn get(&self, room: &RoomName) -> Option<&M> {
        self.find(room.as_str()).ok().map(|at| &self.0[at].1)
    }

    pub(super) fn get_mut(&mut self, room: &RoomName) -> Option<&mut M> {
        self.find(room.as_str()).ok().map(|at| &mut self.0[at].1)
    }

    /// Adds a membership, or replaces that of the same room.
    pub(super) fn insert(&mut self, room: RoomName, membership: M) {
        match self.find(room.as_str()) {
            Ok(at) => self.0[at].1 = membership,
            Err(at) => {
                if self.0.is_empty() {
                    self.0.reserve_exact(1);
                }
                self.0.insert(at, (room, membership));
            }
        }
    }

    pub(super) fn remove(&mut self, room: &RoomName) -> Option<M> {
        let at = self.find(room.as_str()).ok()?;
        Some(self.0.remove(at).1)
    }

    /// Returns the names of the rooms, in their order.
    pub(super) fn names(&self) -> impl Iterator<Item = &RoomName> {
        self.0.iter().map(|(name, _)| name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &M> {
        self.0.iter().map(|(_, membership)| membership)
    }

    pub(super) fn into_all(self) -> impl Iterator<Item = M> {
        self.0.into_iter().map(|(_, membership)| membership)
    }

    fn find(&self, room: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(name, _)| name.as_str().cmp(room))
    }
}
