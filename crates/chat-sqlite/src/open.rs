use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, TransactionBehavior};

use crate::error::{OpenError, io_error};
use crate::mark::{Mark, MarkFile, boot};
use crate::schema::{self, APPLICATION, Identity};
use crate::verify::verify;
use crate::{Durability, Options, connect, random};

/// What a store was found to be when it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// It was made.
    New,
    /// Whoever had it last has closed it.
    Closed,
    /// Whoever had it last has ended without closing it. Nothing that was acknowledged is lost.
    Crashed,
    /// What was acknowledged may be lost, for this reason: a new epoch has begun.
    NewEpoch(&'static str),
}

/// The files of a store.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    pub(crate) dir: PathBuf,
    pub(crate) database: PathBuf,
    pub(crate) mark: PathBuf,
    pub(crate) lock: PathBuf,
}

/// A store that this process has for itself.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) paths: Paths,
    pub(crate) connection: Connection,
    pub(crate) identity: Identity,
    pub(crate) mark: MarkFile,
    pub(crate) opening: Opening,
    /// Held for as long as the store is used.
    pub(crate) lock: Lock,
}

/// A lock on a file, until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // To close the file would not do: a process that is just being started has it too, until it is another program.
        let _unlocked = self.0.unlock();
    }
}

impl Paths {
    pub(crate) fn of(dir: &Path) -> Self {
        let file = |name| dir.join(name);
        let (database, mark, lock) = (file("chat.db"), file("chat.mark"), file("chat.lock"));
        Self { dir: dir.to_owned(), database, mark, lock }
    }

    fn unfinished(&self) -> PathBuf {
        self.dir.join("chat.db.new")
    }

    pub(crate) fn wal(&self) -> PathBuf {
        beside(&self.database, "-wal")
    }
}

/// Opens the store in a directory, made if there is none; the directory too, in one that exists.
pub(crate) fn open(dir: &Path, options: &Options) -> Result<Opened, OpenError> {
    let paths = Paths::of(dir);
    match DirBuilder::new().mode(0o700).create(dir).and_then(|()| dir.parent().map_or(Ok(()), sync)) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(io_error("make the directory", dir)(error));
        }
        _ => {}
    }
    let lock = lock(&paths.lock)?;
    let is_new = !exists(&paths.database)?;
    if is_new {
        create(&paths)?;
    } else {
        verify(&paths)?;
    }
    let (mark, last) = MarkFile::open(&paths.mark).map_err(io_error("open", &paths.mark))?;
    let sqlite = |source| OpenError::Sqlite { path: paths.database.clone(), source };
    let mut connection =
        connect::writing(&paths.database, Durability::Disk, options.lock_wait).map_err(sqlite)?;
    schema::migrate(&mut connection).map_err(sqlite)?;
    // What an earlier process left to the system to write is on the disk after this.
    checkpoint(&connection).map_err(sqlite)?;
    let mut identity = schema::identity(&connection).map_err(sqlite)?;
    let opening = opening(is_new, last.as_ref(), mark.is_copy(), &identity);
    if let Opening::NewEpoch(why) = opening {
        tracing::warn!(why, "a new epoch begins: clients read their rooms anew");
        let before = last.map_or(0, |mark| mark.commits).max(identity.commits);
        identity.epoch = random();
        identity.commits = before + 1;
        begin_epoch(&mut connection, &identity).map_err(sqlite)?;
    }
    let now = Mark {
        store: identity.store.clone(),
        commits: identity.commits,
        open: true,
        durability: options.durability,
        boot: boot(),
    };
    mark.write_through(&now).and_then(|()| sync(&paths.dir)).map_err(io_error("write", &paths.mark))?;
    connect::set_durability(&connection, options.durability).map_err(sqlite)?;
    Ok(Opened { paths, connection, identity, mark, opening, lock })
}

/// Brings everything into the database and on the disk; false if a reader is in the way.
pub(crate) fn checkpoint(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("PRAGMA wal_checkpoint(truncate)", (), |row| Ok(row.get::<_, i64>(0)? == 0))
}

/// Makes a store under another name first: either there is a whole one or none.
fn create(paths: &Paths) -> Result<(), OpenError> {
    for witness in [paths.mark.clone(), paths.wal()] {
        if exists(&witness)? {
            return Err(OpenError::Missing { database: paths.database.clone(), witness });
        }
    }
    let unfinished = paths.unfinished();
    for leftover in ["", "-journal", "-wal", "-shm"].map(|suffix| beside(&unfinished, suffix)) {
        match fs::remove_file(&leftover) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error("remove", &leftover)(error));
            }
            _ => {}
        }
    }
    // SQLite gives its other files the permissions of this one.
    private().write(true).create_new(true).open(&unfinished).map_err(io_error("make", &unfinished))?;
    build(&unfinished).map_err(|source| OpenError::Sqlite { path: unfinished.clone(), source })?;
    let finish = || {
        File::open(&unfinished)?.sync_all()?;
        fs::rename(&unfinished, &paths.database)?;
        sync(&paths.dir)
    };
    finish().map_err(io_error("make", &paths.database))
}

fn build(path: &Path) -> rusqlite::Result<()> {
    let mut connection = Connection::open(path)?;
    connection.pragma_update(None, "application_id", APPLICATION)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    schema::migrate(&mut connection)?;
    let values = (random(), random());
    connection.execute("INSERT INTO store (one, identity, epoch, commits) VALUES (1, ?1, ?2, 0)", values)?;
    checkpoint(&connection)?;
    connection.close().map_err(|(_, error)| error)
}

fn begin_epoch(connection: &mut Connection, identity: &Identity) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let commits = i64::try_from(identity.commits).unwrap_or(i64::MAX);
    transaction.execute("UPDATE store SET epoch = ?1, commits = ?2", (&identity.epoch, commits))?;
    transaction.commit()
}

fn opening(is_new: bool, last: Option<&Mark>, is_copy: bool, identity: &Identity) -> Opening {
    if is_new {
        return Opening::New;
    }
    match loss(last, is_copy, identity) {
        Some(why) => Opening::NewEpoch(why),
        None if last.is_some_and(|mark| mark.open) => Opening::Crashed,
        None => Opening::Closed,
    }
}

/// Why positions may have been given out that the database does not know of.
fn loss(mark: Option<&Mark>, is_copy: bool, identity: &Identity) -> Option<&'static str> {
    let Some(mark) = mark else {
        return Some("the mark beside the database is missing or unreadable");
    };
    let same_boot = mark.boot.is_some() && mark.boot == boot();
    if mark.store != identity.store {
        Some("the mark is of another store")
    } else if mark.commits > identity.commits {
        Some("the database has less than was acknowledged")
    } else if is_copy {
        Some("the directory is a copy, and there may have been more after it was taken")
    } else if mark.open && mark.durability == Durability::Process && !same_boot {
        Some("the machine has stopped while messages were kept at the level of the process")
    } else {
        None
    }
}

fn lock(path: &Path) -> Result<Lock, OpenError> {
    let file = private().write(true).create(true).truncate(false).open(path);
    let file = file.map_err(io_error("open", path))?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(io_error("lock", path)(error)),
    }
}

/// Makes files that are for nobody else: what people wrote to each other is in them.
pub(crate) fn private() -> OpenOptions {
    let mut options = File::options();
    options.mode(0o600);
    options
}

fn exists(path: &Path) -> Result<bool, OpenError> {
    path.try_exists().map_err(io_error("look at", path))
}

/// Puts a directory's entries on the disk.
fn sync(dir: &Path) -> io::Result<()> {
    // The parent of a plain name is the directory that we are in.
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    File::open(dir)?.sync_all()
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_ends_though_a_process_that_is_being_started_has_its_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("chat.lock");
        let held = lock(&path).expect("a lock");
        let copy = held.0.try_clone().expect("a copy");
        assert!(matches!(lock(&path), Err(OpenError::InUse(_))));
        drop(held);
        lock(&path).expect("free again");
        drop(copy);
    }
}
