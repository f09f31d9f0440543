//! The configuration file of a binary.

use std::fs;
use std::path::Path;
use std::process::Output;

use anyhow::{Context, Result, ensure};
use chat_tests::{Binary, Daemon, request_upgrade};
use tempfile::TempDir;

fn run(binary: Binary, file: &Path, arguments: &[&str]) -> Result<Output> {
    Ok(binary.command()?.arg("--config").arg(file).args(arguments).output()?)
}

#[test]
fn all_mistakes_of_a_file_are_shown_with_their_lines() -> Result<()> {
    let home = TempDir::new()?;
    let file = home.path().join("chatd.toml");
    let text = "\
# Five mistakes.
listen = \"0.0.0.0:8080\"
max-conections = 500
command-rate = \"fast\"
retain = [\"30d\", \"10d\"]
echo = \"no\"
";
    fs::write(&file, text)?;
    for binary in Binary::one_per_adapter() {
        for task in [&[][..], &["config", "check"], &["config", "print"]] {
            let refused = run(binary, &file, task)?;
            let shown = String::from_utf8(refused.stderr)?;
            let path = file.to_str().context("a path in UTF-8")?;
            let expected = [
                "2: --listen: everyone who can reach 0.0.0.0:8080 could use the chat: require tokens (--token-secret, \
                 --token-public-key or --token-jwks), or admit guests with --guests",
                "3: unknown option `max-conections`; did you mean `max-connections`?",
                "4: command-rate: invalid value 'fast': invalid digit found in string",
                "5: --retain: give at most one age and one number of messages",
                "6: echo: expected true or false",
            ];
            let expected: String = expected.iter().map(|line| format!("error: {path}:{line}\n")).collect();
            ensure!(shown == expected, "{shown}");
            ensure!(refused.status.code() == Some(2) && refused.stdout.is_empty(), "{}", refused.status);
        }
    }
    Ok(())
}

#[test]
fn options_that_need_each_other_may_come_from_different_sources() -> Result<()> {
    let home = TempDir::new()?;
    let (file, token) = (home.path().join("chatd.toml"), home.path().join("token"));
    fs::write(&token, "0123456789abcdef")?;
    let binary = Binary::one_per_adapter().next().context("a binary")?;
    fs::write(&file, "admin = \"127.0.0.1:0\"\n")?;
    let refused = run(binary, &file, &["config", "check"])?;
    let shown = String::from_utf8(refused.stderr)?;
    ensure!(
        shown.ends_with(":1: --admin: name the file of the bearer token with --admin-token\n"),
        "{shown}"
    );
    fs::write(&file, format!("admin-token = {:?}\n", token.to_str().context("a path in UTF-8")?))?;
    let accepted = run(binary, &file, &["--admin", "127.0.0.1:0", "config", "check"])?;
    ensure!(accepted.status.success(), "{}", String::from_utf8_lossy(&accepted.stderr));
    fs::write(&token, "too short")?;
    let refused = run(binary, &file, &["--admin", "127.0.0.1:0", "config", "check"])?;
    ensure!(refused.status.code() == Some(2), "a token that is too short is accepted");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn flags_override_variables_which_override_the_file() -> Result<()> {
    for binary in Binary::one_per_adapter() {
        let home = TempDir::new()?;
        let file = home.path().join("chatd.toml");
        let origins = "allow-origin = [\"https://a.example\", \"https://b.example\"]";
        fs::write(&file, format!("{origins}\nmax-per-user = 3\nmax-per-address = 4\nmax-connections = 5\n"))?;
        let mut command = binary.command()?;
        command
            .env("CHATD_CONFIG", &file)
            .env("CHATD_MAX_PER_ADDRESS", "6")
            .env("CHATD_MAX_CONNECTIONS", "7");
        command.args([
            "--max-connections",
            "8",
            "--token-jwks",
            "https://a.example/jwks?key=s3cr3t",
            "config",
            "print",
        ]);
        let printed = command.output()?;
        let text = String::from_utf8(printed.stdout)?;
        let place = file.display();
        for line in [
            format!("allow-origin = [\"https://a.example\", \"https://b.example\"]  # {place}:1"),
            format!("max-per-user = 3  # {place}:2"),
            "max-per-address = 6  # CHATD_MAX_PER_ADDRESS".to_owned(),
            "max-connections = 8  # --max-connections".to_owned(),
            "echo = false  # default".to_owned(),
            "read-rate = \"256K\"  # default".to_owned(),
            "# retain is not set".to_owned(),
        ] {
            ensure!(text.lines().any(|shown| shown == line), "{line} is missing in {text}");
        }
        ensure!(!text.contains("s3cr3t"), "{text}");

        // What is printed is a file with the same values.
        let copy = home.path().join("copy.toml");
        fs::write(&copy, &text)?;
        let values = |text: &str| -> Vec<String> {
            text.lines()
                .filter_map(|line| line.split_once("  # "))
                .map(|(value, _)| value.to_owned())
                .collect()
        };
        let again = String::from_utf8(run(binary, &copy, &["config", "print"])?.stdout)?;
        ensure!(values(&again) == values(&text), "{again}\n{text}");

        let mut command = binary.command()?;
        command.env("CHATD_CONFIG", &file);
        let daemon = Daemon::spawn(command, binary, &[])?;
        for (origin, expected) in [("https://b.example", 101), ("https://c.example", 403)] {
            let (_, status) = request_upgrade(daemon.address(), &format!("Origin: {origin}\r\n")).await?;
            ensure!(status == expected, "{origin}: {status}");
        }
    }
    Ok(())
}

#[test]
fn a_file_that_cannot_be_read_is_named() -> Result<()> {
    for binary in Binary::one_per_adapter() {
        let refused = run(binary, Path::new("/nowhere/chatd.toml"), &[])?;
        let line = String::from_utf8(refused.stderr)?;
        ensure!(refused.status.code() == Some(2) && line.contains("/nowhere/chatd.toml"), "{line}");
    }
    Ok(())
}
