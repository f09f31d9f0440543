use crate::frame::Frame;
use crate::link::Link;

defects! {
    a_server_that_accepts_unmasked_frames_is_caught by framing::an_unmasked_text_is_refused =>
        Link::map_up(|frame| Some(Frame { masked: true, ..frame }));
    a_server_that_ignores_reserved_bits_is_caught by framing::rsv1_without_an_extension_is_refused =>
        Link::map_up(|frame| Some(Frame { first: frame.first & 0x8f, ..frame }));
    a_server_that_treats_reserved_opcodes_as_text_is_caught by framing::reserved_data_opcodes_are_refused =>
        Link::map_up(|frame| match frame.opcode() {
            3..8 => Some(frame.with_opcode(1)),
            _ => Some(frame),
        });
    a_server_that_treats_binary_as_text_is_caught by framing::a_binary_message_is_refused =>
        Link::map_up(|frame| Some(if frame.opcode() == 2 { frame.with_opcode(1) } else { frame }));
    a_server_that_writes_lengths_in_the_long_form_is_caught
    by framing::the_server_writes_the_shortest_length =>
        Link::down(|frame, wires| match u16::try_from(frame.payload.len()) {
            Ok(length) => {
                wires.to_client.extend([frame.first, 126]);
                wires.to_client.extend(length.to_be_bytes());
                wires.to_client.extend(frame.payload);
            }
            Err(_) => wires.client(&frame),
        });
    a_server_that_masks_its_frames_is_caught by framing::every_mask_is_removed =>
        Link::map_down(|frame| Some(Frame { masked: true, ..frame }));
    a_server_that_sends_text_as_binary_is_caught by commands::each_command_gets_its_own_reply =>
        Link::map_down(|frame| Some(if frame.opcode() == 1 { frame.with_opcode(2) } else { frame }));
    a_server_that_treats_every_fragment_as_a_message_is_caught
    by fragments::a_text_in_two_fragments_is_one_message =>
        Link::map_up(|frame| {
            Some(if frame.opcode() < 2 { Frame { first: 0x81, ..frame } } else { frame })
        });
    a_server_that_drops_empty_fragments_is_caught by fragments::empty_fragments_are_accepted =>
        Link::map_up(|frame| if frame.payload.is_empty() { None } else { Some(frame) });
    a_server_that_repairs_surrogates_is_caught by utf8::surrogates_are_refused => repair();
    a_server_that_repairs_a_split_code_point_is_caught by utf8::a_code_point_split_by_fragments_is_accepted =>
        repair();
    a_server_that_serves_longer_messages_is_caught
    by limits::a_message_of_one_byte_over_the_limit_is_refused =>
        Link::map_up(|frame| {
            let text = if frame.opcode() == 1 { frame.payload.trim_ascii() } else { &frame.payload };
            let text = text.to_vec();
            Some(frame.with_payload(text))
        });
    a_server_that_does_not_answer_pings_is_caught by control::a_ping_is_answered_with_its_payload =>
        Link::map_up(|frame| if frame.opcode() == 9 { None } else { Some(frame) });
    a_server_whose_pongs_are_empty_is_caught by control::a_ping_behind_many_commands_is_answered =>
        Link::map_down(|frame| {
            Some(if frame.opcode() == 10 { frame.with_payload("") } else { frame })
        });
    a_server_that_answers_pongs_is_caught by control::an_unsolicited_pong_is_ignored =>
        Link::up(|frame, wires| {
            if frame.opcode() == 10 {
                wires.client(&Frame { masked: false, ..frame.clone() });
            }
            wires.server(&frame);
        });
    a_server_that_never_pings_is_caught by liveness::an_idle_connection_is_pinged =>
        Link::down(|frame, wires| match frame.opcode() {
            9 => wires.server(&Frame { first: 0x8a, masked: true, ..frame }),
            _ => wires.client(&frame),
        });
    a_server_that_disconnects_a_listener_is_caught by liveness::a_member_that_answers_pings_stays =>
        {
            let mut pongs = 0;
            Link::up(move |frame, wires| {
                pongs += usize::from(frame.opcode() == 10);
                wires.ends = pongs > 4;
                wires.server(&frame);
            })
        };
}

/// Replaces invalid UTF-8 in each fragment of a text.
fn repair() -> Link {
    Link::map_up(|frame| match frame.opcode() {
        0 | 1 => {
            let text = String::from_utf8_lossy(&frame.payload).into_owned();
            Some(frame.with_payload(text))
        }
        _ => Some(frame),
    })
}
