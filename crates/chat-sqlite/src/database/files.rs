use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::process::geteuid;

use crate::OpenError;

/// The files of a store.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    pub(crate) dir: PathBuf,
    pub(crate) database: PathBuf,
    pub(crate) mark: PathBuf,
    pub(crate) lock: PathBuf,
    /// The database of the search index.
    pub(crate) index: PathBuf,
    /// The database of the deletions.
    pub(crate) erasures: PathBuf,
}

impl Paths {
    pub(crate) fn of(dir: &Path) -> Self {
        let file = |name| dir.join(name);
        let (database, mark) = (file("chat.db"), file("chat.mark"));
        let (lock, index, erasures) = (file("chat.lock"), file("chat.search"), file("chat.erasures"));
        Self { dir: dir.to_owned(), database, mark, lock, index, erasures }
    }

    /// Name of the database while it is being created.
    pub(crate) fn unfinished(&self) -> PathBuf {
        self.dir.join("chat.db.new")
    }

    pub(crate) fn wal(&self) -> PathBuf {
        with_suffix(&self.database, "-wal")
    }

    fn all(&self) -> Vec<PathBuf> {
        let databases = [&self.database, &self.index, &self.erasures];
        let databases = databases
            .into_iter()
            .flat_map(|path| ["", "-wal", "-shm"].map(|suffix| with_suffix(path, suffix)));
        databases.chain([self.mark.clone(), self.lock.clone()]).collect()
    }
}

/// Returns an error if another user could have prepared the directory or can change its files.
pub(crate) fn verify_access(paths: &Paths) -> Result<(), OpenError> {
    verify_files(&paths.dir, &paths.all())
}

/// Returns an error if another user could have prepared a directory, or can change these files of it.
pub(crate) fn verify_files(dir: &Path, files: &[PathBuf]) -> Result<(), OpenError> {
    let insecure = |path: &Path, reason: String| OpenError::Insecure { path: path.to_owned(), reason };
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    let metadata = fs::metadata(dir).map_err(OpenError::io("read", dir))?;
    let (owner, user) = (metadata.uid(), geteuid().as_raw());
    // The owner of a file can always change its permissions. Root can do that anyway.
    if owner != user && owner != 0 {
        return Err(insecure(
            dir,
            format!("it belongs to user {owner}, but this process runs as user {user}; change its owner"),
        ));
    }
    if metadata.mode() & 0o022 != 0 {
        let mode = metadata.mode() & 0o7777;
        return Err(insecure(
            dir,
            format!(
                "other users can write to it (mode {mode:04o}); run `chmod go-w`, or choose a new subdirectory"
            ),
        ));
    }
    for path in files {
        match fs::symlink_metadata(path) {
            Ok(metadata) if !metadata.is_file() => {
                return Err(insecure(path, "it is not a regular file; remove it".to_owned()));
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(OpenError::io("read", path)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// An exclusive lock on a file, released on drop.
#[derive(Debug)]
pub(crate) struct FileLock(File);

impl FileLock {
    pub(crate) fn acquire(path: &Path) -> Result<Self, OpenError> {
        let file = private_file().write(true).create(true).truncate(false).open(path);
        let file = file.map_err(OpenError::io("open", path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse(path.to_owned())),
            Err(TryLockError::Error(error)) => Err(OpenError::io("lock", path)(error)),
        }
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // Closing the file is not enough: between fork and exec a child process has the same open file.
        let _unlocked = self.0.unlock();
    }
}

/// Device and inode number, which identify a file while it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId(u64, u64);

impl FileId {
    /// Returns `None` if there is no such file.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self(metadata.dev(), metadata.ino()))
    }
}

/// Options to create a file that other users cannot read, because it contains private messages.
pub(crate) fn private_file() -> OpenOptions {
    let mut options = File::options();
    // A symbolic link could lead to a file of another program.
    options.mode(0o600).custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    options
}

pub(crate) fn exists(path: &Path) -> Result<bool, OpenError> {
    path.try_exists().map_err(OpenError::io("look for", path))
}

/// Waits until the entries of a directory are on the disk.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    // The parent of a plain name is the current directory.
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    File::open(dir)?.sync_all()
}

/// Removes the files of a database. Open connections can still use them.
pub(crate) fn remove_database(path: &Path) -> Result<(), OpenError> {
    for file in ["", "-journal", "-wal", "-shm"].map(|suffix| with_suffix(path, suffix)) {
        match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(OpenError::io("remove", &file)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_lock_is_released_although_its_file_has_another_descriptor() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("chat.lock");
        let held = FileLock::acquire(&path).expect("a lock");
        let copy = held.0.try_clone().expect("a copy");
        assert!(matches!(FileLock::acquire(&path), Err(OpenError::InUse(_))));
        drop(held);
        FileLock::acquire(&path).expect("free again");
        drop(copy);
    }
}
