//! The defects of threads and mentions.

use chat_core::{AppendError, NewMessage, Page, Range, Role, StoredMessage, ThreadError};
use serde_json::json;

use crate::defects::Defect::{self, *};
use crate::room::{SpoiledRoom, value};

pub(crate) fn spoil_message(defect: Defect, message: &mut NewMessage) -> Result<(), AppendError> {
    match defect {
        SomeThreads if message.thread().is_some() => return Err(AppendError::Unsupported),
        NoMentions | LinksAnywhere => message.links = None,
        AllMention => message.role = Role::Owner,
        KeysOfBodies if message.key.is_some() => message.links = None,
        _ => {}
    }
    Ok(())
}

pub(crate) fn spoil_page(defect: Defect, life: u64, page: &mut Page) {
    for stored in &mut page.messages {
        let mut event = value(&stored.frame);
        match defect {
            CountsNoReplies => event["replies"] = json!(null),
            CountsOneReply if event["replies"].is_object() => event["replies"]["count"] = json!(1),
            RevOfReplies if event["replies"].is_object() => event["rev"] = json!(stored.seq),
            RestartLosesThreads if life > 1 => event["replies"] = json!(null),
            _ => continue,
        }
        *stored = StoredMessage::new(stored.seq, event.to_string());
    }
}

pub(crate) async fn thread(room: &SpoiledRoom, root: u64, range: Range) -> Result<Page, ThreadError> {
    let range = if room.defect == ThreadIgnoresRange { Range::newest(usize::MAX) } else { range };
    let page = room.log.thread(root, range).await;
    match room.defect {
        LinksAnywhere if page == Err(ThreadError::NoMessage) => {
            Ok(Page::new(room.log.bounds().await?.epoch, vec![]))
        }
        DeletesThreads if page.is_ok() => {
            let read = room.log.read(Range::after(root - 1, 1)).await?;
            let is_deleted = value(&read.messages[0].frame)["deleted"].is_object();
            if is_deleted { Err(ThreadError::NoMessage) } else { page }
        }
        HidesDeletedReplies => page.map(|mut page| {
            page.messages.retain(|stored| value(&stored.frame)["deleted"].is_null());
            page
        }),
        _ => page,
    }
}
