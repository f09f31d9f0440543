//! The transcripts of every case of the conformance suite, compared between all adapters. They must be equal byte for
//! byte wherever the protocol prescribes the bytes.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chat_conformance::{Case, InProcess, Mounted, Report, cases, compare, run};
use chat_tests::{ADAPTERS, Adapter};
use libtest_mimic::{Arguments, Failed, Trial};

/// The number of cases that run at the same time. Most of them wait for the server.
const THREADS: usize = 12;

/// Known differences: the case, the adapters, and the reason. A difference that no longer occurs fails the test.
const DIFFERENCES: &[(&str, &[&str], &str)] = &[
    (
        "handshake::an_upgrade_header_with_several_protocols_is_accepted",
        &["warp_framework", "actix_hijack", "actix_framework"],
        "they accept an upgrade only if `Upgrade` has no other value",
    ),
    (
        "handshake::an_expect_header_does_not_prevent_the_upgrade",
        ACTIX,
        "actix answers 100 itself, ahead of the 101",
    ),
    ("refusal::two_hosts_are_refused", ACTIX, OWN_RESPONSE),
    ("refusal::a_missing_host_is_refused", ACTIX, OWN_RESPONSE),
    ("refusal::content_length_with_transfer_encoding_is_refused", ACTIX, OWN_RESPONSE),
    ("http::a_name_that_is_not_percent_encoded_is_refused", ACTIX, OWN_RESPONSE),
    ("http::a_transfer_encoding_on_a_handshake_is_refused", ACTIX, OWN_RESPONSE),
    (
        "http::a_pipelined_head_request_is_answered_without_a_body",
        ACTIX,
        "actix may answer an earlier request as if it were the HEAD",
    ),
    ("arrival::a_partial_head_is_closed", ACTIX, TOO_LATE),
    ("arrival::a_silent_connection_is_closed", ACTIX, TOO_LATE),
    (
        "framing::a_violation_does_not_affect_other_connections",
        &["actix_framework"],
        "of two violations in one header (reserved bits, excessive length) it reports the other one",
    ),
    ("fragments::endless_empty_fragments_are_refused", CODEC, "the codec shows messages, not fragments"),
    (
        "utf8::invalid_utf_8_is_refused_in_its_own_fragment",
        &["actix_framework"],
        "actix-ws checks text at the end of its message",
    ),
    ("close::unassigned_close_codes_are_refused", &["actix_framework"], AS_A_VIOLATION),
    ("close::reserved_close_codes_are_refused", &["actix_framework"], AS_A_VIOLATION),
    (
        "close::a_close_reason_that_is_not_utf_8_is_refused",
        &["actix_framework"],
        "actix-ws reports a protocol violation (1002) instead of an invalid payload (1007)",
    ),
    ("close::a_message_before_a_close_is_stored", CODEC, SENDS_NOTHING),
    ("close::commands_before_a_close_are_answered", CODEC, SENDS_NOTHING),
    (
        "close::replies_arrive_after_a_half_close",
        CODEC,
        "the codec ends both directions when the peer ends one",
    ),
    (
        "close::a_violation_ends_with_a_fin",
        CODEC,
        "the codec reads nothing after a violation, so the answer to its close frame causes a reset",
    ),
    (
        "close::a_client_that_sends_after_its_close_can_read_the_echo",
        &["axum_framework"],
        "axum reads nothing after a close, so further bytes of the client cause a reset",
    ),
];

const ACTIX: &[&str] = &["actix_hijack", "actix_framework"];
const CODEC: &[&str] = &["warp_framework", "axum_framework"];
const OWN_RESPONSE: &str = "actix's parser answers 400 itself, without a body";
const TOO_LATE: &str = "actix answers a late head with 408, hyper ends the connection: section 1 allows both";
const AS_A_VIOLATION: &str =
    "actix-ws reports an invalid close frame as a violation; tungstenite answers it as a close";
const SENDS_NOTHING: &str = "the codec sends nothing more once it has read a close frame";

/// The number of times that two mechanisms are compared before a difference counts. A difference between mechanisms is
/// there every time. One that goes away comes from the time at which the machine ran a task.
const ATTEMPTS: usize = 3;

/// The minimum number of comparisons, of six for each case, that are equal byte for byte and in the same order.
const MIN_EXACT: usize = 1_600;

/// The results of the comparisons.
#[derive(Debug, Default)]
struct Tally {
    /// Equal byte for byte.
    exact: AtomicUsize,
    /// Equal in everything that the protocol prescribes.
    open: AtomicUsize,
    /// Different as listed.
    known: AtomicUsize,
    /// Equal entries.
    entries: AtomicUsize,
    /// Comparisons that were repeated.
    repeated: AtomicUsize,
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(Some(THREADS));
    let tally = Arc::new(Tally::default());
    let trial = |case: Case| {
        let tally = Arc::clone(&tally);
        Trial::test(format!("transcripts::{}", case.path()), move || judge(&case, &tally))
    };
    let mut trials: Vec<_> = cases().into_iter().map(trial).collect();
    trials.push(Trial::test("known_differences_name_existing_cases_and_adapters", check_names));
    let conclusion = libtest_mimic::run(&arguments, trials);
    if arguments.list || conclusion.num_filtered_out > 0 || conclusion.has_failed() {
        return conclusion.exit_code();
    }
    let [exact, open, known, entries, repeated] =
        [&tally.exact, &tally.open, &tally.known, &tally.entries, &tally.repeated]
            .map(|count| count.load(Ordering::Relaxed));
    let counts = format!(
        "{exact} comparisons equal byte for byte ({entries} entries), {open} equal where prescribed, \
         {known} known differences, {repeated} repeated"
    );
    let printed = match exact {
        ..MIN_EXACT => writeln!(io::stderr(), "{counts}: at least {MIN_EXACT} must be equal byte for byte"),
        MIN_EXACT.. => writeln!(io::stdout(), "{counts}"),
    };
    if exact < MIN_EXACT || printed.is_err() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn check_names() -> Result<(), Failed> {
    let cases: Vec<_> = cases().iter().map(Case::path).collect();
    for (path, mechanisms, _) in DIFFERENCES {
        let twice = DIFFERENCES.iter().filter(|(other, ..)| other == path).count() > 1;
        let unknown = mechanisms.iter().any(|name| ADAPTERS.iter().all(|adapter| adapter.name() != *name));
        if twice || unknown || !cases.iter().any(|case| case == path) {
            return Err(format!("{path}: no such case or mechanism, or listed twice").into());
        }
    }
    Ok(())
}

fn judge(case: &Case, tally: &Tally) -> Result<(), Failed> {
    let [reference, others @ ..] = ADAPTERS;
    let mut expected = play(reference, case);
    if let Some(problem) = expected.explain(case) {
        return Err(problem.into());
    }
    let mut problems = String::new();
    for other in others {
        let path = case.path();
        let known =
            DIFFERENCES.iter().find(|(case, names, _)| *case == path && names.contains(&other.name()));
        let mut difference = difference(case, &expected, &play(other, case), tally);
        for _ in 1..ATTEMPTS {
            let (Some(found), None) = (&difference, known) else { break };
            tally.repeated.fetch_add(1, Ordering::Relaxed);
            // Standard error, so that a case to repair is seen although it passes.
            drop(writeln!(io::stderr(), "{path}, {}: compared again\n{found}", other.name()));
            expected = play(reference, case);
            difference = self::difference(case, &expected, &play(other, case), tally);
        }
        match (difference, known) {
            (None, None) => {}
            (Some(_), Some(_)) => _ = tally.known.fetch_add(1, Ordering::Relaxed),
            (Some(difference), None) => {
                problems.push_str(&format!(
                    "{}\n- {}\n+ {}\n{difference}\n",
                    case.statement,
                    reference.name(),
                    other.name()
                ));
            }
            (None, Some((_, _, reason))) => {
                let name = other.name();
                problems.push_str(&format!("{name} no longer differs, remove it from the list ({reason})\n"));
            }
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(problems.into()) }
}

fn difference(case: &Case, expected: &Report, came: &Report, tally: &Tally) -> Option<String> {
    let comparison = compare(case, &expected.transcript, &came.transcript);
    if let Some(difference) = comparison.difference {
        return Some(difference.to_string());
    }
    if let Some(problem) = came.problem() {
        return Some(format!("  the case fails: {problem}"));
    }
    let kind = if comparison.open == 0 { &tally.exact } else { &tally.open };
    kind.fetch_add(1, Ordering::Relaxed);
    tally.entries.fetch_add(comparison.exact, Ordering::Relaxed);
    None
}

fn play(adapter: Adapter, case: &Case) -> Report {
    let target = InProcess::new(adapter.name(), move |server: Mounted| async move {
        // A server that cannot start serves no case.
        let _ended = adapter.serve(server.listener, server.endpoint, server.stop).await;
    });
    run(&target, case)
}
