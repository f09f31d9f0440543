use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;

use super::{KeySource, LoadError};
use crate::{InvalidKey, KeySet, ProxyHeader, SigningKey, VerifyingKey};

/// The largest file with keys in bytes.
const MAX_FILE_BYTES: u64 = 256 * 1024;

/// The beginning of a file in the PEM format.
const PEM: &[u8] = b"-----BEGIN";

/// Files with keys, which are read again by the [`KeyCache`](crate::KeyCache).
///
/// The kind of each file is given, and is never guessed from its content: a public key must not become a secret.
///
/// A file that its group or other users may write to is refused, because they could sign tokens. A secret that other
/// users may read is only reported in the log, because containers mount secrets in this way.
#[derive(Clone, Debug)]
pub struct KeyFile {
    kind: Kind,
    paths: Vec<PathBuf>,
    /// The read that goes on. A file system that does not answer blocks one thread, and not one for each load.
    reading: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Secret,
    Pem,
    Jwks,
}

/// A file whose keys could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The file cannot be read.
    #[error("the key file {} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The path is that of a folder, a pipe, or a device.
    #[error("the key file {} is not a regular file", path.display())]
    NotRegular {
        /// The file.
        path: PathBuf,
    },
    /// The file is larger than 256 KiB.
    #[error("the key file {} has more than 256 KiB", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The group of the file or other users may write to it.
    #[error("other users may write to the key file {0}: run `chmod go-w {0}`", path.display())]
    Writable {
        /// The file.
        path: PathBuf,
    },
    /// The content is not valid.
    #[error("the key file {} is not valid", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The rule that the content breaks.
        source: InvalidKey,
    },
}

impl KeyFile {
    /// Returns the source of a secret for HS256. The secret is the whole content without a line break at its end, and
    /// has at least 32 bytes.
    pub fn secret(path: impl Into<PathBuf>) -> Self {
        Self::new(Kind::Secret, path.into())
    }

    /// Returns the source of a public key in the PEM format.
    pub fn pem(path: impl Into<PathBuf>) -> Self {
        Self::new(Kind::Pem, path.into())
    }

    /// Returns the source of a JSON Web Key Set.
    pub fn jwks(path: impl Into<PathBuf>) -> Self {
        Self::new(Kind::Jwks, path.into())
    }

    fn new(kind: Kind, path: PathBuf) -> Self {
        Self { kind, paths: vec![path], reading: Arc::default() }
    }

    /// Adds another file of the same kind, for example with the previous key. Tokens of both keys are valid.
    #[must_use]
    pub fn and(mut self, path: impl Into<PathBuf>) -> Self {
        self.paths.push(path.into());
        self
    }

    /// Reads the files.
    ///
    /// # Errors
    ///
    /// [`FileError`] for the first file that cannot be used. A missing file is an error too.
    pub fn read(&self) -> Result<KeySet, FileError> {
        let mut keys = Vec::new();
        for path in &self.paths {
            let content = content(path, self.kind == Kind::Secret)?;
            let read = self.kind.keys(&content);
            keys.extend(read.map_err(|source| FileError::Invalid { path: path.clone(), source })?);
        }
        let path = self.paths.first().cloned().unwrap_or_default();
        KeySet::new(keys).map_err(|source| FileError::Invalid { path, source })
    }
}

impl Kind {
    fn keys(self, content: &[u8]) -> Result<Vec<VerifyingKey>, InvalidKey> {
        match self {
            Self::Secret => Ok(vec![VerifyingKey::from_secret(secret(content)?)?]),
            Self::Pem => Ok(vec![VerifyingKey::from_pem(content)?]),
            Self::Jwks => KeySet::from_jwks(content).map(KeySet::into_keys),
        }
    }
}

#[async_trait]
impl KeySource for KeyFile {
    fn name(&self) -> String {
        self.paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    }

    async fn load(&self) -> Result<KeySet, LoadError> {
        let (files, reading) = (self.clone(), Arc::clone(&self.reading).lock_owned().await);
        let read = tokio::task::spawn_blocking(move || {
            let _reading = reading;
            files.read()
        })
        .await;
        read.map_err(LoadError::new)?.map_err(LoadError::new)
    }
}

impl SigningKey {
    /// Reads a key from a file: a private key in the PEM format, or a secret for HS256.
    ///
    /// # Errors
    ///
    /// [`FileError`] if the file cannot be used.
    pub fn from_file(path: &Path) -> Result<Self, FileError> {
        let content = content(path, true)?;
        let key = if content.starts_with(PEM) {
            Self::from_pem(&content)
        } else {
            Self::from_secret(trimmed(&content))
        };
        key.map_err(|source| FileError::Invalid { path: path.to_owned(), source })
    }
}

impl ProxyHeader {
    /// Trusts requests that have the secret of this file in the header `secret_header`: see
    /// [`with_secret`](Self::with_secret). The secret is the whole content without a line break at its end.
    ///
    /// # Errors
    ///
    /// [`FileError`] if the file cannot be used.
    pub fn with_secret_file(user_header: &str, secret_header: &str, path: &Path) -> Result<Self, FileError> {
        let content = content(path, true)?;
        let secret =
            secret(&content).and_then(|secret| str::from_utf8(secret).map_err(|_| InvalidKey::NotText));
        let header = secret.and_then(|secret| Self::with_secret(user_header, secret_header, secret));
        header.map_err(|source| FileError::Invalid { path: path.to_owned(), source })
    }
}

fn secret(content: &[u8]) -> Result<&[u8], InvalidKey> {
    if content.starts_with(PEM) { Err(InvalidKey::NotSecret) } else { Ok(trimmed(content)) }
}

/// Returns the content without a line break at its end.
fn trimmed(content: &[u8]) -> &[u8] {
    let content = content.strip_suffix(b"\n").unwrap_or(content);
    content.strip_suffix(b"\r").unwrap_or(content)
}

/// Returns the content of a file that is not too large and that others cannot change.
fn content(path: &Path, is_secret: bool) -> Result<Vec<u8>, FileError> {
    let failed = |source| FileError::Read { path: path.to_owned(), source };
    let check_kind = |metadata: &fs::Metadata| {
        if metadata.is_file() { Ok(()) } else { Err(FileError::NotRegular { path: path.to_owned() }) }
    };
    // The first check is before the file is opened, because a pipe without a writer would block.
    check_kind(&fs::metadata(path).map_err(failed)?)?;
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    check_kind(&metadata)?;
    check_mode(path, &metadata, is_secret)?;
    let mut content = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut content).map_err(failed)?;
    if content.len() as u64 > MAX_FILE_BYTES {
        return Err(FileError::TooLarge { path: path.to_owned() });
    }
    Ok(content)
}

#[cfg(unix)]
fn check_mode(path: &Path, metadata: &fs::Metadata, is_secret: bool) -> Result<(), FileError> {
    use std::os::unix::fs::PermissionsExt;

    let mode = metadata.permissions().mode();
    if mode & 0o022 != 0 {
        return Err(FileError::Writable { path: path.to_owned() });
    }
    if is_secret && mode & 0o004 != 0 {
        let path = path.display();
        tracing::warn!(%path, "other users may read the secret: run `chmod o-r` on the file unless it is mounted");
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_mode(_: &Path, _: &fs::Metadata, _: bool) -> Result<(), FileError> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_load_starts_no_read_while_another_read_goes_on() {
        let file = KeyFile::jwks("/nowhere");
        let reading = Arc::clone(&file.reading).lock_owned().await;
        assert!(tokio::time::timeout(Duration::from_secs(60), file.clone().load()).await.is_err());
        drop(reading);
        assert!(file.load().await.is_err_and(|error| error.cause().contains("/nowhere cannot be read")));
    }
}
