use super::LogBounds;
use crate::ErrorCode;
use crate::command::JoinFrom;

/// Where a member starts to read, and what it is told about that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resumption {
    /// The last message that the member does not get.
    pub after: u64,
    /// Whether the member gets all that it asked for.
    pub recovered: bool,
    /// The messages between what it asked for and what it gets.
    pub gap: Option<Gap>,
}

/// A hole, first and last `seq` included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The first message missing.
    pub from: u64,
    /// The last message missing.
    pub to: u64,
}

/// Returns the position at which a member starts in a log. A member that cannot be brought up to date gets the
/// newest `default_page` entries.
///
/// # Errors
///
/// [`ErrorCode::BadCursor`] for a position that this epoch has not reached.
pub fn resume(from: &JoinFrom, log: &LogBounds, default_page: u64) -> Result<Resumption, ErrorCode> {
    let all = |after| Resumption { after, recovered: true, gap: None };
    let oldest = log.first - 1;
    match from {
        JoinFrom::Now => Ok(all(log.head)),
        JoinFrom::Last(count) => Ok(all(log.head.saturating_sub(*count).max(oldest))),
        JoinFrom::After { epoch, seq } if *epoch == log.epoch && *seq > log.head => Err(ErrorCode::BadCursor),
        JoinFrom::After { epoch, seq } if *epoch == log.epoch && *seq >= oldest => Ok(all(*seq)),
        JoinFrom::After { epoch, seq } => {
            let seen = if *epoch == log.epoch { *seq } else { 0 };
            let after = log.head.saturating_sub(default_page).max(oldest);
            let gap = (after > seen).then_some(Gap { from: seen + 1, to: after });
            Ok(Resumption { after, recovered: false, gap })
        }
    }
}
