use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use crate::hosts::{closes_with, counts_no_errors};
use crate::link::{Link, answer_instead, remove_field};

defects! {
    // Defects of servers that take credentials in the first command, or that let clients renew them.
    a_server_that_omits_the_ref_of_the_welcome_is_caught
    by hello::a_connection_without_credentials_begins_with_hello =>
        Link::event("welcome", |event| remove_field(event, "ref"));
    a_server_that_carries_out_a_command_before_the_hello_is_caught
    by hello::a_command_before_the_hello_is_refused =>
        answer_instead("ping", |command| json!({"type": "pong", "ref": command["ref"]}));
    a_server_that_does_not_count_commands_before_the_hello_is_caught
    by hello::ten_commands_before_the_hello_close_the_connection =>
        counts_no_errors();
    a_server_that_lets_a_client_without_a_hello_reconnect_is_caught
    by hello::a_connection_without_a_hello_is_closed =>
        closes_with(4502, 4001);
    a_server_that_says_why_a_token_is_not_valid_is_caught
    by hello::a_hello_with_an_invalid_token_closes_the_connection =>
        Link::event("closing", |event| event["reason"] = json!("token_malformed"));
    a_server_that_admits_a_hello_whose_check_times_out_is_caught
    by hello::a_hello_without_an_answer_can_be_repeated =>
        tokens(|token| token.replace("hanging", "7:Ann"));
    a_server_that_counts_no_connections_after_a_hello_is_caught
    by hello::a_hello_beyond_the_connections_of_a_user_closes_the_connection from
        one_id_for_each_hello();
    a_server_that_announces_the_end_of_credentials_twice_is_caught
    by hello::the_end_of_credentials_is_announced =>
        Link::repeat("expiring");
    a_server_that_announces_the_end_of_credentials_in_seconds_is_caught
    by hello::the_end_of_credentials_is_announced =>
        Link::event("expiring", |event| event["at"] = json!(event["at"].as_u64().unwrap_or_default() / 1_000));
    a_server_that_keeps_the_end_of_the_first_credentials_is_caught
    by hello::a_hello_of_the_same_user_renews_the_credentials =>
        answer_instead("hello", |command| {
            let user = json!({"id": "7", "name": "brief"});
            json!({"type": "welcome", "ref": command["ref"], "connection": "1", "user": user, "ping_interval": 20})
        });
    a_server_that_lets_a_client_of_another_user_reconnect_is_caught
    by hello::a_hello_of_another_user_closes_the_connection =>
        closes_with(4501, 4005);
    a_server_that_carries_out_a_command_beside_a_hello_is_caught
    by hello::commands_in_the_packet_of_a_hello_follow_it =>
        Link::swap("welcome");
}

/// Changes the token of each `hello`.
fn tokens(mut change: impl FnMut(&str) -> String + Send + 'static) -> Link {
    Link::command(move |command: &mut Value| {
        let changed = command["token"].as_str().map(&mut change);
        if let Some(token) = changed {
            command["token"] = json!(token);
        }
    })
}

/// Gives the id 7 a suffix that no other connection has.
fn one_id_for_each_hello() -> impl Fn() -> Link + Send + Sync {
    let connections = AtomicU64::new(0);
    move || {
        let number = connections.fetch_add(1, Ordering::Relaxed);
        tokens(move |token| token.replace("7:", &format!("7-{number}:")))
    }
}
