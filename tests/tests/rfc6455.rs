//! The conformance of each binary with RFC 6455, tested by kosoku, a public tool that runs the cases of Autobahn. Each
//! result other than OK is listed here with the reason, and published in `docs/rfc6455.md`.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chat_tests::{Binary, Daemon, check_levels, for_each_binary};
use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

/// The number of cases. Those of speed and size (9) and of compression (12, 13), which no server offers, are left out.
const CASES: usize = 247;

/// The time limit for kosoku. A run takes five seconds; most of this time, kosoku waits.
const PATIENCE: Duration = Duration::from_secs(300);

/// A case whose verdict is not OK.
#[derive(Debug)]
struct Deviation {
    case: &'static str,
    verdict: &'static str,
    /// The close code of the server.
    code: u64,
    reason: &'static str,
}

const fn deviation(case: &'static str, verdict: &'static str, code: u64, reason: &'static str) -> Deviation {
    Deviation { case, verdict, code, reason }
}

const EVERYWHERE: [Deviation; 5] = [
    deviation(
        "6.4.3",
        NON_STRICT,
        1007,
        "Text is checked when its frame is complete, not while parts are missing.",
    ),
    deviation("6.4.4", NON_STRICT, 1007, "The same; the frame is cut at another place."),
    deviation(
        "7.1.6",
        INFORMATIONAL,
        1000,
        "The messages before the close come back, then the close is echoed.",
    ),
    deviation("7.13.1", INFORMATIONAL, 1002, "5000 is not a valid close code. The server answers 1002."),
    deviation("7.13.2", INFORMATIONAL, 1002, "65535 is not a valid close code. The server answers 1002."),
];

const ACTIX_FRAMEWORK: [Deviation; 2] = [
    deviation(
        "6.4.1",
        NON_STRICT,
        1007,
        "actix-ws checks text at the end of the message, not in each fragment.",
    ),
    deviation("6.4.2", NON_STRICT, 1007, "The same; the message is cut at another place."),
];

const OK: &str = "OK";
const NON_STRICT: &str = "NON-STRICT";
const INFORMATIONAL: &str = "INFORMATIONAL";

for_each_binary! { conforms_to_rfc_6455 }

#[test]
fn docs_list_every_deviation() -> Result<()> {
    let published = published()?;
    for (deviations, whose) in [(&EVERYWHERE[..], "all"), (&ACTIX_FRAMEWORK, "actix framework")] {
        for Deviation { case, verdict, code, reason } in deviations {
            let verdict = verdict.to_lowercase();
            let row = format!("| {case} | {whose} | {verdict} | {code} | {reason} |");
            ensure!(published.contains(&row), "docs/rfc6455.md lacks {row}");
        }
    }
    Ok(())
}

#[test]
fn unexpected_results_stale_deviations_and_missing_cases_are_found() {
    let outcome = |verdict: &str, close: &str, code| Outcome {
        verdict: verdict.to_owned(),
        close: close.to_owned(),
        code,
        details: "what happened".to_owned(),
    };
    let expected: Vec<_> = EVERYWHERE.iter().collect();
    let mut good: BTreeMap<_, _> =
        (0..CASES - expected.len()).map(|n| (format!("1.{n}"), outcome(OK, OK, None))).collect();
    good.extend(EVERYWHERE.iter().map(|deviation| {
        let close = if deviation.verdict == INFORMATIONAL { INFORMATIONAL } else { OK };
        (deviation.case.to_owned(), outcome(deviation.verdict, close, Some(deviation.code)))
    }));
    assert_eq!(unexpected(&good, &expected), [] as [String; 0]);
    for (case, broken, complaint) in [
        ("1.7", outcome("FAILED", OK, None), "1.7 is FAILED, its close OK (no code): what happened"),
        ("1.7", outcome(OK, "WRONG CODE", Some(1000)), "1.7 is OK, its close WRONG CODE (1000)"),
        ("1.7", outcome(NON_STRICT, OK, None), "1.7 is NON-STRICT"),
        ("6.4.3", outcome("FAILED", OK, Some(1007)), "6.4.3 is FAILED, not NON-STRICT with 1007"),
        ("6.4.3", outcome(NON_STRICT, OK, None), "6.4.3 is NON-STRICT"),
        ("6.4.3", outcome(NON_STRICT, "UNCLEAN", Some(1007)), "6.4.3 is NON-STRICT"),
        ("6.4.3", outcome(OK, OK, Some(1007)), "6.4.3 is OK: remove it from the list"),
    ] {
        let mut results = good.clone();
        results.insert(case.to_owned(), broken);
        let unexpected = unexpected(&results, &expected);
        assert!(unexpected.len() == 1 && unexpected[0].starts_with(complaint), "{unexpected:?}");
    }
    let mut short = good.clone();
    short.remove("1.7");
    assert_eq!(unexpected(&short, &expected), ["246 cases ran, not 247"]);
    let mut without = good;
    without.remove("6.4.3");
    without.insert("1.999".to_owned(), outcome(OK, OK, None));
    assert_eq!(unexpected(&without, &expected), ["6.4.3 did not run"]);
}

async fn conforms_to_rfc_6455(binary: Binary) -> Result<()> {
    let (adapter, upgrade) = (binary.adapter(), binary.upgrade);
    let own = if (adapter, upgrade) == ("actix", "framework") { &ACTIX_FRAMEWORK[..] } else { &[] };

    // After a violation, a framework's WebSocket keeps its connection until the time limit of a close. A fast run has
    // more than 100 of these at once, all from one address.
    let daemon = Daemon::start(binary, &["--echo", "--log-rate", "0", "--max-per-address", "0"])?;
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("rfc6455-{adapter}-{upgrade}"));
    let (status, output) = kosoku(&daemon, &folder).await?;
    let results = results(&folder).with_context(|| output.clone())?;
    let unexpected = unexpected(&results, &EVERYWHERE.iter().chain(own).collect::<Vec<_>>());
    ensure!(unexpected.is_empty(), "{}\n{output}", unexpected.join("\n"));
    ensure!(status.success(), "{output}");
    let row = row(binary, &results);
    ensure!(published()?.contains(&row), "docs/rfc6455.md lacks {row}");
    daemon.sessions(0).await?;
    check_log(&daemon.stop()?)
}

/// Runs kosoku, which writes its report into a directory. Returns its exit status and its output. The environment
/// variable `KOSOKU` names the program; it defaults to `kosoku`.
async fn kosoku(daemon: &Daemon, folder: &Path) -> Result<(ExitStatus, String)> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    let kosoku = env::var_os("KOSOKU").map_or_else(|| PathBuf::from("kosoku"), PathBuf::from);
    let mut command = Command::new(&kosoku);
    command.arg(format!("ws://{}/ws", daemon.address()));
    command.args(["-x", "9.*", "-x", "12.*", "-x", "13.*", "-p", "2", "-o"]).arg(folder);
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(PATIENCE, command.output())
        .await
        .context("kosoku does not exit")?
        .with_context(|| format!("{} does not run: tests/provide installs it", kosoku.display()))?;
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Ok((output.status, format!("kosoku ended with {}: {out}{error}", output.status)))
}

/// The result of a case.
#[derive(Clone, Debug)]
struct Outcome {
    verdict: String,
    /// The verdict on the close alone.
    close: String,
    code: Option<u64>,
    details: String,
}

impl Outcome {
    fn is_ok(&self) -> bool {
        self.verdict == OK && self.close == OK
    }

    fn is(&self, deviation: &Deviation) -> bool {
        let close = if deviation.verdict == INFORMATIONAL { INFORMATIONAL } else { OK };
        self.verdict == deviation.verdict && self.close == close && self.code == Some(deviation.code)
    }
}

/// Reads the results of all cases from a report.
fn results(folder: &Path) -> Result<BTreeMap<String, Outcome>> {
    let read = |name: &str| -> Result<Value> {
        let path = folder.join(name);
        let text = fs::read_to_string(&path).with_context(|| format!("no {}", path.display()))?;
        Ok(serde_json::from_str(&text)?)
    };
    let index = read("index.json")?;
    let cases = index.as_object().and_then(|servers| servers.values().next()?.as_object());
    let mut results = BTreeMap::new();
    for (case, entry) in cases.context("a report on no server")? {
        let report = read(entry["reportfile"].as_str().context("no report")?)?;
        let details = ["description", "expected", "received", "result", "resultClose"]
            .map(|name| format!("\n  {name}: {}", report[name]));
        let text =
            |name: &str| Ok::<_, anyhow::Error>(report[name].as_str().context("no verdict")?.to_owned());
        let outcome = Outcome {
            verdict: text("behavior")?,
            close: text("behaviorClose")?,
            code: report["remoteCloseCode"].as_u64(),
            details: details.concat(),
        };
        results.insert(case.clone(), outcome);
    }
    Ok(results)
}

/// Returns the results that differ from the expected ones.
fn unexpected(results: &BTreeMap<String, Outcome>, expected: &[&Deviation]) -> Vec<String> {
    let mut unexpected = Vec::new();
    for (case, outcome) in results {
        let Outcome { verdict, close, code, details } = outcome;
        let code = code.map_or_else(|| "no code".to_owned(), |code| code.to_string());
        match expected.iter().find(|deviation| deviation.case == case) {
            None if outcome.is_ok() => {}
            None => {
                unexpected.push(format!("{case} is {verdict}, its close {close} ({code}): {details}"));
            }
            Some(deviation) if outcome.is(deviation) => {}
            Some(_) if outcome.is_ok() => unexpected.push(format!("{case} is OK: remove it from the list")),
            Some(deviation) => unexpected.push(format!(
                "{case} is {verdict}, not {} with {}; its close {close} ({code}): {details}",
                deviation.verdict, deviation.code
            )),
        }
    }
    let missing = expected.iter().filter(|deviation| !results.contains_key(deviation.case));
    unexpected.extend(missing.map(|deviation| format!("{} did not run", deviation.case)));
    if results.len() != CASES {
        unexpected.push(format!("{} cases ran, not {CASES}", results.len()));
    }
    unexpected
}

/// Returns the row of the published table for these results.
fn row(binary: Binary, results: &BTreeMap<String, Outcome>) -> String {
    let count = |verdict| results.values().filter(|outcome| outcome.verdict == verdict).count();
    let [ok, non_strict, informational] = [OK, NON_STRICT, INFORMATIONAL].map(count);
    let failed = results.len() - ok - non_strict - informational;
    let (adapter, upgrade) = (binary.adapter(), binary.upgrade);
    format!("| {adapter} | {upgrade} | {ok} | {non_strict} | {informational} | {failed} |")
}

fn published() -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/rfc6455.md");
    Ok(fs::read_to_string(path)?)
}

/// Checks the log: every case was upgraded with a 101, every session has ended, and there is no warning or error.
fn check_log(log: &[Value]) -> Result<()> {
    let with = |message: &'static str| log.iter().filter(move |line| line["message"] == message);
    let upgrades: Vec<_> = with("upgrade accepted").map(|line| line["status"].as_u64()).collect();
    ensure!(upgrades.len() == CASES && upgrades.iter().all(|status| *status == Some(101)), "{upgrades:?}");
    let ended = with("session ended").count();
    ensure!(ended == CASES, "{ended} sessions ended");
    check_levels(log)
}
