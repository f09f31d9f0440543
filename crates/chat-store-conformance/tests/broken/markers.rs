//! The defects of markers.

use std::sync::atomic::Ordering;

use chat_core::{Marked, MarkerError, Range, Unread, UserKey};

use crate::defects::Defect::*;
use crate::room::{SpoiledRoom, value};

impl SpoiledRoom {
    pub(crate) async fn spoiled_mark(&self, user: &UserKey, seq: u64) -> Result<Marked, MarkerError> {
        let head = self.log.bounds().await?.head;
        let asked = if self.defect == MarkersAnywhere { seq.min(head) } else { seq };
        let mut marked = self.log.mark(&self.owner(user), asked).await?;
        self.shared.marker.store(marked.seq, Ordering::SeqCst);
        if self.defect == MarkersGoBack {
            marked.seq = seq;
        }
        Ok(marked)
    }

    pub(crate) async fn spoiled_unread(&self, user: &UserKey, up_to: u64) -> Result<Unread, MarkerError> {
        let up_to = if self.defect == IgnoresUpTo { u64::MAX } else { up_to };
        let mut unread = self.log.unread(&self.owner(user), up_to).await?;
        let after = self.log.read(Range::after(unread.read, 200)).await?;
        let messages = || after.messages.iter().map(|stored| value(&stored.frame));
        match self.defect {
            CountsOwn => unread.unread = messages().count() as u64,
            CountsDeleted => {
                unread.unread =
                    messages().filter(|message| message["user"]["id"] != user.id()).count() as u64;
            }
            CountsNoMentions => unread.mentions = 0,
            CountsAllMentions => unread.mentions = unread.unread,
            CountsOn => unread.unread = unread.head - unread.read,
            RenewalKeepsMarkers => unread.read = self.shared.marker.load(Ordering::SeqCst),
            _ => {}
        }
        Ok(unread)
    }

    /// Returns the user whose marker is used.
    fn owner(&self, user: &UserKey) -> UserKey {
        let of = |number: u64| UserKey::new(&format!("{}{number}", user.id()));
        match self.defect {
            SharesMarkers => UserKey::new(user.id()),
            RestartLosesMarkers => of(self.shared.life),
            MarkersOfOneNode => of(self.node as u64),
            _ => user.clone(),
        }
    }
}
