use std::sync::{Arc, Mutex, PoisonError};

use crate::link::Link;

defects! {
    a_server_that_answers_200_after_upgrading_is_caught
    by handshake::a_valid_handshake_is_answered_with_101 =>
        Link::answer(|head| head.replace("101 Switching Protocols", "200 OK"));
    a_server_that_computes_a_wrong_accept_is_caught
    by handshake::the_rfc_example_key_gets_the_rfc_example_accept =>
        Link::answer(|head| {
            with_line(&head, "sec-websocket-accept", Some("AAAAAAAAAAAAAAAAAAAAAAAAAAA="))
        });
    a_server_that_repeats_the_first_accept_is_caught by handshake::each_key_gets_its_own_accept from
        remember_the_first_accept();
    a_server_that_names_a_subprotocol_that_is_not_offered_is_caught
    by handshake::a_subprotocol_that_is_not_offered_is_not_named =>
        Link::answer(|head| with_line(&head, "sec-websocket-protocol", Some("chat.v1")));
    a_server_that_does_not_echo_the_subprotocol_is_caught by handshake::an_offered_subprotocol_is_echoed =>
        Link::answer(|head| with_line(&head, "sec-websocket-protocol", None));
    a_server_that_accepts_compression_is_caught by handshake::an_offer_of_compression_is_not_accepted =>
        Link::answer(|head| with_line(&head, "sec-websocket-extensions", Some("permessage-deflate")));
    a_server_that_announces_a_body_in_the_101_is_caught
    by handshake::the_first_frame_follows_the_101_directly =>
        Link::answer(|head| with_line(&head, "content-length", Some("0")));
    a_server_that_accepts_any_version_is_caught
    by refusal::another_version_is_refused_with_the_supported_version =>
        Link::request(|head| with_line(&head, "sec-websocket-version", Some("13")));
    a_server_that_upgrades_a_post_is_caught by refusal::every_other_method_is_refused =>
        Link::request(|head| head.replacen("POST ", "GET ", 1));
    a_server_that_upgrades_http_1_0_is_caught by refusal::http_1_0_is_refused =>
        Link::request(|head| head.replacen("HTTP/1.0", "HTTP/1.1", 1));
    a_server_that_accepts_a_missing_key_is_caught by refusal::a_missing_key_is_refused =>
        Link::request(|head| with_line(&head, "sec-websocket-key", Some("dGhlIHNhbXBsZSBub25jZQ==")));
    a_server_that_accepts_foreign_origins_is_caught by origin::a_foreign_origin_is_refused =>
        Link::request(|head| with_line(&head, "origin", None));
    a_server_that_compares_the_start_of_an_origin_is_caught
    by origin::an_origin_that_starts_with_the_host_is_refused =>
        Link::request(|head| head.replace("http://chat.test.evil", "http://chat.test"));
    a_server_that_tells_the_names_of_the_loopback_address_apart_is_caught
    by origin::the_names_of_the_loopback_address_are_one_host =>
        Link::request(|head| head.replace("http://localhost:7000", "http://elsewhere.test:7000"));
    a_server_that_waits_without_limit_for_a_reader_is_caught
    by pressure::a_client_that_does_not_read_http_answers_is_disconnected =>
        Link { keeps_unread_answers: true, ..Link::unchanged() };
    a_server_that_loses_an_early_frame_is_caught by arrival::a_frame_in_the_packet_of_the_request_is_served =>
        Link { loses_early_bytes: true, ..Link::unchanged() };
}

fn remember_the_first_accept() -> impl Fn() -> Link {
    let first: Arc<Mutex<Option<String>>> = Arc::default();
    move || {
        let first = Arc::clone(&first);
        Link::answer(move |head| {
            let mut first = first.lock().unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert(head).clone()
        })
    }
}

/// Returns the head with this header, or without any header of the name.
pub(crate) fn with_line(head: &str, name: &str, value: Option<&str>) -> String {
    let is_other = |line: &&str| {
        let named = line.split_once(':').map(|(name, _)| name);
        !line.is_empty() && !named.is_some_and(|named| named.eq_ignore_ascii_case(name))
    };
    let mut lines: Vec<_> = head.split("\r\n").filter(is_other).map(str::to_owned).collect();
    lines.extend(value.map(|value| format!("{name}: {value}")));
    lines.join("\r\n") + "\r\n\r\n"
}
