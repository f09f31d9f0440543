use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use crate::mark::{Mark, MarkFile, boot};
use crate::schema::{self, APPLICATION, Identity, VERSION};
use crate::{Durability, random};

/// Databases up to this size are looked through whenever they are opened.
const LOOKED_THROUGH: u64 = 256 * 1024 * 1024;

/// How long another program that has the database locked is waited for.
pub(crate) const LOCK_WAIT: Duration = Duration::from_secs(1);

/// Why a store cannot be opened. Whatever it is, the database is left as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A second process, or a second store in this one.
    #[error("the store is in use: another process has locked {}", .0.display())]
    InUse(PathBuf),
    /// The database is not there, and something says that it was.
    #[error(
        "{} is missing, but {} is there: put the database back, or remove that to begin anew",
        .database.display(), .witness.display()
    )]
    Missing {
        /// Where it should be.
        database: PathBuf,
        /// What says that it was there.
        witness: PathBuf,
    },
    /// A file of another kind, or of another program.
    #[error("{} is no chat store: {why}; choose another directory, or put the database back", .path.display())]
    NotAStore {
        /// The file.
        path: PathBuf,
        /// What tells.
        why: String,
    },
    /// A store of which something is lost.
    #[error("{} is damaged: {why}; put a copy of the database back, or export what can be read", .path.display())]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A store that a later version of this software has written.
    #[error("{} has schema {found}, this version knows up to {VERSION}: use a newer version", .path.display())]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its schema's version.
        found: u32,
    },
    /// The system does not let us.
    #[error("cannot {action} {}: {source}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// SQLite does not let us.
    #[error("cannot use {}: {source}", .path.display())]
    Sqlite {
        /// The database.
        path: PathBuf,
        /// Why not.
        source: rusqlite::Error,
    },
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
    /// Held for as long as the store is used.
    pub(crate) lock: File,
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
pub(crate) fn open(dir: &Path, durability: Durability) -> Result<Opened, OpenError> {
    let paths = Paths::of(dir);
    match fs::create_dir(dir) {
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
    let (mut mark, last) = MarkFile::open(&paths.mark).map_err(io_error("open", &paths.mark))?;
    let sqlite = |source| OpenError::Sqlite { path: paths.database.clone(), source };
    let mut connection = connect(&paths.database, Durability::Disk).map_err(sqlite)?;
    schema::migrate(&mut connection).map_err(sqlite)?;
    // What an earlier process left to the system to write is on the disk after this.
    checkpoint(&connection).map_err(sqlite)?;
    let mut identity = schema::identity(&connection).map_err(sqlite)?;
    if let Some(why) = (!is_new).then(|| loss(last.as_ref(), &identity)).flatten() {
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
        durability,
        boot: boot(),
    };
    mark.write_through(&now).and_then(|()| sync(&paths.dir)).map_err(io_error("write", &paths.mark))?;
    set_durability(&connection, durability).map_err(sqlite)?;
    Ok(Opened { paths, connection, identity, mark, lock })
}

/// A connection that writes to a database that is there.
pub(crate) fn connect(database: &Path, durability: Durability) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.busy_timeout(LOCK_WAIT)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    set_durability(&connection, durability)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

fn set_durability(connection: &Connection, durability: Durability) -> rusqlite::Result<()> {
    let synchronous = match durability {
        Durability::Disk => "full",
        Durability::Process => "normal",
    };
    connection.pragma_update(None, "synchronous", synchronous)
}

/// A connection that only reads.
pub(crate) fn connect_reading(database: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(LOCK_WAIT)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.set_prepared_statement_cache_capacity(16);
    Ok(connection)
}

/// Brings everything into the database and on the disk; false if a reader is in the way.
pub(crate) fn checkpoint(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("PRAGMA wal_checkpoint(truncate)", (), |row| Ok(row.get::<_, i64>(0)? == 0))
}

/// Looks at a database without writing to it, before anything else is done with it.
pub(crate) fn verify(paths: &Paths) -> Result<(), OpenError> {
    let path = &paths.database;
    let damaged = |why: String| OpenError::Damaged { path: path.clone(), why };
    let wal = fs::metadata(paths.wal()).map_or(0, |wal| wal.len());
    verify_header(path, wal == 0)?;
    let sqlite = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::CannotOpen) => {
            OpenError::Sqlite { path: path.clone(), source: error }
        }
        _ => damaged(error.to_string()),
    };
    let connection =
        if wal == 0 { connect_immutable(path) } else { connect_reading(path) }.map_err(sqlite)?;
    // The write-ahead log may know better than the header.
    let found: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(sqlite)?;
    if found > VERSION {
        return Err(OpenError::Newer { path: path.clone(), found });
    }
    schema::identity(&connection).map_err(sqlite)?;
    if fs::metadata(path).map_or(0, |database| database.len()) <= LOOKED_THROUGH {
        let verdict: String =
            connection.query_row("PRAGMA quick_check(1)", (), |row| row.get(0)).map_err(sqlite)?;
        if verdict != "ok" {
            return Err(damaged(verdict.replace('\n', " ")));
        }
    }
    Ok(())
}

pub(crate) fn verify_header(path: &Path, whole: bool) -> Result<(), OpenError> {
    let not_a_store = |why: &str| OpenError::NotAStore { path: path.to_owned(), why: why.to_owned() };
    let mut header = [0; 100];
    let mut file = File::open(path).map_err(io_error("open", path))?;
    let length = file.metadata().map_err(io_error("read", path))?.len();
    if length == 0 {
        return Err(not_a_store("it is empty"));
    }
    match file.read_exact(&mut header) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(not_a_store("it is too short"));
        }
        read => read.map_err(io_error("read", path))?,
    }
    let number = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    if !header.starts_with(b"SQLite format 3\0") {
        return Err(not_a_store("it does not begin as a SQLite database"));
    }
    if number(68) != APPLICATION {
        return Err(not_a_store("it is the database of another program"));
    }
    if number(60) > VERSION {
        return Err(OpenError::Newer { path: path.to_owned(), found: number(60) });
    }
    let page = match u16::from_be_bytes([header[16], header[17]]) {
        1 => 65_536,
        size => u64::from(size),
    };
    let expected = page * u64::from(number(28));
    // Without a write-ahead log the header is right about the length.
    if whole && length < expected {
        let why = format!("it has {length} of {expected} bytes");
        return Err(OpenError::Damaged { path: path.to_owned(), why });
    }
    Ok(())
}

/// A connection to a database that nobody writes to and that has no write-ahead log: it makes no files.
fn connect_immutable(path: &Path) -> rusqlite::Result<Connection> {
    let escaped = percent_encode(path.as_os_str().as_encoded_bytes(), NON_ALPHANUMERIC).to_string();
    let uri = format!("file:{}?immutable=1", escaped.replace("%2F", "/"));
    Connection::open_with_flags(uri, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI)
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

/// Why positions may have been given out that the database does not know of.
fn loss(mark: Option<&Mark>, identity: &Identity) -> Option<&'static str> {
    let Some(mark) = mark else {
        return Some("the mark beside the database is missing or unreadable");
    };
    let same_boot = mark.boot.is_some() && mark.boot == boot();
    if mark.store != identity.store {
        Some("the mark is of another store")
    } else if mark.commits > identity.commits {
        Some("the database has less than was acknowledged")
    } else if mark.open && mark.durability == Durability::Process && !same_boot {
        Some("the machine has stopped while messages were kept at the level of the process")
    } else {
        None
    }
}

fn lock(path: &Path) -> Result<File, OpenError> {
    let file = File::options().write(true).create(true).truncate(false).open(path);
    let file = file.map_err(io_error("open", path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(io_error("lock", path)(error)),
    }
}

fn exists(path: &Path) -> Result<bool, OpenError> {
    path.try_exists().map_err(io_error("look at", path))
}

/// Puts a directory's entries on the disk.
fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

pub(crate) fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError::Io { action, path, source }
}
