use std::net::TcpListener;
use std::process::Stdio;

use anyhow::{Result, ensure};
use chat_tests::{Client, Daemon};

use crate::{programs, status_of};

#[test]
fn help_tells_a_newcomer_what_to_do() -> Result<()> {
    for binary in programs() {
        let output = binary.run(&["--help"])?;
        let text = String::from_utf8(output.stdout)?;
        ensure!(output.status.success() && output.stderr.is_empty());
        for word in [
            "--listen",
            "--data",
            "--durability",
            "--retain",
            "--upgrade",
            "--log-format",
            "--allow-origin",
            "--max-connections",
            "--drain-timeout",
            "--echo",
            "CHATD_LISTEN",
            "CHATD_DATA",
            "CHATD_DURABILITY",
            "CHATD_RETAIN",
            "CHATD_UPGRADE",
            "CHATD_LOG_FORMAT",
            "CHATD_ALLOW_ORIGIN",
            "CHATD_MAX_CONNECTIONS",
            "CHATD_DRAIN_TIMEOUT",
            "CHATD_ECHO",
            "127.0.0.1:8080",
            "./chat-data",
            "export",
            "check",
            "join",
        ] {
            ensure!(text.contains(word), "{word} is missing in {text}");
        }
    }
    Ok(())
}

#[test]
fn a_bad_configuration_is_one_line_and_exit_code_2() -> Result<()> {
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let taken = taken.local_addr()?.to_string();
    let bad: [&[&str]; 27] = [
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
        &["--drain-timeout", "soon"],
        &["--allow-origin", "https://chat.example/path"],
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
        &["check", "--data", ":memory:"],
        &["check", "--data", "/nowhere"],
        &["export", "--data", "/nowhere"],
        &["export", "--data", "/nowhere", "Lobby"],
    ];
    for binary in programs() {
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
fn a_bad_or_misspelt_variable_is_one_line_and_exit_code_2() -> Result<()> {
    for binary in programs() {
        for (name, value) in
            [("CHATD_MAX_CONNECTIONS", "0"), ("CHATD_LISTN", "127.0.0.1:0"), ("RUST_LOG", "chat_core=loud")]
        {
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
fn a_mechanism_that_a_binary_has_not_is_neither_offered_nor_taken() -> Result<()> {
    for binary in programs() {
        let has_context = binary.name != "chatd-tungstenite";
        let help = String::from_utf8(binary.run(&["--help"])?.stdout)?;
        ensure!(help.contains("- hijack:") && help.contains("- context:") == has_context, "{help}");
        let refused = binary.run(&["--upgrade", "context", "--listen", "nowhere"])?;
        let line = String::from_utf8(refused.stderr)?;
        ensure!(line.contains("--upgrade") != has_context, "{line}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_configure_and_flags_win() -> Result<()> {
    for binary in programs() {
        let mut command = binary.command()?;
        command.env("CHATD_LISTEN", "127.0.0.1:1").env("CHATD_MAX_CONNECTIONS", "1");
        command.env("CHATD_PORT", "tcp://10.0.0.1:80").env("CHATD_SERVICE_HOST", "10.0.0.1");
        command.env("CHATD_ALLOW_ORIGIN", "https://a.example,https://b.example");
        let daemon = Daemon::spawn(command, binary, &[])?;
        for (origin, status) in [("https://b.example", "101"), ("https://c.example", "403")] {
            ensure!(
                status_of(daemon.address(), &format!("Origin: {origin}\r\n")).await? == status,
                "{origin}"
            );
        }
        daemon.sessions(0).await?;
        let _one = Client::connect(daemon.address(), "one").await?;
        ensure!(status_of(daemon.address(), "").await? == "503");
    }
    Ok(())
}
