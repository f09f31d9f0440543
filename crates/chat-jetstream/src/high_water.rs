//! The high-water marks of a server: how far each stream has come, in files that outlive the server.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::error::OpenError;
use crate::life::Life;
use crate::node::{Node, Streams};

/// The interval at which the marks are written, if the streams have grown.
const INTERVAL: Duration = Duration::from_secs(1);

/// The first word of a file.
const FORMAT: &str = "chat-mark-1";

/// The file whose lock makes a directory one of a single server.
const LOCK: &str = "lock";

/// The high-water marks of all streams of the chat.
#[derive(Debug)]
pub(crate) struct HighWaterMarks {
    marks: Vec<HighWaterMark>,
    /// Two servers would overwrite each other's marks: the one that is behind would hide a loss.
    lock: File,
}

#[derive(Debug)]
struct HighWaterMark {
    node: Arc<Node>,
    path: PathBuf,
    /// The text of the file.
    written: Mutex<String>,
}

impl HighWaterMarks {
    /// Reads the marks in a directory, which is created if its parent exists. A mark that is damaged or missing counts
    /// as one of a stream of which nothing is known.
    ///
    /// # Errors
    ///
    /// [`OpenError::State`] and [`OpenError::StateInUse`].
    pub(crate) fn open(dir: &Path, streams: &Streams) -> Result<Self, OpenError> {
        let failed = |cause| OpenError::State { dir: dir.to_owned(), cause };
        let lock = Self::open_lock(dir).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { marks: Self::read(dir, streams).map_err(failed)?, lock }),
            Err(TryLockError::WouldBlock) => Err(OpenError::StateInUse(dir.to_owned())),
            Err(TryLockError::Error(cause)) => Err(failed(cause)),
        }
    }

    fn open_lock(dir: &Path) -> io::Result<File> {
        match DirBuilder::new().mode(0o700).create(dir) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        File::options().write(true).create(true).truncate(false).open(dir.join(LOCK))
    }

    fn read(dir: &Path, streams: &Streams) -> io::Result<Vec<HighWaterMark>> {
        let read = |node: &Arc<Node>| {
            let path = dir.join(format!("{}.mark", node.link.stream));
            let written = match fs::read(&path) {
                Ok(bytes) => String::from_utf8(bytes).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
                Err(error) => return Err(error),
            };
            Ok(HighWaterMark { node: Arc::clone(node), path, written: Mutex::new(written) })
        };
        streams.iter().map(read).collect()
    }

    /// Compares the streams with their marks. Rooms of a stream that has lost its end start new epochs before this
    /// returns, or before the next message is stored if the leader of the stream does not answer.
    pub(crate) async fn compare(&self) {
        for HighWaterMark { node, written, .. } in &self.marks {
            let mark =
                read(&written.lock()).map(|(life, epoch, place)| node.life().recall(life, epoch, place));
            if mark == Some(true) {
                node.doubt().await;
            }
        }
    }

    /// Writes the marks of the streams that have grown.
    pub(crate) async fn write(self: &Arc<Self>) -> io::Result<()> {
        let marks = Arc::clone(self);
        let written = spawn_blocking(move || marks.marks.iter().try_for_each(HighWaterMark::write)).await;
        written.unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    /// Releases the directory for another server.
    pub(crate) fn release(&self) {
        // If this fails, the end of the process releases it.
        let _released = self.lock.unlock();
    }

    /// Writes the marks regularly.
    pub(crate) async fn keep(self: Arc<Self>) {
        let mut has_failed = false;
        loop {
            sleep(INTERVAL).await;
            let written = self.write().await;
            if let Err(error) = &written
                && !has_failed
            {
                tracing::warn!(%error, "ends of the streams not written; a loss of messages may stay unnoticed");
            }
            has_failed = written.is_err();
        }
    }
}

impl HighWaterMark {
    fn write(&self) -> io::Result<()> {
        let mut written = self.written.lock();
        let life = self.node.life();
        // Until the stream has a new epoch, the mark is what shows the loss.
        if life.is_lost() {
            return Ok(());
        }
        let text = text(&life);
        if *written == text {
            return Ok(());
        }
        // A file that was written in part would be a damaged one.
        let part = self.path.with_extension("part");
        let mut file = File::create(&part)?;
        file.write_all(text.as_bytes())?;
        file.sync_data()?;
        fs::rename(&part, &self.path)?;
        *written = text;
        Ok(())
    }
}

/// Returns the text of a mark: the life of the stream, its epoch, its highest place, and a checksum.
fn text(life: &Life) -> String {
    let text = format!("{FORMAT} {} {}", life.names().join(" "), life.highest());
    format!("{text} {:08x}\n", crc32fast::hash(text.as_bytes()))
}

/// Returns the life, the epoch and the place of a mark, or `None` if it is damaged.
fn read(text: &str) -> Option<(&str, &str, u64)> {
    let (text, sum) = text.strip_suffix('\n')?.rsplit_once(' ')?;
    if u32::from_str_radix(sum, 16).ok()? != crc32fast::hash(text.as_bytes()) {
        return None;
    }
    let mut words = text.strip_prefix(FORMAT)?.split_whitespace();
    Some((words.next()?, words.next()?, words.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_written_and_not_if_a_byte_differs() {
        let life = Life::for_tests();
        life.saw(4_711);
        let whole = text(&life);
        assert_eq!(read(&whole), Some(("a", "b", 4_711)));
        for at in 0..whole.len() {
            let mut damaged = whole.clone().into_bytes();
            damaged[at] ^= 1;
            let damaged = String::from_utf8(damaged).expect("ASCII");
            assert_eq!(read(&damaged), None, "{damaged}");
            assert_eq!(read(&whole[..at]), None);
        }
    }

    #[test]
    fn a_mark_concerns_a_stream_of_the_same_life_that_is_behind_it() {
        for (life, epoch, place, expected, highest) in [
            ("a", "b", 9, true, 9),
            ("a", "b", 5, false, 5),
            ("a", "b", 4, false, 5),
            // The change of the epoch after an earlier loss is lost too.
            ("a", "1-x", 4, true, 5),
            // An operator has given the stream another epoch.
            ("a", "0-x", 9, false, 5),
            ("x", "b", 9, false, 5),
            ("x", "1-x", 9, false, 5),
        ] {
            let present = Life::for_tests();
            present.saw(5);
            assert_eq!(present.recall(life, epoch, place), expected, "{life} {epoch} {place}");
            assert_eq!(present.highest(), highest, "{life} {epoch} {place}");
            assert_eq!(present.is_lost(), epoch == "1-x" && life == "a");
        }
    }
}
