//! The defects of purges.

use std::time::Duration;

use chat_core::{
    Act, Change, ChangeError, ChangeReceipt, NewAct, NewChange, Page, Range, Role, StoredMessage, User,
};
use serde_json::json;
use tokio::time::sleep;

use crate::defects::Defect::*;
use crate::room::{SpoiledRoom, value};

impl SpoiledRoom {
    pub(crate) async fn spoiled_purge(&self, mut act: NewAct) -> Result<ChangeReceipt, ChangeError> {
        let bounds = self.log.bounds().await?;
        match self.defect {
            PurgesWithoutChanges => return Ok(ChangeReceipt::new(bounds.epoch, bounds.head + 1)),
            PurgesOldest => return self.delete_oldest(&act).await,
            PurgesAll => {
                let user = User::new("Bob", "Bob").expect("a user");
                self.log.purge(NewAct::new(act.user.clone(), Act::Purge { user }).by_host()).await?;
            }
            PurgeLostWhenDropped => {
                self.delete_oldest(&act).await?;
                sleep(Duration::from_secs(1)).await;
            }
            PurgesOnce => {
                let purged = self.log.read(Range::acts(0, 1)).await?.messages;
                if let Some(purged) = purged.first() {
                    return Ok(ChangeReceipt::new(bounds.epoch, purged.seq));
                }
            }
            AllPurge => act.is_host = true,
            _ => {}
        }
        let purged = self.log.purge(act).await?;
        let is_unchanged = purged.seq.is_none();
        Ok(if self.defect == PurgesAgain && is_unchanged {
            ChangeReceipt::new(bounds.epoch, bounds.head + 1)
        } else {
            purged
        })
    }

    async fn delete_oldest(&self, act: &NewAct) -> Result<ChangeReceipt, ChangeError> {
        let oldest = self.log.read(Range::after(0, 1)).await?.messages;
        let seq = oldest.first().map_or(1, |stored| stored.seq);
        let delete = NewChange::new(act.user.clone(), seq, Change::Delete { reason: None });
        self.log.change(delete.with_role(Role::Owner)).await
    }

    /// Restores deleted messages after a restart, or leaves out what a purge has unpinned.
    pub(crate) fn spoil_purged(&self, page: &mut Page) {
        if self.defect == NamesNoUnpinned {
            for stored in &mut page.messages {
                let mut event = value(&stored.frame);
                event["unpinned"].take();
                *stored = StoredMessage::new(stored.seq, event.to_string());
            }
        }
        if self.defect != RestartLosesPurges || self.shared.life < 2 {
            return;
        }
        for stored in &mut page.messages {
            let mut event = value(&stored.frame);
            if event["deleted"].is_object() {
                event["deleted"].take();
                event["body"] = json!({"text": "secret"});
                *stored = StoredMessage::new(stored.seq, event.to_string());
            }
        }
    }
}
