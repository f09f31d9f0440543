use std::collections::BTreeSet;

use super::entry::Entry;
use super::{ChangedEntries, Log};
use crate::room::rules::Governance;
use crate::room::{Act, ActEntry, ActState, ChangeError, ChangeReceipt, Deleted, NewAct};

impl Log {
    /// Deletes all messages of a user, at the time `at`. The size of a log in memory is limited, so one entry says it.
    ///
    /// Returns the receipt and, if a message was deleted, the entries to report.
    ///
    /// # Errors
    ///
    /// The errors of [`ActContext::judge_purge`](crate::ActContext::judge_purge), and [`ChangeError::Unsupported`] for
    /// another act.
    #[expect(clippy::needless_pass_by_value, reason = "the log owns what it keeps, as in `change`")]
    pub fn purge(
        &mut self,
        at: u64,
        new: NewAct,
    ) -> Result<(ChangeReceipt, Option<ChangedEntries>), ChangeError> {
        let Act::Purge { user } = &new.act else { return Err(ChangeError::Unsupported) };
        if !new.fits(&self.room) {
            return Err(ChangeError::Forbidden);
        }
        let (seq, at) = self.next(at);
        let none = || Governance::new(self.room.clone());
        let context = match &self.governance {
            Some(governance) => governance.context(&new, self.head > 0),
            None => none().context(&new, self.head > 0),
        };
        context.judge_purge(&new, at)?;
        let purged = self.entries.iter().filter(|entry| entry.is_kept_of(user.id()));
        let purged: BTreeSet<u64> = purged.map(|entry| entry.stored.seq).collect();
        let (Some(from), Some(to)) = (purged.first().copied(), purged.last().copied()) else {
            return Ok((ChangeReceipt::unchanged(self.epoch.clone()), None));
        };
        let mut unpinned = Vec::new();
        for target in &purged {
            let Some(index) = self.index(*target) else { continue };
            let message = &mut self.entries[index];
            let replaced = message.newest_changes();
            unpinned.extend(message.has_pin_change().then_some(*target));
            self.bytes -= message.bytes();
            message.purge(&self.room, seq, Deleted::new(at, new.user.clone(), None));
            self.bytes += message.bytes();
            self.pins.remove(target);
            self.supersede(replaced);
        }
        let is_erased = |entry: &&Entry| entry.subject().is_some_and(|seq| purged.contains(&seq));
        let erased =
            self.entries.range(self.start(from - 1)..).filter(is_erased).map(|entry| entry.stored.clone());
        let erased = erased.collect();
        let state = ActState::Purge { user: user.clone(), from, to, unpinned };
        let entry = ActEntry::new(seq, at, new.user.clone(), state).encode(&self.room);
        self.has_changes = true;
        self.push(at, Entry::act(entry.clone()), None);
        Ok((ChangeReceipt::new(self.epoch.clone(), seq), Some(ChangedEntries { erased, entry })))
    }
}
