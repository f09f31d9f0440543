use std::sync::Arc;

use chat_core::{
    AppendError, AppendReceipt, ChangeError, ChangeKind, ChangeReceipt, NewAct, NewChange, NewMessage,
};
use serde::{Deserialize, Serialize};

use crate::life::Life;
use crate::record::{Entry, KeyUse, Purge};

use super::erase::Erasure;

/// An entry that a user wants to add to a room, or a purge, which may be several ones.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Work {
    Append(NewMessage),
    Change(NewChange),
    Act(Box<NewAct>),
    Purge(Box<PurgeOrder>),
    /// Only the node that carries out a purge makes the steps of it.
    #[serde(skip)]
    Step(Box<PurgeStep>),
}

/// A purge of the messages up to a position. It may arrive late, and must not delete what was sent since.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PurgeOrder {
    pub(crate) act: NewAct,
    pub(crate) epoch: String,
    pub(crate) up_to: u64,
}

/// A part of a purge, which is one entry.
#[derive(Debug)]
pub(crate) struct PurgeStep {
    /// The life in which the positions count.
    pub(super) life: Arc<Life>,
    /// The purge after the step.
    pub(super) purge: Purge,
    pub(super) act: NewAct,
    /// The next messages of the user, as they were sent, oldest first.
    pub(super) messages: Vec<Entry>,
    /// True if there are no further ones.
    pub(super) is_last: bool,
}

impl Work {
    /// Returns the bytes that a user has sent, about.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Append(message) => message.body.get().len(),
            // The texts of a change are in no record, and those of an act are short.
            Self::Change(_) | Self::Act(_) | Self::Purge(_) | Self::Step(_) => 0,
        }
    }

    /// Returns the messages that are changed or named.
    pub(super) fn targets(&self) -> impl Iterator<Item = u64> {
        let targets = match self {
            Self::Append(NewMessage { links: Some(links), .. }) => [links.reply_to, links.thread],
            Self::Change(change) => [Some(change.target), None],
            _ => [None, None],
        };
        targets.into_iter().flatten().chain(self.messages().iter().map(|entry| entry.seq))
    }

    /// Returns those of the messages that are known as they were sent.
    pub(super) fn messages(&self) -> &[Entry] {
        match self {
            Self::Step(step) => &step.messages,
            _ => &[],
        }
    }

    /// Returns true if a message is deleted.
    pub(super) fn is_deletion(&self) -> bool {
        match self {
            Self::Change(change) => change.change.kind() == ChangeKind::Deleted,
            Self::Step(_) => true,
            _ => false,
        }
    }

    pub(super) fn key(&self) -> Option<KeyUse> {
        match self {
            Self::Append(message) => KeyUse::of(message),
            Self::Change(change) => KeyUse::of_change(change),
            Self::Act(_) | Self::Purge(_) | Self::Step(_) => None,
        }
    }
}

/// The answer to a [`Work`] that was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Receipt {
    pub(crate) epoch: String,
    /// `None` if a change or an act has changed nothing.
    pub(crate) seq: Option<u64>,
    pub(crate) at: u64,
    pub(crate) duplicate: bool,
    /// The messages that a step of a purge has deleted, and whose texts are not erased yet.
    #[serde(skip)]
    pub(super) erasing: Vec<Erasure>,
}

impl Receipt {
    pub(crate) fn new(epoch: String, seq: Option<u64>, at: u64, duplicate: bool) -> Self {
        Self { epoch, seq, at, duplicate, erasing: Vec::new() }
    }

    /// Returns the receipt for a repeated work, whose entry an earlier one has stored.
    pub(super) fn repeated(self) -> Self {
        Self { duplicate: true, ..self }
    }
}

impl From<Receipt> for AppendReceipt {
    fn from(Receipt { epoch, seq, at, duplicate, .. }: Receipt) -> Self {
        let receipt = Self::new(epoch, seq.unwrap_or_default(), at);
        if duplicate { receipt.repeated() } else { receipt }
    }
}

impl From<Receipt> for ChangeReceipt {
    fn from(Receipt { epoch, seq, duplicate, .. }: Receipt) -> Self {
        let Some(seq) = seq else { return Self::unchanged(epoch) };
        let receipt = Self::new(epoch, seq);
        if duplicate { receipt.repeated() } else { receipt }
    }
}

/// Returns the error of a change for an error of an append.
pub(super) fn of_append(error: AppendError) -> ChangeError {
    match error {
        AppendError::KeyConflict => ChangeError::KeyConflict,
        AppendError::Forbidden => ChangeError::Forbidden,
        AppendError::Muted => ChangeError::Muted,
        AppendError::NoMessage => ChangeError::NoMessage,
        AppendError::Unavailable(error) => error.into(),
        _ => ChangeError::Unsupported,
    }
}

/// Returns the error of an append, whose errors are among those of a change.
pub(crate) fn as_append(error: ChangeError) -> AppendError {
    match error {
        ChangeError::KeyConflict => AppendError::KeyConflict,
        ChangeError::Forbidden => AppendError::Forbidden,
        ChangeError::Muted => AppendError::Muted,
        ChangeError::NoMessage => AppendError::NoMessage,
        ChangeError::Unavailable(error) => error.into(),
        _ => AppendError::Unsupported,
    }
}
