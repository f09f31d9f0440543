//! The task `token`: tokens for development, and the secrets that sign them.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use chat_auth::{LoadError, NewToken, Role, SigningKey};
use clap::Args;
use serde_json::{Map, Value, json};

use crate::refuse;
use crate::retain::Retain;

/// The members of the claim `limits`.
const LIMITS: [&str; 3] = ["connections", "rate", "burst"];

#[derive(Debug, Args)]
pub(crate) struct TokenOptions {
    /// Write a new secret to this file, which must not exist yet, for --token-secret and --key
    #[arg(long, value_name = "FILE", conflicts_with_all = ["key", "sub"])]
    new_key: Option<PathBuf>,

    /// Sign with the key in this file: a secret, or a private key in the PEM format
    #[arg(long, value_name = "FILE", required_unless_present = "new_key")]
    key: Option<PathBuf>,

    /// Set the id of the user
    #[arg(long, value_name = "ID", required_unless_present = "new_key")]
    sub: Option<String>,

    /// Set the name that other users read [default: the id]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// Give roles in rooms (none, member, moderator, owner), and forbid all others, like team-*=member,lobby=moderator
    #[arg(long, value_name = "ROOMS", value_delimiter = ',', value_parser = room)]
    rooms: Vec<(String, Role)>,

    /// Make the user an owner of all rooms except direct ones
    #[arg(long)]
    admin: bool,

    /// Set limits of the user (connections, rate, burst) like connections=2,rate=5,burst=20; 0 is no limit
    #[arg(long, value_name = "LIMITS", value_delimiter = ',', value_parser = limit)]
    limits: Vec<(String, u32)>,

    /// Set the time for which the token is valid (30m, 12h, 7d)
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = time)]
    expires: Duration,

    /// Set the issuer
    #[arg(long, value_name = "ISSUER")]
    issuer: Option<String>,

    /// Set the audience, as the server expects it with --token-audience
    #[arg(long, value_name = "AUDIENCE")]
    audience: Option<String>,
}

impl TokenOptions {
    /// Prints a token, or writes a secret.
    pub(crate) fn run(&self) -> ExitCode {
        let done = match (&self.new_key, &self.key) {
            (Some(path), _) => new_secret(path),
            (None, Some(key)) => self.token(key),
            (None, None) => Err("--key: name the file of the key that signs the token".to_owned()),
        };
        match done {
            Ok(line) => {
                // The reader may be gone.
                let _ignored = writeln!(io::stdout(), "{line}");
                ExitCode::SUCCESS
            }
            Err(problem) => refuse(&problem),
        }
    }

    fn token(&self, key: &Path) -> Result<String, String> {
        let key = SigningKey::from_file(key).map_err(|error| LoadError::new(error).cause())?;
        let mut token = NewToken::new(self.sub.as_deref().unwrap_or_default(), self.expires);
        for (claim, value) in [("name", &self.name), ("iss", &self.issuer), ("aud", &self.audience)] {
            if let Some(value) = value {
                token = token.claim(claim, value.as_str());
            }
        }
        if self.admin {
            token = token.admin();
        }
        if !self.limits.is_empty() {
            let limits = self.limits.iter().map(|(name, limit)| (name.clone(), Value::from(*limit)));
            token = token.claim("limits", limits.collect::<Map<_, _>>());
        }
        for (pattern, role) in &self.rooms {
            token = token.room(pattern, *role).map_err(|error| format!("--rooms: {error}"))?;
        }
        token.sign(&key).map_err(|error| format!("--key: {error}"))
    }
}

/// Writes a secret that only the owner of the file can read.
fn new_secret(path: &Path) -> Result<String, String> {
    let secret = SigningKey::new_secret().map_err(|error| error.to_string())?;
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| writeln!(file, "{secret}").and_then(|()| file.sync_all()));
    let shown = path.display();
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            format!(
                "--new-key: {shown} exists already: name another file, or remove it if nobody uses its secret"
            )
        }
        _ => format!("cannot write {shown}: {error}"),
    })?;
    Ok(format!("{shown}: a new secret; start the server with --token-secret {shown}"))
}

fn room(text: &str) -> Result<(String, Role), &'static str> {
    const FORM: &str = "a role in a room is like lobby=member or team-*=moderator";
    let (pattern, role) = text.split_once('=').ok_or(FORM)?;
    let role = serde_json::from_value(json!(role)).map_err(|_| FORM)?;
    Ok((pattern.to_owned(), role))
}

fn limit(text: &str) -> Result<(String, u32), &'static str> {
    const FORM: &str = "a limit is like connections=2, rate=5 or burst=20";
    let (name, number) = text.split_once('=').filter(|(name, _)| LIMITS.contains(name)).ok_or(FORM)?;
    Ok((name.to_owned(), number.parse().map_err(|_| FORM)?))
}

fn time(text: &str) -> Result<Duration, &'static str> {
    match text.parse() {
        Ok(Retain::Age(time)) => Ok(time),
        _ => Err("a time is like 30m, 12h or 7d"),
    }
}
