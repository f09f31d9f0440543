use chat_core::{AppendError, AppendReceipt, ChangeError, ChangeReceipt, NewAct, NewChange, NewMessage};
use serde::{Deserialize, Serialize};

use crate::record::KeyUse;

/// An entry that a user wants to add to a room.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Work {
    Append(NewMessage),
    Change(NewChange),
    Act(Box<NewAct>),
}

impl Work {
    /// Returns the bytes that a user has sent, about.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Append(message) => message.body.get().len(),
            // The texts of a change are in no record, and those of an act are short.
            Self::Change(_) | Self::Act(_) => 0,
        }
    }

    /// Returns the messages that are changed or named.
    pub(super) fn targets(&self) -> impl Iterator<Item = u64> {
        let targets = match self {
            Self::Append(NewMessage { links: Some(links), .. }) => [links.reply_to, links.thread],
            Self::Append(_) | Self::Act(_) => [None, None],
            Self::Change(change) => [Some(change.target), None],
        };
        targets.into_iter().flatten()
    }

    pub(super) fn key(&self) -> Option<KeyUse> {
        match self {
            Self::Append(message) => KeyUse::of(message),
            Self::Change(change) => KeyUse::of_change(change),
            Self::Act(_) => None,
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
}

impl Receipt {
    /// Returns the receipt for a repeated work, whose entry an earlier one has stored.
    pub(super) fn repeated(self) -> Self {
        Self { duplicate: true, ..self }
    }
}

impl From<Receipt> for AppendReceipt {
    fn from(Receipt { epoch, seq, at, duplicate }: Receipt) -> Self {
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
