//! The removals from the stream. They name only places, at which a stream that has lost its end has other messages.

use std::sync::Arc;

use chat_core::Unavailable;

use crate::life::Life;
use crate::node::Node;

/// The places that a node reads from the stream from some time on. They name the same messages as long as the node has
/// a connection and the stream has its life.
#[derive(Clone, Debug)]
pub(crate) struct ValidPlaces {
    life: Arc<Life>,
    /// The number of connections that were lost before.
    losses: u64,
}

impl Node {
    /// Returns the places that this node reads from now on.
    pub(crate) fn places(&self, life: &Arc<Life>) -> ValidPlaces {
        ValidPlaces { life: Arc::clone(life), losses: self.connection.losses() }
    }

    /// Removes a message of the stream, and overwrites its bytes. Waits for its turn.
    pub(crate) async fn remove(&self, places: &ValidPlaces, place: u64) -> Result<(), Unavailable> {
        let _turn = self.removing.acquire().await;
        self.confirm(places).await?;
        Ok(self.link.erase(place).await?)
    }

    /// Removes a message of the stream, and overwrites its bytes, but waits for no answer. It does nothing if the place
    /// may be that of another message.
    pub(crate) async fn remove_later(&self, places: &ValidPlaces, place: u64) {
        if self.connection.is_open() && self.is_compared() && self.has(places) {
            self.link.erase_later(place).await;
        }
    }

    /// Removes the messages of a subject that are before a place. Returns their number.
    pub(crate) async fn purge(
        &self,
        places: &ValidPlaces,
        subject: &str,
        before: u64,
    ) -> Result<usize, Unavailable> {
        self.confirm(places).await?;
        Ok(self.link.purge(subject, before).await?)
    }

    /// Waits until there is a connection, on which a request is not sent late, and until the stream was compared on it.
    async fn confirm(&self, places: &ValidPlaces) -> Result<(), Unavailable> {
        self.connection.wait().await?;
        if self.compare().await && self.has(places) {
            return Ok(());
        }
        Err(Unavailable::new("the stream may have other messages at the places that are known"))
    }

    /// Returns true if these places name the same messages as when they were read, as far as this node knows.
    fn has(&self, ValidPlaces { life, losses }: &ValidPlaces) -> bool {
        !life.is_lost() && Arc::ptr_eq(life, &self.life()) && self.connection.losses() == *losses
    }
}
