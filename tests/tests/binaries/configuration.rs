use std::net::TcpListener;
use std::process::Stdio;

use anyhow::{Result, ensure};
use chat_tests::{Binary, Client, Daemon, request_upgrade};

#[test]
fn help_lists_all_options_variables_and_commands() -> Result<()> {
    for binary in Binary::one_per_adapter() {
        let output = binary.run(&["--help"])?;
        let text = String::from_utf8(output.stdout)?;
        ensure!(output.status.success() && output.stderr.is_empty());
        let options = "listen data durability retain upgrade log-format allow-origin allow-host max-connections command-rate user-command-rate read-rate reply-rate max-per-user max-per-address log-rate memory trust-proxy proxy-protocol drain-timeout echo config token-secret token-public-key token-jwks token-issuer token-audience token-leeway user-header user-name-header proxy-secret guests admin admin-token tls-cert tls-key handover cluster cluster-name cluster-streams cluster-credentials cluster-ca cluster-state cluster-key-memory search-index node replicas";
        for option in options.split(' ') {
            let variable = format!("CHATD_{}", option.to_uppercase().replace('-', "_"));
            ensure!(text.contains(&format!("--{option}")), "--{option} is missing in {text}");
            ensure!(text.contains(&variable), "{variable} is missing in {text}");
        }
        for word in [
            "127.0.0.1:8080",
            "./chat-data",
            "export",
            "import",
            "rooms",
            "check",
            "join",
            "RUST_LOG",
            "token",
            "health",
        ] {
            ensure!(text.contains(word), "{word} is missing in {text}");
        }
    }
    Ok(())
}

#[test]
fn a_bad_option_gives_one_line_and_exit_code_2() -> Result<()> {
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let taken = taken.local_addr()?.to_string();
    let bad: [&[&str]; 55] = [
        &["--listen", "nowhere"],
        &["--listen", "127.0.0.1:70000"],
        &["--listen", &taken],
        &["--listen", "192.0.2.1:1"],
        &["--frobnicate"],
        &["stray"],
        &["--log-format", "xml"],
        &["--upgrade", "magic"],
        &["--max-connections", "0"],
        &["--max-connections", "-1"],
        &["--max-connections", "99999999999999999999"],
        &["--command-rate", "-1"],
        &["--user-command-rate", "many"],
        &["--read-rate", "4G"],
        &["--reply-rate", "x"],
        &["--max-per-user", "-1"],
        &["--max-per-address", "all"],
        &["--log-rate", "all"],
        &["--memory", "1K"],
        &["--trust-proxy", "10.0.0.1/8"],
        &["--proxy-protocol"],
        &["--drain-timeout", "soon"],
        &["--allow-origin", "https://chat.example/path"],
        &["--allow-origin", "wss://chat.example"],
        &["--allow-origin", "https://chat.example:0"],
        &["--allow-origin", "https://채팅.example"],
        &["--allow-host", "http://chat.example"],
        &["--data", ""],
        &["--durability", "eternal"],
        &["--retain", "30"],
        &["--retain", "0d"],
        &["--retain", "0msgs"],
        &["--retain", "for a while"],
        &["--retain", "1d", "--retain", "2d"],
        &["--retain", "1msgs,2msgs"],
        &["--data", ":memory:", "--durability", "disk"],
        &["--data", ":memory:", "--retain", "1d"],
        &["--log-level", "warning"],
        &["--token-audience", "chat"],
        &["--token-issuer", "login"],
        &["--token-leeway", "1h", "--token-secret", "key"],
        &["--user-header", "X-User"],
        &["--user-header", "X User", "--proxy-secret", "key"],
        &["config"],
        &["health", "--log-rate", "all"],
        &["config", "check", "--frobnicate"],
        &["token", "--sub", "ann"],
        &["token", "--key", "/nowhere", "--sub", "ann"],
        &["token", "--key", "/nowhere", "--sub", "ann", "--rooms", "lobby=king"],
        &["check", "--data", ":memory:"],
        &["check", "--data", "/nowhere"],
        &["export", "--data", "/nowhere"],
        &["export", "--data", "/nowhere", "Lobby"],
        &["import", "--data", "/nowhere"],
        &["import", "/nowhere/chat.jsonl"],
    ];
    for binary in Binary::one_per_adapter() {
        for arguments in bad {
            let output = binary.run(arguments)?;
            let text = String::from_utf8(output.stderr)?;
            ensure!(output.status.code() == Some(2), "{arguments:?}: {}", output.status);
            ensure!(text.lines().count() == 1 && text.starts_with("error: "), "{arguments:?}: {text}");
            ensure!(output.stdout.is_empty(), "{arguments:?}");
        }
    }
    Ok(())
}

#[test]
fn a_bad_or_misspelled_variable_gives_one_line_and_exit_code_2() -> Result<()> {
    for binary in Binary::one_per_adapter() {
        for (name, value) in [
            ("CHATD_MAX_CONNECTIONS", "0"),
            ("CHATD_LISTN", "127.0.0.1:0"),
            ("CHATD_CONFIG", "/nowhere/chatd.toml"),
            ("CHATD_PORT", "8080"),
            ("RUST_LOG", "chat_core=loud"),
            ("RUST_LOG", "warning"),
        ] {
            let mut command = binary.command()?;
            command.args(["--listen", "127.0.0.1:0", "--data", ":memory:"]).env(name, value);
            let output = command.stdin(Stdio::null()).output()?;
            let text = String::from_utf8(output.stderr)?;
            ensure!(output.status.code() == Some(2) && text.lines().count() == 1, "{name}: {text}");
        }
    }
    Ok(())
}

#[test]
fn an_unsupported_upgrade_mode_is_not_listed_and_not_accepted() -> Result<()> {
    for binary in Binary::one_per_adapter() {
        let has_framework = binary.name != "chatd-tungstenite";
        let help = String::from_utf8(binary.run(&["--help"])?.stdout)?;
        ensure!(help.contains("- hijack:") && help.contains("- framework:") == has_framework, "{help}");
        let refused = binary.run(&["--upgrade", "framework", "--listen", "nowhere"])?;
        let line = String::from_utf8(refused.stderr)?;
        ensure!(line.contains("--upgrade") != has_framework, "{line}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn flags_override_variables() -> Result<()> {
    for binary in Binary::one_per_adapter() {
        let mut command = binary.command()?;
        command.env("CHATD_LISTEN", "127.0.0.1:1").env("CHATD_MAX_CONNECTIONS", "1");
        command.env("CHATD_PORT", "tcp://10.0.0.1:80").env("CHATD_SERVICE_HOST", "10.0.0.1");
        command.env("CHATD_WARP_SERVICE_HOST", "10.0.0.1").env("CHATD_WARP_SERVICE_PORT", "80");
        command.env("CHATD_WARP_PORT", "tcp://10.0.0.1:80").env("CHATD_WARP_PORT_80_TCP_ADDR", "10.0.0.1");
        command.env("CHATD_ALLOW_ORIGIN", "https://a.example,https://B.example.:443,https://*.d.example");
        let daemon = Daemon::spawn(command, binary, &[])?;
        for (origin, expected) in [
            ("https://b.example", 101),
            ("https://eu.d.example", 101),
            ("https://c.example", 403),
            ("https://d.example", 403),
        ] {
            let (_, status) = request_upgrade(daemon.address(), &format!("Origin: {origin}\r\n")).await?;
            ensure!(status == expected, "{origin}: {status}");
            daemon.sessions(0).await?;
        }
        let _one = Client::connect(daemon.address(), "one").await?;
        let (_, status) = request_upgrade(daemon.address(), "").await?;
        ensure!(status == 503, "over --max-connections: {status}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_variable_counts_as_not_set() -> Result<()> {
    for binary in Binary::one_per_adapter() {
        let mut command = binary.command()?;
        let names = "LISTEN DATA DURABILITY RETAIN UPGRADE LOG_FORMAT ALLOW_ORIGIN MAX_CONNECTIONS DRAIN_TIMEOUT ECHO";
        for name in names.split(' ') {
            command.env(format!("CHATD_{name}"), "");
        }
        command.env("RUST_LOG", "");
        let daemon = Daemon::spawn(command, binary, &[])?;
        let (_, status) = request_upgrade(daemon.address(), "").await?;
        ensure!(status == 101, "{binary:?}: {status}");
        let log = daemon.stop()?;
        ensure!(log.iter().any(|line| line["message"] == "listening"), "{log:#?}");
        let empty = tempfile::TempDir::new()?;
        let check =
            binary.command()?.arg("check").env("CHATD_DATA", "").current_dir(empty.path()).output()?;
        let line = String::from_utf8(check.stderr)?;
        ensure!(check.status.code() == Some(2) && line.contains("./chat-data"), "{line}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_target_that_does_not_exist_keeps_errors_and_is_reported() -> Result<()> {
    for binary in Binary::one_per_adapter() {
        let mut command = binary.command()?;
        command.env("RUST_LOG", "warn,my_service=debug");
        let log = Daemon::spawn(command, binary, &[])?.stop()?;
        let reported = log.iter().find(|line| line["message"] == "RUST_LOG names a target without log lines");
        ensure!(reported.is_some_and(|line| line["directive"] == "my_service"), "{log:#?}");
    }
    Ok(())
}
