use super::LogBounds;
use crate::ErrorCode;
use crate::command::JoinFrom;

/// The position at which a member starts to read, and its answer to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resumption {
    /// The last message before the position.
    pub after: u64,
    /// True if the member gets everything that it asked for.
    pub recovered: bool,
    /// The messages that the member asked for and does not get.
    pub gap: Option<Gap>,
}

/// A range of missing messages, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The first missing message.
    pub from: u64,
    /// The last missing message.
    pub to: u64,
}

/// An error of a join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The position is after the newest entry of its epoch.
    #[error("the position is after the newest entry of the log")]
    BadCursor,
    /// The log has started a new epoch since its bounds were read. A later join can succeed.
    #[error("the log has started a new epoch")]
    Renewed,
}

impl From<JoinError> for ErrorCode {
    fn from(error: JoinError) -> Self {
        match error {
            JoinError::BadCursor => Self::BadCursor,
            JoinError::Renewed => Self::Unavailable,
        }
    }
}

/// Returns the position at which a member starts in a log. A member that cannot be brought up to date gets the
/// newest `default_page` entries.
///
/// ```
/// use chat_proto::command::JoinFrom;
/// use chat_proto::{Gap, LogBounds, resume};
///
/// let log = LogBounds::new("k3f9", 100).with_first(21);
/// let after = |seq| JoinFrom::After { epoch: "k3f9".to_owned(), seq };
/// let resumed = resume(&after(90), &log, 50)?;
/// assert_eq!((resumed.after, resumed.recovered), (90, true));
///
/// let resumed = resume(&after(10), &log, 50)?;
/// assert_eq!((resumed.after, resumed.recovered), (50, false));
/// assert_eq!(resumed.gap, Some(Gap { from: 11, to: 50 }));
/// # Ok::<(), chat_proto::JoinError>(())
/// ```
///
/// # Errors
///
/// [`JoinError::BadCursor`] for a position that this epoch has not reached.
pub fn resume(from: &JoinFrom, log: &LogBounds, default_page: u64) -> Result<Resumption, JoinError> {
    let all = |after| Resumption { after, recovered: true, gap: None };
    let oldest = log.first.saturating_sub(1);
    match from {
        JoinFrom::Now => Ok(all(log.head)),
        JoinFrom::Last(count) => Ok(all(log.head.saturating_sub(*count).max(oldest))),
        JoinFrom::After { epoch, seq } if *epoch == log.epoch && *seq > log.head => Err(JoinError::BadCursor),
        JoinFrom::After { epoch, seq } if *epoch == log.epoch && *seq >= oldest => Ok(all(*seq)),
        JoinFrom::After { epoch, seq } => {
            let seen = if *epoch == log.epoch { *seq } else { 0 };
            let after = log.head.saturating_sub(default_page).max(oldest);
            let gap = (after > seen).then_some(Gap { from: seen + 1, to: after });
            Ok(Resumption { after, recovered: false, gap })
        }
    }
}
