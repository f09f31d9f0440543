use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufRead};
use std::path::{Path, PathBuf};

use chat_core::{ExportLines, Imported, ReadExportError};

use super::import_rows::{ImportRows, RowError};
use crate::OpenError;
use crate::database::{
    CommitMark, CommitMarkFile, ErasureList, FileLock, Identity, Paths, boot_id, exists, remove_database,
    sync_dir, verify_access,
};
use crate::open::{create_dir, create_unfinished, finish_unfinished};
use crate::search::build_index;
use crate::{Durability, Options};

/// Lines between two reports of progress.
const PROGRESS_INTERVAL: u64 = 1_000;

/// The reason why an export was not imported. The directory has no store then, unless only the search index or the last
/// wait for the disk has failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The export cannot be read, or contradicts itself.
    #[error(transparent)]
    Export(#[from] ReadExportError),
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
    let mut lines = ExportLines::new(from);
    let sqlite = |line| {
        let sqlite = OpenError::sqlite(&path);
        move |source| ImportError::Write { line, source: sqlite(source) }
    };
    let mut rows = ImportRows::open(&path).map_err(sqlite(0))?;
    while let Some(line) = lines.next_line()? {
        let number = lines.imported().lines;
        match rows.write(line) {
            Ok(()) => {}
            Err(RowError::Sqlite(source)) => return Err(sqlite(number)(source)),
            Err(RowError::Content(problem)) => return Err(lines.contradiction(problem).into()),
        }
        if number.is_multiple_of(PROGRESS_INTERVAL) {
            progress(lines.imported());
        }
    }
    let imported = lines.imported();
    let identity = rows.finish().map_err(sqlite(imported.lines))?;
    Ok((imported, identity))
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
