use std::process::Output;

use anyhow::{Context, Result, ensure};
use chat_adapter_tests::tls::CertificateFiles;
use chat_tests::{Binary, Daemon};

#[test]
fn the_task_health_tells_if_a_server_is_ready() -> Result<()> {
    let files = CertificateFiles::new();
    let (certificate, key) = (files.certificate(), files.key());
    let tls =
        ["--tls-cert", certificate.to_str().context("a path")?, "--tls-key", key.to_str().context("a path")?];
    let proxy = ["--proxy-protocol", "--trust-proxy", "127.0.0.1"];
    for binary in Binary::one_per_adapter() {
        for options in [&[][..], &tls, &proxy] {
            let daemon = Daemon::start(binary, options)?;
            let listen = daemon.address().to_string();
            // The address of a server that listens on all of them.
            let everywhere = format!("0.0.0.0:{}", daemon.address().port());
            for listen in [&listen, &everywhere] {
                let output = health(binary, listen, options)?;
                ensure!(output.status.success() && output.stdout == b"ready\n", "{options:?}: {output:?}");
            }
            daemon.stop()?;
            let output = health(binary, &listen, options)?;
            let error = String::from_utf8(output.stderr)?;
            ensure!(output.status.code() == Some(1) && error.lines().count() == 1, "{options:?}: {error}");
            ensure!(
                error.starts_with(&format!("error: the server at {listen} does not answer: ")),
                "{error}"
            );
        }
    }
    Ok(())
}

fn health(binary: Binary, listen: &str, options: &[&str]) -> Result<Output> {
    binary.run(&[&["--listen", listen], options, &["health"]].concat())
}
