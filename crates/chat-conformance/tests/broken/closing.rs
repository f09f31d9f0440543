use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::frame::Frame;
use crate::link::Link;

defects! {
    a_server_that_echoes_no_close_code_is_caught by close::a_client_close_is_echoed =>
        on_close(|_| Some(Frame::close(b"")));
    a_server_that_always_closes_with_1000_is_caught by close::every_valid_close_code_is_echoed =>
        on_close(|_| Some(Frame::close(&1000_u16.to_be_bytes())));
    a_server_that_closes_without_a_close_frame_is_caught by close::a_close_with_a_reason_is_echoed =>
        on_close(|_| None);
    a_server_that_echoes_any_code_is_caught by close::unassigned_close_codes_are_refused =>
        Link::up(|frame, wires| {
            if frame.opcode() == 8 {
                wires.client(&Frame { masked: false, ..frame.clone() });
                wires.ends = true;
            }
            wires.server(&frame);
        });
    a_server_that_accepts_a_close_of_one_byte_is_caught by close::a_close_of_one_byte_is_refused =>
        Link::map_up(|frame| match (frame.opcode(), frame.payload.len()) {
            (8, 1) => Some(frame.with_payload("")),
            _ => Some(frame),
        });
    a_server_that_never_ends_the_stream_is_caught by close::a_close_without_a_code_is_answered =>
        Link { never_ends: true, ..Link::unchanged() };
    a_server_that_ends_with_a_reset_is_caught by close::a_violation_ends_with_a_fin =>
        Link { ends_with_a_reset: true, ..Link::unchanged() };
    a_server_that_serves_commands_after_a_close_is_caught by close::commands_after_a_close_are_ignored =>
        {
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
        };
    a_server_that_drops_commands_before_a_close_is_caught by close::a_message_before_a_close_is_stored =>
        Link::up(|frame, wires| {
            if frame.opcode() == 8 || wires.waiting == 0 {
                wires.server(&frame);
            }
        });
    a_server_that_stops_answering_at_a_close_is_caught by close::commands_before_a_close_are_answered =>
        {
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
        };
    a_server_that_treats_a_half_close_as_the_end_is_caught by close::replies_arrive_after_a_half_close =>
        Link { ends_at_fin: true, ..Link::unchanged() };
    a_server_that_ignores_disconnects_is_caught by close::a_hundred_resets_leave_no_connection =>
        Link { ignores_disconnects: true, ..Link::unchanged() };
    a_server_that_leaks_a_member_is_caught by close::a_reset_ends_the_session =>
        Link { ignores_disconnects: true, ..Link::unchanged() };
    a_server_that_does_not_announce_its_close_is_caught by close::a_server_close_is_announced_by_an_event =>
        Link::drop_events(|event| event["type"] == "closing");
    a_server_that_sends_events_after_closing_is_caught by close::a_server_close_is_announced_by_an_event =>
        Link::down(|frame, wires| {
            wires.client(&frame);
            if frame.json().is_some_and(|event| event["type"] == "closing") {
                wires.client(&frame.with_payload(r#"{"type":"pong"}"#));
            }
        });
    a_server_that_drains_without_the_closing_event_is_caught
    by drain::a_drain_announces_the_restart_to_every_client =>
        Link::drop_events(|event| event["type"] == "closing");
    a_server_that_drains_without_a_close_frame_is_caught by drain::a_drain_closes_a_client_inside_a_message =>
        on_close(|_| None);
    a_server_that_drains_with_another_code_is_caught
    by drain::an_unresponsive_client_does_not_delay_a_drain =>
        on_close(|_| Some(Frame::close(&1001_u16.to_be_bytes())));
    a_server_that_accepts_clients_during_a_drain_is_caught
    by drain::a_draining_server_refuses_new_connections =>
        Link::answer(|head| head.replace("503 Service Unavailable", "101 Switching Protocols"));
}

/// Replaces the server's close frame by another, or by none.
fn on_close(mut change: impl FnMut(Frame) -> Option<Frame> + Send + 'static) -> Link {
    Link::map_down(move |frame| if frame.opcode() == 8 { change(frame) } else { Some(frame) })
}
