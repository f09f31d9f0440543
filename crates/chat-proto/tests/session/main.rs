//! A session over time: its answers, its pings, and its ends.

mod following;
mod hello;
mod model;
mod pages;
mod random_command;
mod tokens;

use std::time::Duration;

use chat_proto::{CloseCode, ErrorCode, Limits, ProtocolViolation, Rate};
use proptest::prelude::*;
use proptest::sample::select;

use crate::model::Model;
use crate::random_command::RandomCommand;

const SECOND: Duration = Duration::from_secs(1);

fn limits() -> Limits {
    Limits::default().with(|limits| {
        limits.connection.max_rooms = 2;
        limits.connection.max_backlog_commands = 4;
        limits.connection.max_sends_in_flight = 3;
        limits.connection.expiry_notice = 2 * SECOND;
        limits.rates.connection = Rate::UNLIMITED;
        limits.rates.user = Rate::UNLIMITED;
    })
}

/// Returns rates that a random history reaches. They divide a second, so that no time is rounded.
fn limits_with_rates() -> Limits {
    limits().with(|limits| {
        limits.rates.connection = Rate::new(4, 8);
        limits.rates.user = Rate::new(5, 6);
        limits.rates.close_after = 2 * SECOND;
    })
}

#[derive(Clone, Debug)]
enum Step {
    Text(RandomCommand),
    Outcome(Option<ErrorCode>, bool),
    Submitted,
    Wait(Duration),
    Deadline,
    Timer,
    Credentials,
    SignOfLife,
    Drain,
    Binary,
    Violation(ProtocolViolation),
    Stall,
}

impl Step {
    fn take(self, model: &mut Model) {
        match self {
            Self::Text(command) => model.text(command),
            Self::Outcome(refusal, gap) => model.outcome(refusal, gap),
            Self::Submitted => model.submitted(),
            Self::Wait(time) => model.wait(time),
            Self::Deadline => {
                model.wait_for_deadline();
                model.timer();
            }
            Self::Timer => model.timer(),
            Self::Credentials => model.credentials(),
            Self::SignOfLife => model.sign_of_life(),
            Self::Drain => model.drain(),
            Self::Binary => model.binary(),
            Self::Violation(code) => model.violation(code),
            Self::Stall => model.stall(),
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let refusal = select(vec![
        ErrorCode::Unavailable,
        ErrorCode::BadCursor,
        ErrorCode::KeyConflict,
        ErrorCode::EmptyBody,
        ErrorCode::TooManyRooms,
    ]);
    let violation =
        select(vec![ProtocolViolation::Protocol, ProtocolViolation::Utf8, ProtocolViolation::TooBig]);
    prop_oneof![
        200 => random_command::random_command().prop_map(Step::Text),
        120 => (proptest::option::weighted(0.2, refusal), any::<bool>()).prop_map(|(r, gap)| Step::Outcome(r, gap)),
        100 => Just(Step::Submitted),
        40 => (0..3_000_u64).prop_map(|ms| Step::Wait(Duration::from_millis(ms))),
        15 => Just(Step::Deadline),
        20 => Just(Step::Timer),
        20 => Just(Step::Credentials),
        10 => Just(Step::SignOfLife),
        2 => Just(Step::Drain),
        1 => Just(Step::Binary),
        1 => violation.prop_map(Step::Violation),
        1 => Just(Step::Stall),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_command_is_answered_once_and_in_order(
        steps in proptest::collection::vec(step(), 0..120),
        has_rates in any::<bool>(),
        has_user in any::<bool>(),
    ) {
        let limits = if has_rates { limits_with_rates() } else { limits() };
        let mut model = if has_user { Model::new(limits) } else { Model::without_user(limits) };
        for step in steps {
            step.take(&mut model);
        }
        model.finish();
    }

    #[test]
    fn errors_close_the_session_when_ten_fall_within_ten_seconds(
        waits in proptest::collection::vec(0..2_500_u64, 1..40),
    ) {
        let mut model = Model::new(limits());
        let mut times = Vec::new();
        let mut now = 0;
        for wait in waits {
            now += wait;
            times.push(now);
            model.wait(Duration::from_millis(wait));
            model.text(RandomCommand::mistake());
            let expected = times.len() >= 10 && now - times[times.len() - 10] <= 10_000;
            prop_assert_eq!(model.closed, expected.then_some(CloseCode::TooManyErrors));
            if expected {
                break;
            }
        }
    }
}

#[test]
fn the_tenth_error_within_ten_seconds_closes() {
    let mut model = Model::new(limits());
    for _ in 0..9 {
        model.text(RandomCommand::mistake());
    }
    model.wait(10 * SECOND + Duration::from_millis(1));
    for _ in 0..9 {
        model.text(RandomCommand::mistake());
    }
    assert_eq!(model.closed, None);
    model.wait(10 * SECOND);
    model.text(RandomCommand::mistake());
    assert_eq!(model.closed, Some(CloseCode::TooManyErrors));
}

#[test]
fn unavailable_is_not_counted_as_an_error() {
    let mut model = Model::new(limits());
    for _ in 0..50 {
        model.text(RandomCommand::to_room("join", "a"));
        model.outcome(Some(ErrorCode::Unavailable), false);
    }
    assert_eq!(model.closed, None);
}

#[test]
fn a_silent_peer_is_pinged_and_closed_within_45_seconds() {
    let mut model = Model::new(Limits::default());
    model.wait(20 * SECOND - Duration::from_millis(1));
    model.timer();
    model.wait(Duration::from_millis(1));
    model.timer();
    model.wait(20 * SECOND - Duration::from_millis(1));
    model.timer();
    assert_eq!(model.closed, None);
    model.wait(Duration::from_millis(1));
    model.timer();
    assert_eq!(model.closed, Some(CloseCode::PingTimeout));
}

#[test]
fn a_peer_that_answers_pings_stays_forever() {
    let mut model = Model::new(limits());
    for _ in 0..1_000 {
        model.wait_for_deadline();
        model.timer();
        model.wait(SECOND);
        model.sign_of_life();
    }
    assert_eq!(model.closed, None);
}

#[test]
fn a_drain_finishes_earlier_commands_and_then_closes() {
    let mut model = Model::new(limits());
    model.text(RandomCommand::to_room("join", "a"));
    model.text(RandomCommand::to_room("send", "a"));
    model.text(RandomCommand::to_room("history", "a"));
    model.drain();
    model.text(RandomCommand::to_room("leave", "a"));
    model.outcome(None, true);
    model.outcome(None, false);
    assert_eq!(model.closed, None);
    model.outcome(None, false);
    assert_eq!(model.closed, Some(CloseCode::Restarting));
}

#[test]
fn a_drain_closes_an_idle_session_at_once() {
    let mut model = Model::new(limits());
    model.drain();
    assert_eq!(model.closed, Some(CloseCode::Restarting));
    model.drain();
}

#[test]
fn messages_are_in_flight_together_and_answered_in_their_order() {
    let mut model = Model::new(limits());
    model.text(RandomCommand::to_room("join", "a"));
    model.outcome(None, false);
    for sends in [1, 2, 3, 3] {
        model.text(RandomCommand::to_room("send", "a"));
        model.submitted();
        assert_eq!(model.in_flight(), sends);
    }
    model.text(RandomCommand::ping());
    model.text(RandomCommand::to_room("send", "a"));
    for (outcome, left) in [(None, 3), (Some(ErrorCode::KeyConflict), 2), (None, 1), (None, 1)] {
        model.submitted();
        model.outcome(outcome, false);
        assert_eq!(model.in_flight(), left, "the last message waits for the pong");
    }
    model.finish();
    assert_eq!(model.closed, None);
}

#[test]
fn an_outcome_after_the_close_is_dropped() {
    let mut model = Model::new(limits());
    model.text(RandomCommand::to_room("join", "a"));
    model.binary();
    model.outcome(None, true);
    model.text(RandomCommand::to_room("join", "a"));
    model.drain();
}

#[test]
fn joining_again_is_no_error_at_the_limit_of_rooms() {
    let mut model = Model::new(limits());
    for room in ["a", "b", "a", "b", "c", "a"] {
        model.text(RandomCommand::to_room("join", room));
        model.outcome(None, false);
    }
    model.text(RandomCommand::to_room("leave", "a"));
    model.outcome(None, false);
    model.text(RandomCommand::to_room("join", "c"));
    model.outcome(None, false);
    model.text(RandomCommand::to_room("send", "c"));
    model.finish();
    assert_eq!(model.closed, None);
}

#[test]
fn commands_beyond_the_rate_are_refused_until_tokens_are_back() {
    let mut model = Model::new(Limits::default());
    for _ in 0..201 {
        model.text(RandomCommand::ping());
    }
    assert_eq!((model.refused_for_rate, model.pause()), (1, Duration::ZERO));
    model.wait(SECOND);
    for _ in 0..51 {
        model.text(RandomCommand::ping());
    }
    assert_eq!((model.refused_for_rate, model.pause()), (2, Duration::ZERO));
    assert_eq!(model.closed, None);
}

/// Refuses pings until the peer is not read. Returns the time for which it is not read.
fn pause_after_early_commands(model: &mut Model) -> Duration {
    while model.pause().is_zero() {
        model.text(RandomCommand::ping());
    }
    model.pause()
}

#[test]
fn a_peer_is_not_read_for_the_time_that_it_ignored_within_bounds() {
    for (per_second, pause_ms, refused_after_it) in [(50, 100, 2), (4, 250, 2), (1, 500, 1)] {
        let rate = Rate::new(per_second, 1);
        let mut model = Model::new(Limits::default().with(|limits| limits.rates.connection = rate));
        assert_eq!(pause_after_early_commands(&mut model), Duration::from_millis(pause_ms));
        assert_eq!(model.refused_for_rate, 2, "the first refusal starts no pause");
        model.wait(model.pause());
        pause_after_early_commands(&mut model);
        assert_eq!(model.refused_for_rate, 2 + refused_after_it, "a pause ends");
    }
}

#[test]
fn commands_that_were_read_before_a_pause_make_it_longer() {
    let mut model = Model::new(limits().with(|limits| {
        limits.rates.connection = Rate::new(50, 2);
        limits.connection.max_backlog_commands = 9;
    }));
    for (count, pause_ms) in [(4, 300), (9, 500)] {
        model.wait(SECOND);
        model.text(RandomCommand::to_room("join", "a"));
        for _ in 0..count {
            model.text(RandomCommand::ping());
        }
        model.outcome(None, false);
        assert_eq!(model.pause(), Duration::from_millis(pause_ms));
    }
    model.finish();
}

/// Sends pings with these pauses for 30 s. Returns the time until the session closed the connection.
fn time_to_close(rate: Rate, mut pause: impl FnMut(&Model) -> Duration) -> Option<Duration> {
    let mut model = Model::new(Limits::default().with(|limits| limits.rates.connection = rate));
    let mut time = Duration::ZERO;
    while time < 30 * SECOND {
        model.text(RandomCommand::ping());
        if model.closed.is_some() {
            assert_eq!(model.closed, Some(CloseCode::RateLimited));
            return Some(time);
        }
        let pause = pause(&model);
        model.wait(pause);
        time += pause;
    }
    None
}

#[test]
fn a_client_that_ignores_the_rate_for_ten_seconds_is_closed() {
    let time = time_to_close(Rate::new(50, 1), |_| Duration::from_millis(1));
    assert_eq!(time, Some(Duration::from_millis(10_100)));
    // Commands wait during each pause, so the client that sends at once is read again after it.
    for rate in [Rate::new(50, 200), Rate::new(1, 1)] {
        let time = time_to_close(rate, Model::pause);
        assert!(time.is_some_and(|time| time < 11 * SECOND), "{time:?}");
    }
}

#[test]
fn a_client_that_waits_as_told_is_never_closed() {
    let time = time_to_close(Rate::new(1, 1), Model::told_to_wait);
    assert_eq!(time, None);
}

#[test]
fn a_client_that_pauses_a_second_between_bursts_is_never_closed() {
    let mut count = 0;
    let time = time_to_close(Rate::new(10, 1), |_| {
        count += 1;
        if count % 30 == 0 { SECOND + Duration::from_millis(1) } else { Duration::ZERO }
    });
    assert_eq!(time, None);
}
