//! Every case of the suite has one transcript, whichever mechanism serves it: what each puts on the wire is
//! compared with what the first does, byte for byte wherever the protocol leaves nothing open.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chat_conformance::{Case, InProcess, Mounted, Report, cases, compare, run};
use chat_tests::{ADAPTERS, Adapter};
use libtest_mimic::{Arguments, Failed, Trial};

/// Cases at once: most of them wait for the server most of the time.
const THREADS: usize = 12;

/// Differences that are known: the case, the mechanisms, and the reason. Each fails once it is gone.
const DIFFERENCES: &[(&str, &[&str], &str)] = &[
    (
        "handshake::an_upgrade_header_with_several_protocols_is_accepted",
        &["warp_context", "actix_hijack", "actix_context"],
        "they take a request for an upgrade only if its `Upgrade` is the bare word",
    ),
    (
        "handshake::an_expect_header_does_not_prevent_the_upgrade",
        ACTIX,
        "actix answers 100 itself, ahead of the 101",
    ),
    ("refusal::two_hosts_are_refused", ACTIX, BY_ITSELF),
    ("refusal::a_missing_host_is_refused", ACTIX, BY_ITSELF),
    ("refusal::content_length_with_transfer_encoding_is_refused", ACTIX, BY_ITSELF),
    (
        "refusal::frames_after_a_refused_handshake_are_not_served",
        ACTIX,
        "what comes behind a refused request is one more malformed request to hyper; actix just ends",
    ),
    ("refusal::another_path_is_not_upgraded", ACTIX, NOT_FOUND),
    ("arrival::a_request_before_the_handshake_is_answered_first", ACTIX, NOT_FOUND),
    ("arrival::a_partial_head_is_closed", ACTIX, TOO_LATE),
    ("arrival::a_silent_connection_is_closed", ACTIX, TOO_LATE),
    (
        "framing::a_violation_does_not_affect_other_connections",
        &["actix_context"],
        "of two breaches in one header (reserved bits, a length too big) it names the other",
    ),
    ("fragments::endless_empty_fragments_are_refused", CODEC, "the codec shows messages, not fragments"),
    (
        "utf8::invalid_utf_8_is_refused_in_its_own_fragment",
        &["actix_context"],
        "actix-ws checks text at the end of its message",
    ),
    ("close::unassigned_close_codes_are_refused", &["actix_context"], AS_A_BREACH),
    ("close::reserved_close_codes_are_refused", &["actix_context"], AS_A_BREACH),
    (
        "close::a_close_reason_that_is_not_utf_8_is_refused",
        &["actix_context"],
        "actix-ws takes it for a breach of the protocol (1002), not for an invalid payload (1007)",
    ),
    ("close::a_message_before_a_close_is_stored", CODEC, DEAF),
    ("close::commands_before_a_close_are_answered", CODEC, DEAF),
    (
        "close::replies_arrive_after_a_half_close",
        CODEC,
        "the codec ends both directions when the peer ends one",
    ),
    (
        "close::a_violation_ends_with_a_fin",
        CODEC,
        "after a breach nothing more is read, so the peer's answer to the close causes a reset",
    ),
    (
        "close::a_client_that_sends_after_its_close_can_read_the_echo",
        &["axum_context"],
        "after a close axum reads no more, so what the peer still sends causes a reset",
    ),
];

const ACTIX: &[&str] = &["actix_hijack", "actix_context"];
const CODEC: &[&str] = &["warp_context", "axum_context"];
const BY_ITSELF: &str = "actix's parser answers 400 itself, without a body";
const NOT_FOUND: &str = "what is not the chat's the host answers, and actix's 404 has no body";
const TOO_LATE: &str =
    "a head that is late is answered with 408 by actix, with the end by hyper: section 1 allows both";
const AS_A_BREACH: &str =
    "a close that must not be sent is a breach to actix-ws; tungstenite answers it itself, as a close";
const DEAF: &str = "the codec sends nothing more once it has read a close frame";

/// Comparisons that come out the same byte for byte and in the same order, of six for each case: fewer of them would
/// say that what is left open has grown.
const EXACT: usize = 1_600;

/// How the comparisons came out.
#[derive(Debug, Default)]
struct Tally {
    /// Nothing that is left open was needed.
    exact: AtomicUsize,
    /// Something was.
    open: AtomicUsize,
    /// A difference that is known.
    known: AtomicUsize,
    /// What was the same, in the same place.
    entries: AtomicUsize,
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
    trials.push(Trial::test("the_known_differences_name_cases_and_mechanisms", names));
    let conclusion = libtest_mimic::run(&arguments, trials);
    if arguments.list || conclusion.num_filtered_out > 0 || conclusion.has_failed() {
        return conclusion.exit_code();
    }
    let [exact, open, known, entries] =
        [&tally.exact, &tally.open, &tally.known, &tally.entries].map(|count| count.load(Ordering::Relaxed));
    let counts = format!(
        "{exact} comparisons byte for byte ({entries} entries), {open} up to what is open, {known} known differences"
    );
    let told = match exact {
        ..EXACT => writeln!(io::stderr(), "{counts}: at least {EXACT} are to be byte for byte"),
        EXACT.. => writeln!(io::stdout(), "{counts}"),
    };
    if exact < EXACT || told.is_err() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn names() -> Result<(), Failed> {
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
    let expected = play(reference, case);
    if let Some(problem) = expected.explain(case) {
        return Err(problem.into());
    }
    let mut problems = String::new();
    for other in others {
        let path = case.path();
        let known =
            DIFFERENCES.iter().find(|(case, names, _)| *case == path && names.contains(&other.name()));
        let came = play(other, case);
        let difference = difference(case, &expected, &came, tally);
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
                problems.push_str(&format!("{name} differs no more, take it off the list ({reason})\n"));
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
        adapter.serve(server.listener, server.endpoint, &server.limits, server.stop).await;
    });
    run(&target, case)
}
