use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};

use chat_proto::{ExportLine, ExportReader, InvalidExport};

use super::import_rows::{ImportRows, RowError};
use crate::OpenError;
use crate::database::{
    CommitMark, CommitMarkFile, ErasureList, FileLock, Identity, Paths, boot_id, exists, remove_database,
    sync_dir, verify_access,
};
use crate::open::{create_dir, create_unfinished, finish_unfinished};
use crate::search::build_index;
use crate::{Durability, Options};

/// Bytes of the longest line.
const MAX_LINE: u64 = 16 << 20;

/// Lines between two reports of progress.
const PROGRESS_INTERVAL: u64 = 1_000;

/// The progress and the result of [`SqliteStore::import`](crate::SqliteStore::import).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Imported {
    /// Bytes read.
    pub bytes: u64,
    /// Lines read.
    pub lines: u64,
    /// Rooms written.
    pub rooms: u64,
    /// Messages written.
    pub messages: u64,
    /// Entries that the export names as lost. They are missing in the store too.
    pub lost: u64,
}

/// The reason why an export was not imported. The directory has no store then, unless only the search index or the last
/// wait for the disk has failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// A line cannot be imported.
    #[error("line {line}: {problem}")]
    Line {
        /// The number of the line, from 1 on.
        line: u64,
        /// The problem.
        problem: InvalidExport,
    },
    /// A line is too long.
    #[error("line {line}: it is longer than {} MiB", MAX_LINE >> 20)]
    TooLong {
        /// The number of the line.
        line: u64,
    },
    /// The file ends inside of a line.
    #[error("line {line}: the export ends in the middle of this line: it is incomplete")]
    Cut {
        /// The number of the line.
        line: u64,
    },
    /// A line is not text.
    #[error("line {line}: it is not UTF-8")]
    NotText {
        /// The number of the line.
        line: u64,
    },
    /// The checksum in the last line is another one.
    #[error("line {line}: the checksum of the lines before it differs: the export was altered or damaged")]
    Checksum {
        /// The number of the last line.
        line: u64,
    },
    /// The content of a room contradicts itself.
    #[error("line {line}: {problem}")]
    Content {
        /// The number of the line where it was found.
        line: u64,
        /// The problem.
        problem: String,
    },
    /// The export cannot be read.
    #[error("line {line}: cannot read it: {source}")]
    Read {
        /// The number of the line.
        line: u64,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The rooms of a line cannot be written, for example because the disk is full.
    #[error("line {line}: {source}")]
    Write {
        /// The number of the line.
        line: u64,
        /// The error of the store.
        source: OpenError,
    },
    /// The directory is not empty.
    #[error("{} is not empty: it has {}; name a new directory with --data", .dir.display(), .found.display())]
    NotEmpty {
        /// The directory.
        dir: PathBuf,
        /// A file in it.
        found: PathBuf,
    },
    /// The store cannot be created.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// Imports an export into a new store.
///
/// The database has another name until it is complete, and no server opens a database of that name.
pub(crate) fn import(
    dir: &Path,
    from: impl BufRead,
    mut progress: impl FnMut(Imported),
) -> Result<Imported, ImportError> {
    let paths = Paths::of(dir);
    create_dir(dir)?;
    verify_access(&paths)?;
    let _lock = FileLock::acquire(&paths.lock)?;
    check_empty(&paths)?;
    remove_published(&paths)?;
    let imported = fill(&paths, from, &mut progress).and_then(|(imported, identity)| {
        publish(&paths, &identity)?;
        Ok((imported, identity))
    });
    let (imported, identity) = match imported {
        Ok(imported) => imported,
        Err(error) => {
            // A database with its final name is a store, and needs its mark.
            if matches!(exists(&paths.database), Ok(false)) {
                // What remains is no store: the next import removes it.
                let _removed = remove_published(&paths).and_then(|()| remove_database(&paths.unfinished()));
            }
            return Err(error);
        }
    };
    progress(imported);
    // Without an index, the server builds it when it starts.
    if build_index(&paths, &identity).is_err() {
        remove_database(&paths.index)?;
    }
    Ok(imported)
}

fn check_empty(paths: &Paths) -> Result<(), ImportError> {
    let unreadable = OpenError::io("read", &paths.dir);
    let dir = if paths.dir.as_os_str().is_empty() { Path::new(".") } else { &paths.dir };
    let entries = fs::read_dir(dir).and_then(Iterator::collect::<io::Result<Vec<_>>>).map_err(unreadable)?;
    // An import that was killed leaves a database without its final name, and perhaps what `publish` writes before it
    // renames that. Without the unfinished database, these files are of a store that has lost its own.
    let mut left = vec![paths.unfinished()];
    if exists(&paths.unfinished())? {
        left.extend([paths.mark.clone(), paths.erasures.clone()]);
    }
    let is_left = |name: &OsStr| {
        let name = name.as_encoded_bytes();
        left.iter().any(|path| name.starts_with(path.file_name().unwrap_or_default().as_encoded_bytes()))
    };
    // A file system has `lost+found`.
    let found = entries
        .into_iter()
        .map(|entry| entry.file_name())
        .find(|name| name != "chat.lock" && name != "lost+found" && !is_left(name));
    match found {
        Some(found) => Err(ImportError::NotEmpty { dir: paths.dir.clone(), found: found.into() }),
        None => Ok(()),
    }
}

/// Removes what [`publish`] has written before the rename. The unfinished database must be removed later: with it, the
/// next import recognizes the rest.
fn remove_published(paths: &Paths) -> Result<(), OpenError> {
    remove_database(&paths.mark)?;
    remove_database(&paths.erasures)
}

/// Writes all rows into a database that has not its final name yet.
fn fill(
    paths: &Paths,
    from: impl BufRead,
    progress: &mut impl FnMut(Imported),
) -> Result<(Imported, Identity), ImportError> {
    create_unfinished(paths)?;
    let path = paths.unfinished();
    let mut lines = Lines { from, imported: Imported::default(), sum: crc32fast::Hasher::new() };
    let mut reader = ExportReader::default();
    let written = |line| {
        let sqlite = OpenError::sqlite(&path);
        move |error: RowError| match error {
            RowError::Sqlite(source) => ImportError::Write { line, source: sqlite(source) },
            RowError::Content(problem) => ImportError::Content { line, problem },
        }
    };
    let mut rows = ImportRows::open(&path).map_err(|error| written(0)(error))?;
    let mut bytes = Vec::new();
    loop {
        let before = lines.sum.clone();
        let is_last = lines.next(&mut bytes)?;
        let number = lines.imported.lines;
        if is_last && bytes.is_empty() {
            reader.finish().map_err(|problem| ImportError::Line { line: number, problem })?;
            break;
        }
        let text = str::from_utf8(&bytes).map_err(|_| ImportError::NotText { line: number })?;
        let line = match reader.read(text) {
            Ok(line) => line,
            Err(_) if is_last && !text.ends_with('}') => return Err(ImportError::Cut { line: number }),
            Err(problem) => return Err(ImportError::Line { line: number, problem }),
        };
        if let ExportLine::End { crc32: Some(sum) } = line
            && sum != before.finalize()
        {
            return Err(ImportError::Checksum { line: number });
        }
        rows.write(line, &mut lines.imported).map_err(written(number))?;
        if number.is_multiple_of(PROGRESS_INTERVAL) {
            progress(lines.imported);
        }
    }
    let identity = rows.finish().map_err(written(lines.imported.lines))?;
    Ok((lines.imported, identity))
}

/// Gives the database its final name. The mark comes first: a database without its mark would lose the markers.
fn publish(paths: &Paths, identity: &Identity) -> Result<(), ImportError> {
    let unfinished = paths.unfinished();
    File::open(&unfinished).and_then(|file| file.sync_all()).map_err(OpenError::io("write", &unfinished))?;
    drop(ErasureList::open(paths, &identity.store, &Options::default())?);
    let mark = CommitMark {
        store: identity.store.clone(),
        commits: identity.commits,
        is_open: false,
        durability: Durability::Disk,
        boot: boot_id(),
    };
    CommitMarkFile::open(&paths.mark)
        .and_then(|(file, _)| file.write_and_sync(&mark))
        .and_then(|()| sync_dir(&paths.dir))
        .map_err(OpenError::io("write", &paths.mark))?;
    Ok(finish_unfinished(paths)?)
}

/// The lines of an export.
struct Lines<R> {
    from: R,
    imported: Imported,
    sum: crc32fast::Hasher,
}

impl<R: BufRead> Lines<R> {
    /// Reads the next line, without its end. Returns `true` if it has no end, because it is the last one.
    fn next(&mut self, line: &mut Vec<u8>) -> Result<bool, ImportError> {
        line.clear();
        self.imported.lines += 1;
        let number = self.imported.lines;
        let read = (&mut self.from).take(MAX_LINE + 1).read_until(b'\n', line);
        let length = read.map_err(|source| ImportError::Read { line: number, source })?;
        self.sum.update(line);
        self.imported.bytes += length as u64;
        let is_last = line.pop_if(|byte| *byte == b'\n').is_none();
        if length as u64 > MAX_LINE {
            return Err(ImportError::TooLong { line: number });
        }
        Ok(is_last)
    }
}
