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
fn mistakes_in_key_files_are_shown_with_the_others_and_with_the_line_of_their_option() -> Result<()> {
    let home = TempDir::new()?;
    let path = |name: &str| home.path().join(name).to_str().map(str::to_owned).context("a path in UTF-8");
    let (file, short, good) = (path("chatd.toml")?, path("short")?, path("good")?);
    fs::write(&short, "too short")?;
    fs::write(&good, "x".repeat(32))?;
    let missing = path("missing")?;
    let lines = [
        "[users]".to_owned(),
        format!("token-secret = [{good:?}, {short:?}, {missing:?}]"),
        format!("token-public-key = {good:?}"),
        "max-connections = 0".to_owned(),
        format!("token-jwks = {short:?}"),
        format!("proxy-secret = {missing:?}"),
        format!("tls-cert = {good:?}\ntls-key = {missing:?}"),
        format!("admin-token = {short:?}"),
    ];
    fs::write(&file, lines.join("\n"))?;
    for binary in Binary::one_per_adapter() {
        let refused = run(binary, Path::new(&file), &["config", "check"])?;
        let shown = String::from_utf8(refused.stderr)?;
        let expected = [
            "1: unknown table `users`: write each option at the top level".to_owned(),
            format!("2: --token-secret: the key file {short} is not valid: "),
            format!("2: --token-secret: the key file {missing} cannot be read: No such file"),
            format!("3: --token-public-key: the key file {good} is not valid: "),
            "4: max-connections: invalid value '0'".to_owned(),
            format!("5: --token-jwks: the key file {short} is not valid: "),
            "6: --user-header and --proxy-secret: set both or none".to_owned(),
            format!("6: --proxy-secret: the key file {missing} cannot be read: No such file"),
            format!("7: --tls-cert: {good} has no certificate in the PEM format"),
            format!("8: --tls-key: cannot read {missing}: No such file"),
            format!("9: --admin-token: {short}: the file must have one line"),
        ];
        ensure!(shown.lines().count() == expected.len(), "{shown}");
        for (shown, expected) in shown.lines().zip(expected) {
            ensure!(shown.starts_with(&format!("error: {file}:{expected}")), "{shown}\n{expected}");
        }
        ensure!(refused.status.code() == Some(2) && refused.stdout.is_empty(), "{}", refused.status);
    }
    // A flag that replaces a wrong key has no line in the file.
    fs::write(&file, format!("token-secret = {missing:?}\n"))?;
    let binary = Binary::one_per_adapter().next().context("a binary")?;
    let accepted = run(binary, Path::new(&file), &["config", "check", "--token-secret", &good])?;
    ensure!(accepted.status.success(), "{}", String::from_utf8_lossy(&accepted.stderr));
    let refused = run(binary, Path::new(&file), &["config", "check", "--token-secret", &short])?;
    let shown = String::from_utf8(refused.stderr)?;
    ensure!(shown.starts_with("error: --token-secret: the key file "), "{shown}");
    Ok(())
}

#[test]
fn options_of_the_server_may_follow_a_task_that_uses_them() -> Result<()> {
    let home = TempDir::new()?;
    let file = home.path().join("chatd.toml");
    fs::write(&file, "log-rate = 5\nmax-per-user = 6\nguests = true\n")?;
    let file = file.to_str().context("a path in UTF-8")?;
    for binary in Binary::one_per_adapter() {
        let before = ["--log-rate", "7", "--allow-origin", "https://a.example", "--echo", "--config", file];
        let printed = |arguments: &[&str]| -> Result<String> {
            let printed = binary.run(arguments)?;
            ensure!(printed.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&printed.stderr));
            Ok(String::from_utf8(printed.stdout)?)
        };
        let expected = printed(&[&before[..], &["config", "print"]].concat())?;
        for line in [
            "log-rate = 7  # --log-rate",
            "allow-origin = [\"https://a.example\"]  # --allow-origin",
            "echo = true  # --echo",
            &format!("max-per-user = 6  # {file}:2"),
            &format!("guests = true  # {file}:3"),
        ] {
            ensure!(expected.lines().any(|shown| shown == line), "{line} is missing in {expected}");
        }
        for arguments in [
            [&["config", "print"], &before[..]].concat(),
            [&["config"], &before[..], &["print"]].concat(),
            [&before[2..], &["config", "print"], &before[..2]].concat(),
        ] {
            ensure!(printed(&arguments)? == expected, "{arguments:?}");
        }
        // Nothing listens on port 1 of this address.
        for arguments in [["health", "--listen", "127.0.0.1:1"], ["--listen", "127.0.0.1:1", "health"]] {
            let asked = binary.run(&arguments)?;
            let shown = String::from_utf8(asked.stderr)?;
            ensure!(asked.status.code() == Some(1) && shown.contains("the server at 127.0.0.1:1"), "{shown}");
        }
        let help = printed(&["health", "--help"])?;
        ensure!(!help.contains("--log-rate") && help.contains(&format!("{} --help", binary.name)), "{help}");
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
            "# retain is not set; default: keep all".to_owned(),
            "# durability is not set; default: disk, or none with --cluster".to_owned(),
            "# log-level is not set; default: info".to_owned(),
            "# token-audience is not set; default: tokens without an audience".to_owned(),
            "# allow-host is not set; default: none".to_owned(),
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
