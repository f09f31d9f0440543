use serde_json::{Value, json};

use crate::link::{Link, answer_instead, remove_field};

defects! {
    // Defects of direct rooms.
    a_server_whose_direct_rooms_have_no_user_is_caught by direct::both_users_find_one_room =>
        Link::event("joined", |event| remove_field(event, "with"));
    a_server_that_makes_a_room_for_each_side_is_caught by direct::both_users_find_one_room =>
        Link::command(|command| {
            if command["with"] == "1" {
                command["with"] = json!("4");
            }
        });
    a_server_that_opens_a_direct_room_twice_is_caught by direct::a_direct_room_is_opened_once =>
        Link::event("joined", |event| {
            if event["with"]["id"] == "1" {
                event["seq"] = json!(3);
            }
        });
    a_server_that_does_not_store_the_users_is_caught by direct::a_direct_room_is_opened_once =>
        Link::event("settings", |event| remove_field(event, "direct"));
    a_server_that_refuses_the_second_opening_is_caught by direct::both_users_open_one_room_at_once =>
        Link::event("joined", |event| {
            if event["with"]["id"] == "1" && event["ref"] == "at once" {
                forbid(event);
            }
        });
    a_server_that_does_not_list_direct_rooms_is_caught by direct::an_absent_user_finds_the_room_in_the_list =>
        Link::event("rooms", |event| event["rooms"] = json!([]));
    a_server_that_lists_direct_rooms_without_the_user_is_caught
    by direct::an_absent_user_finds_the_room_in_the_list =>
        Link::event("rooms", |event| remove_field(&mut event["rooms"][0], "with"));
    a_server_that_tells_a_connected_user_nothing_is_caught by direct::a_connected_user_learns_of_the_room =>
        Link::drop_events(|event| event["type"] == "activity");
    a_server_whose_activity_has_no_user_is_caught by direct::a_connected_user_learns_of_the_room =>
        Link::event("activity", |event| remove_field(event, "with"));
    a_server_that_tells_the_name_of_a_connected_user_is_caught
    by direct::a_connected_user_learns_of_the_room =>
        Link::event("joined", |event| event["with"]["name"] = json!("Bob"));
    a_server_that_shows_which_direct_rooms_exist_is_caught
    by direct::others_cannot_tell_if_a_direct_room_exists =>
        Link::event("error", |event| {
            if event["room"].as_str().is_some_and(|room| !room.ends_with("000")) {
                event["message"] = json!("this room is private");
            }
        });
    a_server_that_lets_others_into_a_direct_room_is_caught
    by direct::others_cannot_tell_if_a_direct_room_exists =>
        Link::command(|command| {
            if command["type"] == "join" && command["room"].is_string() {
                command["room"] = json!("lobby");
            }
        });
    a_server_that_gives_roles_in_a_direct_room_is_caught by direct::a_direct_room_is_not_governed =>
        answer_instead("role", |command| {
            json!({"type": "done", "ref": command["ref"], "room": command["room"], "seq": 3})
        });
    a_server_whose_guests_have_direct_rooms_is_caught by direct::a_guest_has_no_direct_rooms =>
        Link::command(|command| {
            if command["with"] == "7" {
                *command = json!({"type": "join", "ref": command["ref"], "room": "direct"});
            }
        });
    a_server_that_does_not_ask_the_host_about_the_user_is_caught
    by direct::the_host_decides_who_opens_a_direct_room =>
        Link::command(|command| {
            if command["with"] == "spam" {
                command["with"] = json!("8");
            }
        });
    a_server_whose_direct_rooms_take_all_places_is_caught by direct::direct_rooms_take_no_place_of_others =>
        Link::event("done", |event| {
            if event["room"].as_str().is_some_and(|room| room.starts_with('a')) {
                forbid(event);
                event["code"] = json!("too_many_rooms");
            }
        });
    a_server_that_lets_strangers_fill_a_list_is_caught by direct::direct_rooms_take_no_place_of_others =>
        Link::event("error", |event| {
            let (reference, room) = (event["ref"].take(), event["room"].take());
            *event = json!({"type": "joined", "room": room});
            event["ref"] = reference;
        });
    a_server_that_opens_any_number_of_direct_rooms_is_caught
    by direct::opening_too_many_direct_rooms_is_refused =>
        Link::command(|command| {
            if command["with"] == "3" {
                command["with"] = json!("2");
            }
        });
    a_server_without_rooms_for_notes_is_caught by direct::a_user_has_a_room_for_notes =>
        Link::event("joined", forbid);
    a_server_that_does_not_resume_a_direct_room_is_caught by direct::a_join_with_a_user_resumes =>
        Link::command(|command| remove_field(command, "after"));
    a_server_that_takes_a_number_for_a_user_is_caught by direct::a_bad_user_is_refused =>
        Link::command(|command| {
            if command["with"] == 2 {
                command["with"] = json!("2");
            }
        });
}

/// Makes a refusal of a reply.
fn forbid(event: &mut Value) {
    let reference = event["ref"].take();
    *event = json!({"type": "error", "code": "forbidden", "message": "no"});
    event["ref"] = reference;
}
