use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::frame::Frame;
use crate::link::Link;
use crate::{Defect, defect};

pub(crate) fn defects() -> Vec<Defect> {
    vec![
        defect("a_server_that_echoes_no_close_code_is_caught", "close::client_close_is_echoed", || {
            on_close(|_| Some(Frame::close(b"")))
        }),
        defect(
            "a_server_that_always_closes_with_1000_is_caught",
            "close::every_code_that_may_be_sent_is_echoed",
            || on_close(|_| Some(Frame::close(&1000_u16.to_be_bytes()))),
        ),
        defect(
            "a_server_that_closes_without_a_close_frame_is_caught",
            "close::a_close_may_have_a_reason",
            || on_close(|_| None),
        ),
        defect(
            "a_server_that_echoes_any_code_is_caught",
            "close::codes_that_are_not_assigned_are_refused",
            || {
                Link::up(|frame, wires| {
                    if frame.opcode() == 8 {
                        wires.client(&Frame { masked: false, ..frame.clone() });
                        wires.ends = true;
                    }
                    wires.server(&frame);
                })
            },
        ),
        defect(
            "a_server_that_accepts_a_close_of_one_byte_is_caught",
            "close::a_close_of_one_byte_is_refused",
            || {
                Link::map_up(|frame| match (frame.opcode(), frame.payload.len()) {
                    (8, 1) => Some(frame.with_payload("")),
                    _ => Some(frame),
                })
            },
        ),
        defect(
            "a_server_that_never_ends_the_stream_is_caught",
            "close::a_close_without_a_code_is_answered",
            || Link { never_ends: true, ..Link::sound() },
        ),
        defect(
            "a_server_that_ends_with_a_reset_is_caught",
            "close::a_breach_ends_in_a_clean_end_of_the_stream",
            || Link { ends_with_a_reset: true, ..Link::sound() },
        ),
        defect(
            "a_server_that_serves_what_is_behind_a_close_is_caught",
            "close::what_is_behind_a_close_is_ignored",
            || {
                let mut held = None;
                Link::up(move |frame, wires| {
                    if frame.opcode() == 8 {
                        held.get_or_insert(frame);
                    } else {
                        wires.server(&frame);
                    }
                    if wires.waiting == 0
                        && let Some(close) = held.take()
                    {
                        wires.server(&close);
                    }
                })
            },
        ),
        defect(
            "a_server_that_forgets_what_is_ahead_of_a_close_is_caught",
            "close::what_is_ahead_of_a_close_is_carried_out",
            || {
                Link::up(|frame, wires| {
                    if frame.opcode() == 8 || wires.waiting == 0 {
                        wires.server(&frame);
                    }
                })
            },
        ),
        defect(
            "a_server_that_answers_nothing_once_it_has_seen_a_close_is_caught",
            "close::what_is_ahead_of_a_close_is_answered",
            || {
                let closed = Arc::new(AtomicBool::new(false));
                let closes = Arc::clone(&closed);
                let up = Link::up(move |frame, wires| {
                    closes.fetch_or(frame.opcode() == 8, Ordering::Relaxed);
                    wires.server(&frame);
                });
                let down = Link::map_down(move |frame| {
                    (frame.opcode() == 8 || !closed.load(Ordering::Relaxed)).then_some(frame)
                });
                Link { up: up.up, ..down }
            },
        ),
        defect(
            "a_server_that_takes_a_half_close_for_the_end_is_caught",
            "close::a_reply_still_arrives_after_a_half_close",
            || Link { ends_at_fin: true, ..Link::sound() },
        ),
        defect("a_server_that_keeps_the_dead_is_caught", "close::a_hundred_resets_leave_nothing", || Link {
            keeps_the_dead: true,
            ..Link::sound()
        }),
        defect("a_server_that_leaks_a_member_is_caught", "close::a_reset_ends_the_session", || Link {
            keeps_the_dead: true,
            ..Link::sound()
        }),
        defect(
            "a_server_that_does_not_announce_its_close_is_caught",
            "close::a_server_close_is_announced_by_an_event",
            || Link::swallow(|event| event["type"] == "closing"),
        ),
        defect(
            "a_server_that_talks_on_after_announcing_its_close_is_caught",
            "close::a_server_close_is_announced_by_an_event",
            || {
                Link::down(|frame, wires| {
                    wires.client(&frame);
                    if frame.json().is_some_and(|event| event["type"] == "closing") {
                        wires.client(&frame.with_payload(r#"{"type":"pong"}"#));
                    }
                })
            },
        ),
        defect(
            "a_server_that_drains_without_closing_is_caught",
            "drain::everybody_is_told_of_a_restart",
            || Link::swallow(|event| event["type"] == "closing"),
        ),
        defect(
            "a_server_that_drains_without_a_close_frame_is_caught",
            "drain::a_drain_in_the_middle_of_a_message_is_clean",
            || on_close(|_| None),
        ),
        defect(
            "a_server_that_drains_with_another_code_is_caught",
            "drain::a_client_that_does_not_answer_does_not_hold_up_a_drain",
            || on_close(|_| Some(Frame::close(&1001_u16.to_be_bytes()))),
        ),
        defect(
            "a_server_that_lets_clients_in_while_it_drains_is_caught",
            "drain::no_new_connections_are_let_in",
            || Link::answer(|head| head.replace("503 Service Unavailable", "101 Switching Protocols")),
        ),
    ]
}

/// The server's close frame is replaced by another, or by none.
fn on_close(mut change: impl FnMut(Frame) -> Option<Frame> + Send + 'static) -> Link {
    Link::map_down(move |frame| if frame.opcode() == 8 { change(frame) } else { Some(frame) })
}
