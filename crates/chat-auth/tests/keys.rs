//! Keys in files, made with openssl as an operator makes them.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use chat_auth::{
    Algorithm, FileError, InvalidKey, KeyFile, KeySet, NewToken, Rejection, SigningKey, TokenVerifier,
    VerifyingKey,
};
use tempfile::TempDir;

/// Runs openssl in a folder. The arguments are separated by spaces.
fn openssl(folder: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output();
    let output = output.expect("openssl is installed");
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Makes a private and a public key. Returns the folder with `private.pem` and `public.pem`.
fn pair(options: &str) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    openssl(folder.path(), &format!("genpkey -out private.pem {options}"));
    openssl(folder.path(), "pkey -in private.pem -pubout -out public.pem");
    fs::set_permissions(folder.path().join("public.pem"), Permissions::from_mode(0o644)).expect("a mode");
    folder
}

fn write(folder: &TempDir, name: &str, content: &[u8], mode: u32) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, content).expect("written");
    fs::set_permissions(&path, Permissions::from_mode(mode)).expect("a mode");
    path
}

fn invalid(error: FileError) -> InvalidKey {
    match error {
        FileError::Invalid { source, .. } => source,
        error => panic!("{error:?}"),
    }
}

#[test]
fn tokens_of_the_keys_of_openssl_are_verified_by_their_public_keys_only() {
    let folders = [
        (Algorithm::Rs256, pair("-algorithm RSA -pkeyopt rsa_keygen_bits:2048")),
        (Algorithm::Es256, pair("-algorithm EC -pkeyopt ec_paramgen_curve:P-256")),
        (Algorithm::EdDsa, pair("-algorithm ED25519")),
    ];
    let other = pair("-algorithm EC -pkeyopt ec_paramgen_curve:P-256");
    let file = |folder: &TempDir, name: &str| folder.path().join(name);
    let mut all = KeyFile::pem(file(&folders[0].1, "public.pem"));
    for (_, folder) in &folders[1..] {
        all = all.and(file(folder, "public.pem"));
    }
    let all = all.read().expect("three keys");
    assert_eq!(all.len(), 3);
    for (algorithm, folder) in &folders {
        let key = SigningKey::from_file(&file(folder, "private.pem")).expect("a private key");
        assert_eq!(key.algorithm(), *algorithm);
        let token = NewToken::new("7", Duration::from_secs(60)).sign(&key).expect("a token");
        let verify = |keys: &KeySet| TokenVerifier::new().verify(&token, keys, SystemTime::now()).map(drop);
        assert_eq!(verify(&all), Ok(()), "{algorithm}");
        let wrong = KeyFile::pem(file(&other, "public.pem")).read().expect("a key");
        let rejection =
            if *algorithm == Algorithm::Es256 { Rejection::Signature } else { Rejection::UnknownKey };
        assert_eq!(verify(&wrong), Err(rejection), "{algorithm}");
        // A public key is no secret, and a private key is no public one.
        let public = file(folder, "public.pem");
        assert_eq!(KeyFile::secret(&public).read().map_err(invalid).err(), Some(InvalidKey::NotSecret));
        let private = file(folder, "private.pem");
        assert_eq!(KeyFile::pem(private).read().map_err(invalid).err(), Some(InvalidKey::Pem));
    }
}

#[test]
fn keys_that_are_weak_or_not_supported_are_refused() {
    for (options, error) in [
        ("-algorithm RSA -pkeyopt rsa_keygen_bits:1024", InvalidKey::RsaSize),
        ("-algorithm EC -pkeyopt ec_paramgen_curve:P-384", InvalidKey::Unsupported),
        ("-algorithm X25519", InvalidKey::Unsupported),
    ] {
        let folder = pair(options);
        let read = KeyFile::pem(folder.path().join("public.pem")).read();
        assert_eq!(read.map_err(invalid).err(), Some(error), "{options}");
        let private = SigningKey::from_file(&folder.path().join("private.pem"));
        assert_eq!(private.map_err(invalid).err(), Some(InvalidKey::Unsupported), "{options}");
    }
    for text in [
        "",
        "-----BEGIN PUBLIC KEY-----",
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        "é",
    ] {
        assert!(VerifyingKey::from_pem(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn a_secret_is_the_content_of_its_file_without_the_line_break() {
    let folder = TempDir::new().expect("a folder");
    let (current, previous) = (b"the current secret, of 32 bytes.", b"the previous one, also 32 bytes.");
    let file = write(&folder, "current", &[&current[..], b"\n"].concat(), 0o600);
    let before = write(&folder, "previous", &[&previous[..], b"\r\n"].concat(), 0o604);
    let keys = KeyFile::secret(&file).and(before).read().expect("two secrets");
    for secret in [current, previous] {
        let key = SigningKey::from_secret(secret).expect("a secret");
        let token = NewToken::new("7", Duration::from_secs(60)).sign(&key).expect("a token");
        assert!(TokenVerifier::new().verify(&token, &keys, SystemTime::now()).is_ok());
    }
    assert_eq!(SigningKey::from_file(&file).map(|key| key.algorithm()).ok(), Some(Algorithm::Hs256));

    let short = write(&folder, "short", b"thirty-one bytes are too few...\n", 0o600);
    assert_eq!(KeyFile::secret(short).read().map_err(invalid).err(), Some(InvalidKey::ShortSecret));
    for mode in [0o602, 0o620] {
        let writable = write(&folder, "writable", current, mode);
        assert!(matches!(KeyFile::secret(writable).read(), Err(FileError::Writable { .. })), "{mode:o}");
    }
    let large = write(&folder, "large", &vec![b'a'; 256 * 1024 + 1], 0o600);
    assert!(matches!(KeyFile::secret(large).read(), Err(FileError::TooLarge { .. })));
    assert!(matches!(KeyFile::secret("/nowhere").read(), Err(FileError::Read { .. })));
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().is_ok_and(|status| status.success()));
    for other in [folder.path(), &pipe, Path::new("/dev/null")] {
        let read = KeyFile::secret(other).read();
        assert!(matches!(read, Err(FileError::NotRegular { .. })), "{}", other.display());
    }
}
