use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::json;

use crate::frame::Frame;
use crate::handshake::with_line;
use crate::link::Link;

defects! {
    // Defects of servers that ignore, or carry out badly, the decisions of their host service.
    a_server_that_admits_a_request_without_a_credential_is_caught
    by identity::a_request_without_a_credential_is_refused =>
        Link::request(|head| with_line(&head, "authorization", Some("Bearer 7:Ann")));
    a_server_that_names_no_scheme_in_the_401_is_caught
    by identity::a_request_without_a_credential_is_refused =>
        Link::answer(|head| with_line(&head, "www-authenticate", None));
    a_server_that_admits_a_user_when_the_identity_check_fails_is_caught
    by identity::an_identity_check_without_an_answer_refuses_the_request =>
        Link::request(|head| head.replace("Bearer failing", "Bearer 7:Ann"));
    a_server_that_admits_a_user_when_the_identity_check_times_out_is_caught
    by identity::an_identity_check_without_an_answer_refuses_the_request =>
        Link::request(|head| head.replace("Bearer hanging", "Bearer 7:Ann"));
    a_server_that_ignores_the_identity_is_caught by identity::a_user_has_the_id_and_name_of_the_host =>
        Link::event("welcome", |event| event["user"] = json!({"id": "guest", "name": "guest"}));
    a_server_that_makes_each_connection_a_user_is_caught
    by identity::connections_with_one_id_are_one_user from
        one_id_for_each_connection();
    a_server_that_knows_users_by_their_name_is_caught by identity::users_with_one_name_and_two_ids_are_two =>
        Link::request(|head| head.replace("Bearer 9:Ann", "Bearer 7:Ann"));
    a_server_whose_connection_is_a_number_is_caught by events::the_welcome_is_first_and_has_the_limits =>
        Link::event("welcome", |event| event["connection"] = json!(7));
    a_server_that_lets_a_forbidden_join_in_is_caught by rights::a_join_without_the_right_is_forbidden =>
        Link::request(|head| head.replace("name=ann", "name=boss"));
    a_server_that_stores_a_rejected_message_is_caught by rights::a_rejected_message_is_not_stored =>
        stores_what_it_rejects("spam");
    a_server_that_rejects_without_a_detail_is_caught by rights::a_rejected_message_is_not_stored =>
        Link::event("error", |event| event["detail"] = json!(null));
    a_server_that_uses_the_key_of_a_rejected_message_is_caught
    by rights::a_rejected_message_does_not_use_its_key =>
        stores_what_it_rejects("spam");
    a_server_that_does_not_count_refusals_is_caught by rights::ten_refusals_close_the_connection =>
        counts_no_errors();
    a_server_that_allows_a_join_when_the_host_does_not_answer_is_caught
    by rights::a_host_without_an_answer_allows_nothing =>
        Link::command(|command| {
            if command["type"] == "join" && command["room"] == "hanging" {
                command["room"] = json!("annex");
            }
        });
    a_server_that_stores_a_message_when_the_host_does_not_answer_is_caught
    by rights::a_host_without_an_answer_allows_nothing =>
        stores_what_it_rejects("hanging");
    a_server_that_names_no_time_to_wait_is_caught
    by rates::a_burst_beyond_the_rate_is_refused_with_a_time_to_wait =>
        Link::event("error", |event| event["retry_after_ms"] = json!(null));
    a_server_that_ignores_commands_beyond_the_rate_is_caught
    by rates::a_burst_beyond_the_rate_is_refused_with_a_time_to_wait =>
        Link::drop_events(|event| event["code"] == "rate_limited");
    a_server_that_refuses_all_commands_beyond_the_rate_at_once_is_caught
    by rates::a_client_that_does_not_wait_as_told_is_read_slowly =>
        {
            let mut pongs = 0;
            Link::event("pong", move |event| {
                pongs += 1;
                if pongs > 20 {
                    let reference = event["ref"].take();
                    *event = json!({"type": "error", "code": "rate_limited", "retry_after_ms": 20});
                    event["ref"] = reference;
                }
            })
        };
    a_server_that_drops_a_command_that_comes_too_early_is_caught
    by rates::a_client_that_does_not_wait_as_told_is_read_slowly =>
        {
            let mut frames = 0;
            Link::map_up(move |frame| {
                frames += 1;
                (frames != 30).then_some(frame)
            })
        };
    a_server_that_stores_a_message_beyond_the_rate_is_caught
    by rates::a_command_beyond_the_rate_has_no_effect =>
        Link::event("sent", |event| {
            let reference = event["ref"].take();
            let refusal = json!({"type": "error", "code": "rate_limited", "retry_after_ms": 1});
            *event = refusal;
            event["ref"] = reference;
        });
    a_server_that_gives_each_connection_a_rate_of_its_own_is_caught
    by rates::the_connections_of_a_user_share_a_rate from
        one_name_for_each_connection();
    a_server_that_counts_rooms_without_messages_for_each_connection_is_caught
    by rooms::joining_too_many_rooms_without_a_message_is_refused from
        one_name_for_each_connection();
    a_server_that_counts_a_refusal_for_the_rate_as_an_error_is_caught
    by rates::refusals_for_the_rate_do_not_close_the_connection =>
        {
            let mut refusals = 0;
            Link::down(move |frame, wires| {
                wires.client(&frame);
                refusals += u32::from(frame.json().is_some_and(|event| event["code"] == "rate_limited"));
                wires.ends = refusals >= 10;
            })
        };
    a_server_that_closes_a_hasty_client_for_good_is_caught
    by rates::a_client_that_ignores_the_rate_is_closed =>
        closes_with(4002, 4500);
    a_server_that_drops_what_comes_too_fast_is_caught
    by rates::a_client_that_sends_too_many_bytes_is_read_slowly =>
        {
            let mut frames = 0;
            Link::map_up(move |frame| {
                frames += 1;
                (frames != 4).then_some(frame)
            })
        };
    a_server_that_closes_for_good_when_credentials_expire_is_caught
    by identity::a_connection_is_closed_when_its_credentials_expire =>
        closes_with(4005, 4501);
    a_server_that_announces_no_kick_is_caught by kick::a_kick_closes_every_connection_of_the_user =>
        Link::drop_events(|event| event["type"] == "closing");
    a_server_that_lets_a_kicked_user_reconnect_by_itself_is_caught
    by kick::a_kick_closes_every_connection_of_the_user =>
        closes_with(4503, 4000);
    a_server_that_kicks_only_one_connection_is_caught by kick::a_kick_closes_every_connection_of_the_user from
        kicks_one_connection();
    a_server_that_keeps_a_kicked_user_in_the_room_is_caught
    by kick::a_kick_closes_every_connection_of_the_user =>
        Link::drop_events(|event| event["type"] == "presence" && event["state"] == "left");
    a_server_that_bans_a_kicked_user_is_caught by kick::a_kicked_user_can_connect_again from bans();
    a_server_that_closes_a_renewed_room_for_good_is_caught by renewal::a_renewed_log_closes_its_members =>
        closes_with(4003, 4503);
    a_server_that_calls_a_renewed_log_recovered_is_caught
    by renewal::a_renewed_log_is_resumed_without_its_old_entries =>
        Link::event("joined", |event| event["recovered"] = json!(true));
    a_server_that_keeps_the_epoch_of_a_renewed_log_is_caught
    by renewal::a_renewed_log_is_resumed_without_its_old_entries =>
        Link::event("joined", |event| event["epoch"] = json!("one"));
}

/// Gives the id 7 a suffix that no other connection has.
fn one_id_for_each_connection() -> impl Fn() -> Link + Send + Sync {
    let connections = AtomicU64::new(0);
    move || {
        let number = connections.fetch_add(1, Ordering::Relaxed);
        Link::request(move |head| head.replace("Bearer 7:", &format!("Bearer 7-{number}:")))
    }
}

/// Gives the user a name that no other connection has.
fn one_name_for_each_connection() -> impl Fn() -> Link + Send + Sync {
    let connections = AtomicU64::new(0);
    move || {
        let number = connections.fetch_add(1, Ordering::Relaxed);
        Link::request(move |head| head.replace("name=ann", &format!("name=ann{number}")))
    }
}

/// Answers a message of this text as the host wants it, and stores it as another text.
fn stores_what_it_rejects(text: &'static str) -> Link {
    Link::up(move |frame, wires| {
        let command = frame.json().filter(|command| command["body"]["text"] == text);
        let Some(mut command) = command else { return wires.server(&frame) };
        wires.server(&frame);
        command["body"]["text"] = json!("stored");
        command["ref"] = json!("other");
        wires.server(&frame.with_payload(command.to_string()));
    })
}

/// Sends nothing but errors after the tenth one.
pub(crate) fn counts_no_errors() -> Link {
    let mut errors = 0;
    Link::down(move |frame, wires| {
        let is_error = frame.json().is_some_and(|event| event["type"] == "error");
        errors += u32::from(is_error);
        if is_error || errors < 10 {
            wires.client(&frame);
        }
    })
}

/// Replaces a code in `closing` and in the close frame.
pub(crate) fn closes_with(code: u16, other: u16) -> Link {
    Link::map_down(move |frame| {
        if frame.opcode() == 8 && frame.payload.starts_with(&code.to_be_bytes()) {
            return Some(Frame::close(&other.to_be_bytes()));
        }
        match frame.json() {
            Some(mut event) if event["type"] == "closing" && event["code"] == code => {
                event["code"] = json!(other);
                Some(frame.with_payload(event.to_string()))
            }
            _ => Some(frame),
        }
    })
}

fn is_kick(frame: &Frame) -> bool {
    frame.opcode() == 8 && frame.payload.starts_with(&4503_u16.to_be_bytes())
        || frame.json().is_some_and(|event| event["type"] == "closing")
}

/// Hides the kick from all connections except the first that is kicked.
fn kicks_one_connection() -> impl Fn() -> Link + Send + Sync {
    let kicked = Arc::new(AtomicBool::new(false));
    move || {
        let kicked = Arc::clone(&kicked);
        let mut is_first = false;
        let hides = Link::map_down(move |frame| {
            if is_kick(&frame) && !is_first {
                is_first = !kicked.swap(true, Ordering::Relaxed);
                return is_first.then_some(frame);
            }
            Some(frame)
        });
        Link { never_ends: true, ..hides }
    }
}

/// Refuses each request after the first kick.
fn bans() -> impl Fn() -> Link + Send + Sync {
    let banned = Arc::new(AtomicBool::new(false));
    move || {
        let (bans, banned) = (Arc::clone(&banned), Arc::clone(&banned));
        let request = Link::request(move |head| {
            let version = banned.load(Ordering::Relaxed).then_some("0");
            version.map_or(head.clone(), |version| with_line(&head, "sec-websocket-version", Some(version)))
        });
        let down = Link::map_down(move |frame| {
            bans.fetch_or(is_kick(&frame), Ordering::Relaxed);
            Some(frame)
        });
        Link { request: request.request, ..down }
    }
}
