use std::collections::HashSet;

use anyhow::{Context, Result, bail, ensure};
use chat_client::{ClientEvent, Joined};

/// The messages of one room that a client has received, over reconnects. Each must come once and in order.
#[derive(Debug, Default)]
pub struct ReceivedMessages {
    /// The position of the next message, `None` before the first one.
    next: Option<u64>,
    texts: HashSet<String>,
}

impl ReceivedMessages {
    /// Takes an event of the client.
    ///
    /// # Errors
    ///
    /// If a message is missing or comes twice, if a resume has a gap, or if the client has ended.
    pub fn take(&mut self, event: ClientEvent) -> Result<()> {
        match event {
            ClientEvent::Message(message) => {
                let expected = self.next.unwrap_or(message.seq);
                ensure!(message.seq == expected, "{} in place of {expected}", message.seq);
                self.next = Some(expected + 1);
                let text = message.text().context("a text")?;
                ensure!(self.texts.insert(text.clone()), "{text:?} is there twice");
            }
            ClientEvent::Resumed(Joined { recovered, .. }) => ensure!(recovered, "not recovered"),
            ClientEvent::Gap { from, to, .. } => bail!("a gap from {from} to {to}"),
            ClientEvent::Closed(closed) => bail!("{closed:?}"),
            _ => {}
        }
        Ok(())
    }

    /// Returns true if the message at this position has come.
    pub fn has(&self, seq: u64) -> bool {
        self.next.is_some_and(|next| next > seq)
    }
}
