//! The mark of a room whose deleted messages have no text any more. Its last record names the newest of them, as the
//! server knew them that has stored it, and the next server would look for their texts again.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use chat_core::Unavailable;

use crate::life::Life;
use crate::link::Part;
use crate::record::{Purge, with_sum, without_sum};

use super::SharedRoom;
use super::state::Unfinished;

impl SharedRoom {
    /// Returns the erasures and purges that the last record names and that are not complete, as far as this node knows.
    /// `None` if all are complete.
    pub(crate) fn unfinished(&self) -> Option<(Vec<u64>, Vec<Purge>)> {
        let Unfinished { erasing, purges } = self.state.lock().unfinished();
        (!(erasing.is_empty() && purges.is_empty())).then_some((erasing, purges))
    }

    /// Reads the mark. If it is about the last record, no text is left of the messages that the record names.
    pub(super) async fn look_for_mark(&self, life: &Arc<Life>) -> Result<(), Unavailable> {
        let Some((_, mark)) = self.node.link.last(&life.erased_subject(&self.token)).await? else {
            return Ok(());
        };
        let mut state = self.state.lock();
        if decode(mark) == Some(state.tail.id) {
            for seq in state.erasing() {
                state.note_erased(life, seq);
            }
        }
        Ok(())
    }

    /// Stores the mark, if the record with this id is still the last one and no text is left of the messages that it
    /// names.
    pub(super) async fn mark_erased(&self, life: &Arc<Life>, id: u64) {
        let is_erased = {
            let state = self.state.lock();
            Arc::ptr_eq(&state.life, life) && state.tail.id == id && state.is_all_erased()
        };
        if !is_erased {
            return;
        }
        let subject = life.erased_subject(&self.token);
        let (highest, part) =
            (life.highest(), Part { subject: subject.clone(), last: None, payload: encode(id) });
        match self.node.link.append_each(&[part]).await {
            Ok(place) if place > highest => self.node.link.keep_last(&subject).await,
            Ok(_) => drop(self.lose(life)),
            // The next server looks for the texts again.
            Err(_) => {}
        }
    }
}

/// Returns the mark for the record with this id.
fn encode(id: u64) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u64(id);
    with_sum(bytes)
}

fn decode(bytes: Bytes) -> Option<u64> {
    without_sum(bytes)?.try_get_u64().ok()
}
