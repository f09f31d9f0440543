use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::UNIX_EPOCH;

use crate::Durability;
use crate::open::private;

/// What the database is to have at the least: kept beside it, written after each commit and before anybody hears
/// of it, never in the way of one.
///
/// A database that has less than its mark says has lost what was acknowledged, whoever did it: then its positions
/// may have been given out already, and a new epoch begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) store: String,
    pub(crate) commits: u64,
    /// Whether the last process that wrote has not ended in order.
    pub(crate) open: bool,
    pub(crate) durability: Durability,
    /// The life of the machine in which it was written, where that is known.
    pub(crate) boot: Option<String>,
}

/// The file of the [`Mark`]: one line of fixed length.
///
/// The line says which file it was written to, so that a copy of it is known as one.
#[derive(Debug)]
pub(crate) struct MarkFile {
    file: File,
    number: u64,
    is_copy: bool,
}

impl Mark {
    fn encode(&self, file: u64) -> String {
        let level = match self.durability {
            Durability::Disk => "disk",
            Durability::Process => "process",
        };
        let state = if self.open { "open" } else { "shut" };
        let boot = self.boot.as_deref().unwrap_or("unknown");
        let line = format!(
            "chat-mark 1 store {} commits {:020} level {level:7} state {state} boot {boot:36} file {file:020}",
            self.store, self.commits
        );
        format!("{line} sum {:08x}\n", crc32fast::hash(line.as_bytes()))
    }

    /// The mark, and the number of the file that it was written to.
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
            open: state == "open",
            durability: if level == "disk" { Durability::Disk } else { Durability::Process },
            boot: (boot != "unknown").then(|| boot.to_owned()),
        };
        Some((mark, file.parse().ok()?))
    }
}

impl MarkFile {
    /// Opens the file, made if it is not there, and reads the mark in it, if that is whole.
    pub(crate) fn open(path: &Path) -> io::Result<(Self, Option<Mark>)> {
        let mut file = private().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut bytes = Vec::new();
        (&mut file).take(4_096).read_to_end(&mut bytes)?;
        let (mark, written_to) = String::from_utf8(bytes).ok().and_then(|text| Mark::decode(&text)).unzip();
        let number = number(&file)?;
        Ok((Self { file, number, is_copy: written_to.is_some_and(|file| file != number) }, mark))
    }

    /// Whether the mark that was read had been written to another file.
    pub(crate) fn is_copy(&self) -> bool {
        self.is_copy
    }

    /// Puts a mark in place of the last.
    pub(crate) fn write(&self, mark: &Mark) -> io::Result<()> {
        self.file.write_all_at(mark.encode(self.number).as_bytes(), 0)
    }

    /// Puts a mark in place of whatever the file holds, and waits until it is on the disk.
    pub(crate) fn write_through(&self, mark: &Mark) -> io::Result<()> {
        self.write(mark)?;
        self.file.set_len(mark.encode(self.number).len() as u64)?;
        self.file.sync_all()
    }
}

/// What no other file has, one that follows in its place neither, as far as the file system knows when files are made.
fn number(file: &File) -> io::Result<u64> {
    let metadata = file.metadata()?;
    let made =
        metadata.created().ok().and_then(|made| made.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    #[expect(clippy::cast_possible_truncation, reason = "the lower bits differ as well as all do")]
    let made = made.as_nanos() as u64;
    Ok(metadata.ino() ^ made)
}

/// What names this life of the machine, where the system says.
pub(crate) fn boot() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let id = id.trim();
    (id.len() == 36 && id.is_ascii()).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark() -> Mark {
        Mark {
            store: "0123456789abcdef".to_owned(),
            commits: 42,
            open: true,
            durability: Durability::Process,
            boot: boot(),
        }
    }

    #[test]
    fn a_mark_is_read_as_it_was_written_and_always_as_long() {
        let shut =
            Mark { commits: u64::MAX, open: false, durability: Durability::Disk, boot: None, ..mark() };
        for mark in [mark(), shut.clone()] {
            assert_eq!(Mark::decode(&mark.encode(7)), Some((mark, 7)));
        }
        assert_eq!(mark().encode(0).len(), shut.encode(u64::MAX).len());
    }

    #[test]
    fn a_mark_in_which_anything_has_changed_is_none() {
        let text = mark().encode(7);
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let decoded = String::from_utf8(bytes).ok().and_then(|text| Mark::decode(&text));
            assert_eq!(decoded, None, "{at}");
            assert_eq!(Mark::decode(&text[..at]), None, "{at}");
        }
    }
}
