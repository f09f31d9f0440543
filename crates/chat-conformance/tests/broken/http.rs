use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use serde_json::json;

use crate::handshake::with_line;
use crate::link::Link;

defects! {
    // Defects of servers at the boundary of HTTP.
    a_server_that_routes_a_target_without_a_path_is_caught by http::a_target_without_a_path_is_refused =>
        Link::request(|head| head.replacen("GET h:1 ", "GET /h:1 ", 1));
    a_server_that_takes_connect_for_get_is_caught by http::a_connect_to_the_path_is_refused =>
        Link::request(|head| head.replacen("CONNECT ", "GET ", 1));
    a_server_that_ignores_the_host_of_the_target_is_caught
    by http::the_host_of_an_absolute_target_replaces_the_host =>
        Link::request(|head| {
            let Some(rest) = head.strip_prefix("GET http://") else { return head };
            format!("GET /{}", rest.split_once('/').map_or("", |(_, path)| path))
        });
    a_server_that_accepts_any_host_is_caught by http::a_host_that_is_not_a_host_is_refused =>
        Link::request(|head| with_line(&head, "host", Some("chat.test")));
    a_server_that_accepts_a_name_that_is_not_percent_encoded_is_caught
    by http::a_name_that_is_not_percent_encoded_is_refused =>
        Link::request(|head| head.replace("홍길동", "ann"));
    a_server_that_does_not_answer_a_probe_is_caught
    by probe::a_probe_of_an_acceptable_handshake_is_answered_with_ok =>
        Link::request(|head| with_line(&head, "accept", None));
    a_server_whose_probe_ignores_the_name_is_caught
    by probe::a_probe_is_answered_with_the_refusal_of_its_handshake =>
        Link::request(|head| head.replacen("?name= ", " ", 1));
    a_server_whose_refusal_no_other_page_can_read_is_caught by probe::a_foreign_page_can_read_its_refusal =>
        Link::answer(|head| with_line(&head, "access-control-allow-origin", None));
    a_server_that_lets_a_foreign_page_send_cookies_is_caught
    by probe::a_foreign_page_can_read_its_refusal =>
        Link::answer(|head| with_line(&head, "access-control-allow-credentials", Some("true")));
    a_server_that_refuses_credentials_in_a_probe_is_caught by probe::a_probe_may_have_credentials =>
        Link::request(|head| head.replacen("OPTIONS ", "POST ", 1));
    a_server_that_takes_each_get_for_a_probe_is_caught
    by probe::a_get_that_does_not_accept_json_is_no_probe =>
        Link::request(|head| with_line(&head, "accept", Some("application/json")));
    a_server_that_answers_the_probe_of_another_site_is_caught
    by probe::a_get_that_does_not_accept_json_is_no_probe =>
        Link::request(|head| with_line(&head, "sec-fetch-site", None));
    a_server_that_ignores_a_transfer_encoding_is_caught
    by http::a_transfer_encoding_on_a_handshake_is_refused =>
        Link::request(|head| with_line(&head, "transfer-encoding", None));
    a_server_that_takes_head_for_get_is_caught by http::a_head_request_is_refused_without_a_body =>
        Link::request(|head| head.replacen("HEAD ", "GET ", 1));
    a_server_that_loses_a_pipelined_request_is_caught by http::pipelined_requests_are_answered_in_order =>
        Link { loses_early_bytes: true, ..Link::unchanged() };
    a_server_that_sends_a_body_to_head_is_caught
    by http::a_pipelined_head_request_is_answered_without_a_body =>
        Link::early(|bytes| replace(&bytes, b"HEAD ", b"GET "));
    a_server_that_reads_an_endless_line_is_caught by http::an_endless_line_is_cut_off =>
        Link { reads_without_end: true, ..Link::unchanged() };
    a_server_that_keeps_the_connection_after_a_refusal_is_caught by http::a_refusal_ends_the_connection from
        keeps_open;
    a_server_that_does_not_announce_the_end_after_a_refusal_is_caught
    by http::a_refusal_ends_the_connection =>
        Link::answer(|head| with_line(&head, "connection", None));
    a_server_that_lets_browsers_guess_the_type_of_a_refusal_is_caught
    by http::a_refusal_has_the_header_nosniff =>
        Link::answer(|head| with_line(&head, "x-content-type-options", None));
    a_server_that_reads_a_body_as_a_request_is_caught
    by http::the_body_of_a_handshake_is_not_read_as_a_request =>
        Link::request(|head| {
            let plain = with_line(&with_line(&head, "content-length", None), "upgrade", None);
            plain.replacen("GET /ws", "GET /nothing", 1)
        });
    a_server_that_ends_an_idle_connection_with_the_head_timeout_is_caught
    by http::an_idle_connection_outlives_the_head_timeout =>
        Link { ends_after_an_answer: true, ..Link::unchanged() };
    a_server_that_keeps_an_idle_connection_is_caught by http::an_idle_connection_is_closed from keeps_open;
    a_server_that_numbers_its_connections_is_caught by events::the_id_of_a_connection_is_no_count from
        number_connections();
    a_server_that_waits_for_a_partial_second_head_is_caught
    by http::a_partial_head_after_a_request_is_closed from
        keeps_open;
    a_server_that_does_not_count_the_connections_of_an_address_is_caught
    by arrival::connections_beyond_the_limit_of_an_address_are_refused from
        from_many_addresses();
    a_server_that_believes_every_forwarded_address_is_caught
    by arrival::a_forwarded_address_does_not_lift_the_limit_of_an_address from
        from_many_addresses();
    a_server_that_does_not_count_the_connections_of_a_user_is_caught
    by arrival::connections_beyond_the_limit_of_a_user_are_refused from
        rename_each();
    a_server_that_does_not_say_the_time_to_wait_is_caught
    by arrival::connections_beyond_the_limit_of_a_user_are_refused =>
        Link::answer(|head| with_line(&head, "retry-after", None));
}

/// Gives each connection an address of its own.
fn from_many_addresses() -> impl Fn() -> Link + Send + Sync {
    let connections = AtomicU32::new(0);
    move || {
        let number = connections.fetch_add(1, Ordering::Relaxed) % 250;
        let source = Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + 1 + number);
        Link { source, ..Link::unchanged() }
    }
}

/// Gives each connection a user of its own.
fn rename_each() -> impl Fn() -> Link + Send + Sync {
    let connections = AtomicU32::new(0);
    move || {
        let number = connections.fetch_add(1, Ordering::Relaxed);
        Link::request(move |head| head.replacen("?name=", &format!("?name={number}"), 1))
    }
}

fn number_connections() -> impl Fn() -> Link + Send + Sync {
    let connections = Arc::new(AtomicU64::new(7));
    move || {
        let number = connections.fetch_add(1, Ordering::Relaxed);
        Link::event("welcome", move |event| event["connection"] = json!(number.to_string()))
    }
}

fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    match bytes.windows(from.len()).position(|window| window == from) {
        Some(at) => [&bytes[..at], to, &bytes[at + from.len()..]].concat(),
        None => bytes.to_vec(),
    }
}

fn keeps_open() -> Link {
    Link { keeps_open: true, ..Link::unchanged() }
}
