use serde_json::{Value, json};

use crate::frame::Frame;
use crate::link::{Link, remove_field};

defects! {
    // Defects of roles.
    a_server_that_names_no_rights_is_caught by roles::a_join_names_the_role_and_the_rights =>
        Link::event("joined", |event| remove_field(event, "may"));
    a_server_that_names_no_role_is_caught by roles::a_join_names_the_role_and_the_rights =>
        Link::event("joined", |event| event["role"] = json!("none"));
    a_server_that_does_not_say_who_gave_a_role_is_caught by roles::a_role_is_an_entry_of_the_log =>
        Link::event("role", |event| remove_field(event, "by"));
    a_server_that_knows_no_name_of_a_present_user_is_caught by roles::a_role_is_an_entry_of_the_log =>
        Link::event("role", |event| event["user"]["name"] = event["user"]["id"].clone());
    a_server_whose_owners_make_owners_is_caught by roles::an_owner_gives_roles_up_to_moderator =>
        commands("role", "role", "owner", "moderator");
    a_server_that_stores_a_repeated_role_is_caught by roles::an_owner_gives_roles_up_to_moderator =>
        Link::event("done", |event| {
            if event["seq"].is_null() {
                event["seq"] = json!(9);
            }
        });
    a_server_that_loses_its_last_owner_is_caught by roles::the_last_owner_stays_an_owner =>
        commands("role", "user", "1", "9");
    a_server_whose_moderators_mute_moderators_is_caught by roles::nobody_acts_on_an_equal_or_higher_role =>
        commands("restrict", "user", "3", "9");
    a_server_that_ignores_roles_of_the_log_is_caught by roles::a_moderator_of_the_log_moderates =>
        commands("role", "role", "moderator", "member");
    a_server_that_ignores_roles_of_the_host_is_caught by roles::a_role_of_the_host_counts =>
        Link::event("done", |event| {
            let reference = event["ref"].take();
            *event = json!({"type": "error", "code": "forbidden", "message": "no"});
            event["ref"] = reference;
        });
    a_server_that_purges_an_owner_of_the_host_is_caught by roles::a_role_of_the_host_protects_its_user =>
        commands("purge", "user", "2", "9");
    a_server_that_mutes_an_owner_of_the_host_is_caught by roles::a_role_of_the_host_protects_its_user =>
        commands("restrict", "user", "2", "9");
    a_server_that_lowers_no_role_is_caught by roles::a_lower_role_holds_at_its_place =>
        commands("role", "role", "member", "moderator");
    a_server_that_takes_any_word_for_a_restriction_is_caught
    by roles::a_command_about_rules_with_bad_fields_is_refused =>
        commands("restrict", "what", "kick", "ban");
    a_server_that_keeps_the_role_of_the_first_token_is_caught by roles::a_hello_changes_the_role_of_its_user =>
        commands("hello", "token", "2:Bob:owner", "2:Bob");
    a_server_that_keeps_a_user_whose_hello_took_the_role_is_caught
    by roles::a_hello_without_the_role_ends_the_membership =>
        hides_the_end();
    // Defects of restrictions.
    a_server_that_does_not_say_that_a_user_is_muted_is_caught
    by restrictions::a_muted_user_only_reads_and_deletes =>
        errors("muted", "forbidden");
    a_server_that_hides_the_reason_of_a_restriction_is_caught
    by restrictions::a_muted_user_only_reads_and_deletes =>
        Link::event("role", |event| remove_field(event, "reason"));
    a_server_that_shows_the_typing_of_a_muted_user_is_caught
    by restrictions::the_typing_of_a_muted_user_is_not_shown =>
        Link::down(|frame, wires| {
            wires.client(&frame);
            let Some(event) = frame.json().filter(|event| event["type"] == "role") else { return };
            let typing =
                json!({"type": "typing", "room": event["room"], "user": event["user"], "active": true});
            wires.client(&frame.with_payload(typing.to_string()));
        });
    a_server_that_lets_a_banned_user_stay_is_caught by restrictions::a_ban_ends_each_membership =>
        hides_the_end();
    a_server_that_ends_a_membership_without_its_reason_is_caught
    by restrictions::a_ban_ends_each_membership =>
        Link::drop_events(|event| event["type"] == "role");
    a_server_that_ends_all_memberships_is_caught by restrictions::a_ban_ends_each_membership =>
        Link::event("left", |event| remove_field(event, "room"));
    a_server_that_tells_banned_users_more_is_caught by restrictions::a_banned_user_cannot_resume =>
        errors("forbidden", "room_exists");
    a_server_whose_bans_take_the_role_is_caught by restrictions::a_banned_user_cannot_resume =>
        Link::event("role", |event| event["role"] = json!("none"));
    a_server_whose_restrictions_do_not_end_is_caught by restrictions::a_restriction_ends_by_itself =>
        Link::command(|command| {
            if command["type"] == "restrict" {
                command["until"] = json!(9_000_000_000_000_000_u64);
            }
        });
    a_server_whose_joined_has_no_restriction_is_caught by restrictions::a_join_has_the_restriction =>
        Link::event("joined", |event| remove_field(event, "restricted"));
    a_server_whose_joined_has_no_end_of_a_restriction_is_caught by restrictions::a_join_has_the_restriction =>
        Link::event("joined", |event| remove_field(&mut event["restricted"], "until"));
    a_server_whose_joined_has_restrictions_of_others_is_caught by restrictions::a_join_has_the_restriction =>
        Link::event("joined", |event| event["restricted"] = json!({"what": "mute"}));
    a_server_whose_joined_has_restrictions_that_have_ended_is_caught
    by restrictions::a_restriction_ends_by_itself =>
        Link::event("joined", |event| event["restricted"] = json!({"what": "mute", "until": 1}));
    a_server_that_restricts_users_after_the_end_is_caught
    by restrictions::a_restriction_whose_end_is_over_is_none =>
        Link::command(|command| remove_field(command, "until"));
    a_server_whose_moderators_cannot_be_muted_is_caught
    by restrictions::a_muted_moderator_has_no_rights_of_the_role =>
        commands("restrict", "what", "mute", "none");
    a_server_that_acknowledges_a_mute_too_early_is_caught by restrictions::a_mute_holds_at_its_place =>
        Link::event("done", |event| event["seq"] = json!(1));
    // Defects of rooms with rules.
    a_server_that_does_not_say_who_created_a_room_is_caught
    by rooms_with_rules::a_created_room_has_an_owner_and_rules =>
        Link::event("settings", |event| remove_field(event, "created"));
    a_server_that_loses_the_title_is_caught by rooms_with_rules::a_created_room_has_an_owner_and_rules =>
        Link::command(|command| remove_field(command, "title"));
    a_server_that_requires_a_membership_to_create_a_room_is_caught
    by rooms_with_rules::a_created_room_has_an_owner_and_rules =>
        Link::command(|command| {
            if command["type"] == "create" {
                command["type"] = json!("leave");
            }
        });
    a_server_that_does_not_say_that_a_room_exists_is_caught by rooms_with_rules::a_room_is_created_once =>
        errors("room_exists", "forbidden");
    a_server_whose_guests_create_rooms_is_caught by rooms_with_rules::a_guest_creates_no_room =>
        Link::event("error", |event| {
            let reference = event["ref"].take();
            *event = json!({"type": "done", "room": event["room"], "seq": 1});
            event["ref"] = reference;
        });
    a_server_that_keeps_rules_that_are_left_out_is_caught by rooms_with_rules::an_owner_sets_all_rules_again =>
        Link::command(|command| {
            if command["type"] == "create" && command["title"] == "Talk" {
                command["post"] = json!("moderators");
            }
        });
    a_server_whose_joined_has_no_title_is_caught by rooms_with_rules::a_join_and_a_list_have_the_title =>
        Link::event("joined", |event| remove_field(event, "title"));
    a_server_whose_joined_keeps_an_old_title_is_caught by rooms_with_rules::a_join_and_a_list_have_the_title =>
        Link::event("joined", |event| {
            if event["title"] == "Talk" {
                event["title"] = json!("News");
            }
        });
    a_server_that_lists_no_titles_is_caught by rooms_with_rules::a_join_and_a_list_have_the_title =>
        Link::event("rooms", |event| titles(event, |room| remove_field(room, "title")));
    a_server_that_lists_a_title_for_each_room_is_caught
    by rooms_with_rules::a_join_and_a_list_have_the_title =>
        Link::event("rooms", |event| titles(event, |room| room["title"] = json!("Talk")));
    a_server_that_promises_rights_that_the_rules_deny_is_caught
    by rooms_with_rules::the_rules_decide_who_writes =>
        Link::event("joined", |event| event["may"] = json!(["send", "react", "edit", "delete"]));
    a_server_that_lets_everybody_write_is_caught by rooms_with_rules::the_rules_decide_who_writes =>
        Link::command(|command| remove_field(command, "post"));
    a_server_that_lets_everybody_join_is_caught
    by rooms_with_rules::a_room_for_members_is_forbidden_to_others =>
        commands("create", "join", "members", "open");
    a_server_that_keeps_those_who_are_no_members_is_caught
    by rooms_with_rules::a_room_that_becomes_one_for_members_removes_others =>
        hides_the_end();
}

/// Changes each room of a list.
fn titles(event: &mut Value, change: impl FnMut(&mut Value)) {
    event["rooms"].as_array_mut().into_iter().flatten().for_each(change);
}

/// Replaces the value of a field of a command.
fn commands(kind: &'static str, field: &'static str, value: &'static str, other: &'static str) -> Link {
    Link::command(move |command| {
        if command["type"] == kind && command[field] == value {
            command[field] = json!(other);
        }
    })
}

/// Replaces a code of errors.
fn errors(code: &'static str, other: &'static str) -> Link {
    Link::event("error", move |event| {
        if event["code"] == code {
            event["code"] = json!(other);
        }
    })
}

/// Hides that the server has ended a membership.
fn hides_the_end() -> Link {
    Link::map_down(|frame: Frame| {
        let is_end = |event: Value| event["type"] == "left" && event["ref"].is_null();
        (!frame.json().is_some_and(is_end)).then_some(frame)
    })
}
