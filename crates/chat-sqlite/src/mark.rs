use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

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
#[derive(Debug)]
pub(crate) struct MarkFile(File);

impl Mark {
    fn encode(&self) -> String {
        let level = match self.durability {
            Durability::Disk => "disk",
            Durability::Process => "process",
        };
        let state = if self.open { "open" } else { "shut" };
        let boot = self.boot.as_deref().unwrap_or("unknown");
        let line = format!(
            "chat-mark 1 store {} commits {:020} level {level:7} state {state} boot {boot:36}",
            self.store, self.commits
        );
        format!("{line} sum {:08x}\n", crc32fast::hash(line.as_bytes()))
    }

    fn decode(text: &str) -> Option<Self> {
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
        ] = words[..]
        else {
            return None;
        };
        Some(Self {
            store: store.to_owned(),
            commits: commits.parse().ok()?,
            open: state == "open",
            durability: if level == "disk" { Durability::Disk } else { Durability::Process },
            boot: (boot != "unknown").then(|| boot.to_owned()),
        })
    }
}

impl MarkFile {
    /// Opens the file, made if it is not there, and reads the mark in it, if that is whole.
    pub(crate) fn open(path: &Path) -> io::Result<(Self, Option<Mark>)> {
        let mut file = private().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut bytes = Vec::new();
        (&mut file).take(4_096).read_to_end(&mut bytes)?;
        let mark = String::from_utf8(bytes).ok().and_then(|text| Mark::decode(&text));
        Ok((Self(file), mark))
    }

    /// Puts a mark in place of the last.
    pub(crate) fn write(&mut self, mark: &Mark) -> io::Result<()> {
        self.0.seek(SeekFrom::Start(0))?;
        self.0.write_all(mark.encode().as_bytes())
    }

    /// Puts a mark in place of whatever the file holds, and waits until it is on the disk.
    pub(crate) fn write_through(&mut self, mark: &Mark) -> io::Result<()> {
        self.write(mark)?;
        self.0.set_len(mark.encode().len() as u64)?;
        self.0.sync_all()
    }
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
            assert_eq!(Mark::decode(&mark.encode()), Some(mark));
        }
        assert_eq!(mark().encode().len(), shut.encode().len());
    }

    #[test]
    fn a_mark_in_which_anything_has_changed_is_none() {
        let text = mark().encode();
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let decoded = String::from_utf8(bytes).ok().and_then(|text| Mark::decode(&text));
            assert_eq!(decoded, None, "{at}");
            assert_eq!(Mark::decode(&text[..at]), None, "{at}");
        }
    }
}
