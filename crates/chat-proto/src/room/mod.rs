//! A room: the order of its entries, its members, and the next event of each.
//!
//! [`Room`] holds no log. A store commits entries and reports them, in any order; the room puts them into the
//! order of their `seq`. A member is a [`Cursor`] in the room's [`Tail`]; a member that is behind the tail reads
//! from the log. [`Log`] is the log of a room in memory.

mod affected;
mod change;
mod commits;
mod early;
mod entry;
mod event;
mod flush;
mod links;
mod log;
mod marker;
mod member;
mod memory;
mod missed;
mod occupancy;
mod page;
mod presence;
mod receipts;
mod resume;
mod roster;
mod rules;
mod search;
mod state;
mod tail;
mod typing;
mod unavailable;

pub use change::{
    Change, ChangeEntry, ChangeError, ChangeKind, ChangeReceipt, Deleted, Edited, Folded, MessageChanges,
    NewChange, Reaction, ReactionSets, Replies, Target, Verdict,
};
pub(crate) use change::{is_reaction, is_reason};
pub use commits::{Committed, Hole};
pub use entry::{AppendError, AppendReceipt, NewMessage, StoredMessage};
pub use event::RoomEvent;
pub use flush::{Flush, Progress};
pub use links::{Linked, Links, Mentions, ThreadError};
pub use log::{ChangedEntries, Log};
pub use marker::{Follows, Marked, MarkerError, Uncounted, Unread, UnreadCount};
pub use member::{Delivery, Joined, Member, Place};
pub use page::{LogBounds, Page, Range};
pub use resume::{Gap, JoinError, Resumption, resume};
pub use roster::{MembersPage, Roster};
pub(crate) use rules::is_title;
pub use rules::{
    Act, ActContext, ActEffect, ActEntry, ActState, Direct, Governance, JoinRule, NewAct, NoRight, PostRule,
    PurgePlaces, Restrict, Restriction, Right, Rights, RoomRules, Standing,
};
pub use search::{Scan, Search, SearchError, SearchPage, fold, search_text};
pub use state::Room;
pub use tail::{Cursor, Next, Tail};
pub use unavailable::Unavailable;
