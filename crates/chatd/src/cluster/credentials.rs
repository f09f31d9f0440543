use std::fs;
use std::path::Path;

/// Bytes of the file of the credentials.
const MAX_CREDENTIALS: u64 = 4_096;

/// The content of the file of the credentials.
pub(super) enum Credentials {
    Token(String),
    User(String, String),
}

impl Credentials {
    /// Reads the file. The error is one line that does not show the content.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let fails = |problem: &str| format!("--cluster-credentials: {}: {problem}", path.display());
        let size = fs::metadata(path).map_err(|error| fails(&error.to_string()))?.len();
        if size > MAX_CREDENTIALS {
            return Err(fails("the file is too large"));
        }
        let text = fs::read_to_string(path).map_err(|error| fails(&error.to_string()))?;
        match text.lines().collect::<Vec<_>>()[..] {
            [token] if !token.is_empty() => Ok(Self::Token(token.to_owned())),
            [user, password] if !user.is_empty() && !password.is_empty() => {
                Ok(Self::User(user.to_owned(), password.to_owned()))
            }
            _ => Err(fails(
                "the file must have one line with a token, or two lines with a user and a password",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn credentials_are_a_token_or_a_user_and_a_password() -> Result<(), String> {
        let dir = std::env::temp_dir().join(format!("chatd-credentials-{}", std::process::id()));
        let read = |text: &str| {
            let mut file = fs::File::create(&dir).map_err(|error| error.to_string())?;
            file.write_all(text.as_bytes()).map_err(|error| error.to_string())?;
            Credentials::read(&dir)
        };
        assert!(matches!(read("secret:1\n")?, Credentials::Token(token) if token == "secret:1"));
        let Credentials::User(user, password) = read("ann\np w\n")? else { return Err("a user".to_owned()) };
        assert_eq!((&*user, &*password), ("ann", "p w"));
        for text in ["", "\n", "\n\n", "a\n\n", "a\nb\nc\n"] {
            let error = read(text).err().ok_or(text)?;
            assert!(error.contains("two lines") && !error.contains('\n'), "{error}");
        }
        fs::remove_file(&dir).map_err(|error| error.to_string())
    }
}
