use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::UNIX_EPOCH;

use super::private_file;
use crate::Durability;

/// The number of commits that the database must contain, kept in a file beside it.
///
/// It is written after each commit and before the commit is acknowledged. A database with fewer commits than its mark
/// has lost acknowledged messages. Their `seq` may be known to clients, so a new epoch must start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommitMark {
    pub(crate) store: String,
    pub(crate) commits: u64,
    /// `true` until the store is closed.
    pub(crate) is_open: bool,
    pub(crate) durability: Durability,
    /// The boot id of the system at the time of writing, or `None` if the system has none.
    pub(crate) boot: Option<String>,
}

/// The file of the [`CommitMark`]: one line of fixed length.
///
/// The line contains the id of the file, so that a copy of the file is recognized.
#[derive(Debug)]
pub(crate) struct CommitMarkFile {
    file: File,
    id: u64,
    is_copy: bool,
}

impl CommitMark {
    fn encode(&self, file_id: u64) -> String {
        let level = match self.durability {
            Durability::Disk => "disk",
            Durability::Process => "process",
        };
        let state = if self.is_open { "open" } else { "shut" };
        let boot = self.boot.as_deref().unwrap_or("unknown");
        let line = format!(
            "chat-mark 1 store {} commits {:020} level {level:7} state {state} boot {boot:36} file {file_id:020}",
            self.store, self.commits
        );
        format!("{line} sum {:08x}\n", crc32fast::hash(line.as_bytes()))
    }

    /// Returns the mark and the id of the file to which it was written.
    fn decode(text: &str) -> Option<(Self, u64)> {
        let (line, sum) = text.strip_suffix('\n')?.rsplit_once(" sum ")?;
        if u32::from_str_radix(sum, 16).ok()? != crc32fast::hash(line.as_bytes()) {
            return None;
        }
        let words: Vec<_> = line.split_ascii_whitespace().collect();
        let [
            "chat-mark",
            "1",
            "store",
            store,
            "commits",
            commits,
            "level",
            level,
            "state",
            state,
            "boot",
            boot,
            "file",
            file,
        ] = words[..]
        else {
            return None;
        };
        let mark = Self {
            store: store.to_owned(),
            commits: commits.parse().ok()?,
            is_open: state == "open",
            durability: if level == "disk" { Durability::Disk } else { Durability::Process },
            boot: (boot != "unknown").then(|| boot.to_owned()),
        };
        Some((mark, file.parse().ok()?))
    }
}

impl CommitMarkFile {
    /// Opens or creates the file and reads its mark. The mark is `None` if it is missing or invalid.
    pub(crate) fn open(path: &Path) -> io::Result<(Self, Option<CommitMark>)> {
        let mut file = private_file().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut bytes = Vec::new();
        (&mut file).take(4_096).read_to_end(&mut bytes)?;
        let decoded = String::from_utf8(bytes).ok().and_then(|text| CommitMark::decode(&text));
        let (mark, written_id) = decoded.unzip();
        let id = file_id(&file)?;
        Ok((Self { file, id, is_copy: written_id.is_some_and(|written| written != id) }, mark))
    }

    /// Returns `true` if the mark that was read was written to another file.
    pub(crate) fn is_copy(&self) -> bool {
        self.is_copy
    }

    /// Replaces the mark. The operating system writes it to the disk later.
    pub(crate) fn write(&self, mark: &CommitMark) -> io::Result<()> {
        self.file.write_all_at(mark.encode(self.id).as_bytes(), 0)
    }

    /// Replaces the content of the file, and waits until it is on the disk.
    pub(crate) fn write_and_sync(&self, mark: &CommitMark) -> io::Result<()> {
        self.write(mark)?;
        self.file.set_len(mark.encode(self.id).len() as u64)?;
        self.file.sync_all()
    }
}

/// Returns a number that differs between files. If the file system stores creation times, it also differs from that of
/// an earlier file with the same inode.
fn file_id(file: &File) -> io::Result<u64> {
    let metadata = file.metadata()?;
    let created = metadata.created().ok().and_then(|created| created.duration_since(UNIX_EPOCH).ok());
    #[expect(clippy::cast_possible_truncation, reason = "the low bits of two times differ too")]
    let created = created.unwrap_or_default().as_nanos() as u64;
    Ok(metadata.ino() ^ created)
}

/// Returns the id of the current boot, or `None` on a system without one.
pub(crate) fn boot_id() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let id = id.trim();
    (id.len() == 36 && id.is_ascii()).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark() -> CommitMark {
        CommitMark {
            store: "0123456789abcdef".to_owned(),
            commits: 42,
            is_open: true,
            durability: Durability::Process,
            boot: boot_id(),
        }
    }

    #[test]
    fn a_mark_round_trips_and_has_a_fixed_length() {
        let shut = CommitMark {
            commits: u64::MAX,
            is_open: false,
            durability: Durability::Disk,
            boot: None,
            ..mark()
        };
        for mark in [mark(), shut.clone()] {
            assert_eq!(CommitMark::decode(&mark.encode(7)), Some((mark, 7)));
        }
        assert_eq!(mark().encode(0).len(), shut.encode(u64::MAX).len());
    }

    #[test]
    fn a_mark_with_any_changed_or_missing_byte_is_rejected() {
        let text = mark().encode(7);
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let decoded = String::from_utf8(bytes).ok().and_then(|text| CommitMark::decode(&text));
            assert_eq!(decoded, None, "{at}");
            assert_eq!(CommitMark::decode(&text[..at]), None, "{at}");
        }
    }
}
