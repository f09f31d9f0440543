//! The table of defects.

/// Declares the defects: for each, one clause or more that describe it, each with the case that must fail.
macro_rules! defects {
    ($($defect:ident: $($clause:ident fails $group:ident::$case:ident),+;)+) => {
        /// A defect of a store.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Defect {
            $($defect),+
        }

        /// Each defect, as a clause, and the case that must fail.
        pub(crate) const DEFECTS: &[(Defect, &str, &str)] = &[$($(
            (Defect::$defect, stringify!($clause), concat!(stringify!($group), "::", stringify!($case)))
        ),+),+];
    };
}

defects! {
    LeavesHoles: leaves_holes_between_numbers fails numbers::messages_are_numbered_from_one;
    AnswersOthersSeq: answers_two_appends_with_one_seq fails numbers::an_answered_seq_holds_the_appended_message;
    OrderLost: commits_messages_in_flight_in_another_order fails numbers::messages_in_flight_keep_their_order;
    TimesInSeconds: gives_times_in_seconds fails numbers::at_is_the_time_of_the_append;
    TimesDecrease: gives_decreasing_times fails numbers::times_never_decrease;
    NoUser: stores_no_user fails numbers::a_frame_has_all_fields_of_the_message;
    NeverReports: reports_nothing fails commits::an_answered_entry_is_reported;
    LosesReports: loses_reports_and_tells_no_head fails commits::each_entry_is_reported_at_least_once;
    SwapsReports:
        reports_entries_with_swapped_numbers fails members::concurrent_messages_reach_members_in_order,
        // A chat reads the log after an answer, so the loss of the report alone does not harm the members of its own node.
        gives_a_member_the_earlier_message_in_place_of_the_next fails members::each_acknowledged_message_reaches_a_member;
    ReportsOtherBytes:
        reports_other_bytes_than_it_stores fails commits::a_reported_entry_is_the_entry_that_is_read,
        delivers_other_bytes_than_it_stores fails members::members_get_what_the_log_has;
    ReportsEarly: reports_before_it_commits fails commits::a_reported_entry_can_be_read_at_once;
    ReportsRepeats: reports_repeats fails commits::a_duplicate_is_not_reported;
    ReportsConflicts: reports_conflicts fails commits::a_conflict_is_not_reported;
    ReportsLostWhenDropped:
        loses_the_report_of_a_dropped_append fails commits::a_dropped_append_is_reported_if_it_is_committed,
        loses_the_report_of_an_append_that_is_not_polled fails commits::an_append_that_is_not_polled_is_reported_if_it_is_committed;
    ReportsNoEpoch: names_no_epoch_in_reports fails commits::reports_and_receipts_name_the_epoch;
    ReceiptsNoEpoch: names_no_epoch_in_receipts fails commits::reports_and_receipts_name_the_epoch;
    ReportsFirstEpoch:
        names_the_earlier_epoch_after_a_renewal fails renewal::reports_after_a_renewal_name_the_new_epoch;
    KeysUnknown:
        stores_the_repeat_of_a_dropped_append fails commits::a_repeat_of_a_dropped_append_answers_a_reported_entry,
        remembers_no_key fails keys::a_repeat_answers_the_first_append;
    HeadIsCount: takes_the_number_of_entries_for_the_head fails retention::first_moves_and_head_stays;
    HeadGoesBack: lets_the_head_go_back fails bounds::bounds_never_go_back;
    KnownBoundsStay: keeps_known_bounds_as_they_were fails bounds::known_bounds_have_what_was_reported;
    FirstStays: does_not_move_first fails retention::first_moves_and_head_stays;
    EpochPerAppend: begins_an_epoch_with_each_append fails bounds::the_epoch_stays_while_the_room_is_open;
    AfterInclusive: reads_after_a_position_with_that_position fails pages::after_is_correct_at_every_position;
    BeforeInclusive: reads_before_a_position_with_that_position fails pages::before_is_correct_at_every_position;
    BeforeOldest: reads_the_oldest_before_a_position fails pages::before_is_correct_at_every_position;
    NewestFirst:
        reads_newest_first fails pages::after_is_correct_at_every_position,
        lets_a_join_read_newest_first fails members::a_join_during_appends_gets_each_message_once;
    NeverMore: never_says_that_there_is_more fails pages::paging_back_returns_every_entry_once;
    AlwaysMore: always_says_that_there_is_more fails pages::an_empty_room_has_empty_pages;
    PagesUnbounded:
        makes_pages_of_any_size fails pages::a_page_is_bounded_by_bytes,
        makes_pages_of_a_thread_of_any_size fails threads::a_page_of_a_thread_is_bounded_by_bytes;
    SkipsLong: leaves_out_entries_longer_than_a_page fails pages::an_entry_longer_than_a_page_is_a_page_alone;
    RepeatsUnmarked: does_not_mark_duplicates fails keys::a_repeat_answers_the_first_append;
    ConflictsAccepted: takes_another_body_for_a_repeat fails keys::another_body_is_a_conflict;
    KeysOfAllUsers: shares_keys_between_users fails keys::users_do_not_share_keys;
    GuestsAreKnown: takes_guests_for_known_users fails keys::a_guest_and_a_known_user_do_not_share_keys;
    UsersAreNames: identifies_users_by_their_names fails keys::a_renamed_user_keeps_its_keys;
    KeysOfAllRooms: shares_keys_between_rooms fails keys::rooms_do_not_share_keys;
    KeysFolded: ignores_the_case_of_keys fails keys::keys_are_compared_byte_by_byte;
    KeysJoined: joins_user_and_key fails keys::user_and_key_are_compared_separately;
    KeysCut: cuts_long_keys fails keys::a_key_of_64_bytes_is_not_cut;
    FewKeys: remembers_too_few_keys fails keys::a_user_may_use_as_many_keys_as_the_limit;
    ManyKeys: accepts_too_many_keys fails keys::a_key_over_the_limit_is_refused;
    BodiesRewritten: rewrites_bodies fails bodies::numbers_keep_their_spelling;
    EscapesResolved: resolves_escapes fails bodies::characters_keep_their_spelling;
    RoomNamesCut: cuts_the_names_of_rooms fails rooms::a_room_can_have_any_valid_name;
    OneSinkOnly: reports_to_the_first_opening_only fails rooms::each_of_two_openings_hears_of_every_entry;
    EpochIsName:
        uses_the_name_of_a_room_as_epoch fails lives::a_restarted_log_is_the_same_or_has_another_epoch,
        keeps_the_epoch_in_a_renewal fails renewal::a_resume_after_a_renewal_is_not_recovered;
    RestartLosesAll:
        loses_everything_in_a_restart fails lives::a_restart_keeps_every_entry,
        loses_entries_in_a_close fails health::a_close_loses_no_acknowledged_entry;
    RestartLosesKeys: loses_keys_in_a_restart fails lives::a_restart_keeps_the_keys;
    RestartLosesSinks: reports_nothing_after_a_restart fails lives::a_sink_opened_after_a_restart_hears_of_new_entries;
    RemovesTooMany: removes_too_many_entries fails retention::the_newest_entries_stay;
    ChangesRemove: counts_changes_as_messages fails retention::changes_do_not_count_as_messages;
    MatchesOneWord: matches_one_of_the_words fails search::all_words_match_newest_first;
    SearchIgnoresBefore: ignores_before_in_a_search fails search::limit_and_before_select_a_page;
    MatchesWholeWords: matches_whole_words_only fails search::part_of_a_korean_word_matches;
    QuotesBreakSearch: fails_at_a_quote_in_a_query fails search::hostile_queries_are_answered;
    OtherNodeUnreported: does_not_report_to_other_nodes fails nodes::an_entry_of_one_node_is_reported_on_the_other;
    LastReportLost: does_not_repair_a_lost_last_report fails nodes::a_lost_last_report_is_repaired;
    OtherNodeBoundsLag: reads_the_bounds_of_a_stale_copy fails nodes::bounds_never_go_back_on_any_node;
    SeqsOfOneNode:
        counts_on_each_node fails nodes::an_append_after_an_answer_on_another_node_gets_a_higher_seq,
        gives_one_seq_on_two_nodes fails nodes::concurrent_appends_on_two_nodes_leave_no_hole;
    KeysOfOneNode:
        has_keys_of_one_node fails nodes::a_repeat_on_another_node_answers_the_first_append,
        finds_no_conflict_on_another_node fails nodes::another_body_on_another_node_is_a_conflict,
        stores_repeats_on_two_nodes fails nodes::concurrent_repeats_on_two_nodes_are_stored_once;
    OtherNodeSwaps: shows_another_order_on_another_node fails nodes::members_on_two_nodes_get_one_order;
    RenewalUnreported:
        does_not_report_a_renewal fails renewal::a_renewed_log_is_reported_and_empty,
        leaves_members_in_a_renewed_log fails renewal::members_are_closed_with_4003,
        leaves_subscriptions_in_a_renewed_log fails renewal::a_subscription_ends_with_the_life_of_the_log;
    RenewalKeepsKeys: keeps_keys_in_a_renewal fails renewal::a_renewed_log_has_no_keys;
    SomeChanges: supports_some_changes fails changes::every_change_is_supported_or_none;
    HidesChanges: leaves_changes_out_of_the_entries fails changes::messages_and_changes_are_numbered_together;
    KeepsPins: serves_messages_without_their_pins fails changes::fresh_equals_followed;
    RestartLosesPins: loses_pins_in_a_restart fails changes::fresh_equals_followed_through_restarts;
    IgnoresRev: ignores_the_revision_of_an_edit fails changes::an_edit_of_an_older_revision_is_a_conflict;
    KeepsDeleted: keeps_the_body_of_a_deleted_message fails changes::a_deletion_is_final;
    NoEditKeys: remembers_no_key_of_an_edit fails changes::a_repeated_edit_is_stored_once;
    CountsReactions: counts_repeated_reactions fails changes::reactions_are_a_set;
    AllModerate: gives_each_user_all_rights fails changes::rights_are_judged_by_the_log;
    OneConnection: takes_all_guests_for_one_connection fails changes::a_guest_changes_messages_of_its_connection;
    ErasesUnreported: does_not_report_what_it_erases fails changes::a_deletion_reports_what_it_erases;
    KeepsReplaced: serves_replaced_changes fails changes::a_replaced_change_is_superseded;
    SomeActs: supports_some_acts fails rules::every_act_is_supported_or_none;
    HidesActs: leaves_acts_out_of_the_entries fails rules::acts_and_messages_are_numbered_together;
    FindsNoActs: finds_no_acts fails rules::acts_and_messages_are_numbered_together;
    DeniesRules: does_not_tell_that_a_room_has_rules fails rules::acts_and_messages_are_numbered_together;
    LetsMutedWrite:
        lets_muted_users_write fails rules::an_act_holds_for_each_later_entry,
        stores_a_message_after_the_act_that_forbids_it fails rules::no_entry_follows_an_act_that_forbids_it;
    RestrictsForever: keeps_a_restriction_whose_end_is_over fails rules::a_restriction_whose_end_is_over_is_none;
    CountsEnded: counts_restrictions_that_have_ended fails rules::ended_restrictions_make_space_for_others;
    ManyStandings: keeps_too_many_standings fails rules::ended_restrictions_make_space_for_others;
    IgnoresGrants: ignores_the_roles_of_the_host fails rules::a_granted_role_counts_if_it_is_higher;
    GuestsHaveRoles: gives_guests_the_roles_of_users fails rules::a_role_is_not_that_of_a_guest;
    AllGovern: lets_each_user_act fails rules::who_may_act_is_judged_by_the_log;
    RestartLosesRules:
        loses_rules_in_a_restart fails rules::a_restart_keeps_rules_and_standings,
        loses_the_users_of_a_direct_room_in_a_restart fails direct::a_restart_keeps_the_users_of_a_direct_room;
    OpensDirectTwice:
        stores_each_opening_of_a_direct_room fails direct::both_users_open_a_direct_room_with_one_entry,
        stores_openings_at_the_same_time fails direct::a_direct_room_that_is_opened_often_has_one_entry;
    DirectForAll: lets_others_write_into_a_direct_room fails direct::nobody_else_writes_into_a_direct_room;
    DirectChanges: gives_roles_in_a_direct_room fails direct::the_users_of_a_direct_room_never_change;
    CountsDirect: counts_direct_rooms_as_others fails markers::direct_rooms_count_separately;
    RetentionLosesRules: loses_rules_with_their_entries fails rules::rules_outlive_their_entries;
    RulesOfOneNode: keeps_rules_on_one_node fails rules::an_act_holds_on_each_node;
    SelectsUnsorted: reads_selected_messages_unsorted fails changes::selected_messages_are_read_in_their_present_form;
    FindsOldForm: finds_the_old_form_of_a_message fails changes::a_search_finds_the_present_form;
    PurgesWithoutChanges: answers_done_to_a_purge_that_it_does_not_carry_out fails purges::a_purge_deletes_all_messages_of_its_user;
    PurgesOldest: purges_the_oldest_message_only fails purges::a_purge_deletes_all_messages_of_its_user;
    PurgesAll: purges_all_users fails purges::a_purge_deletes_all_messages_of_its_user;
    NamesNoUnpinned: names_no_messages_that_were_pinned fails purges::a_purge_names_the_messages_that_were_pinned;
    PurgesUnreported: does_not_report_what_a_purge_erases fails purges::a_purge_reports_what_it_erases;
    PurgesNoGuests: purges_no_guest_of_the_same_id fails purges::a_purge_deletes_the_messages_of_a_guest_too;
    PurgesAgain: stores_a_purge_that_deletes_nothing fails purges::a_purge_without_messages_changes_nothing;
    AllPurge: lets_each_user_purge fails purges::who_may_purge_is_judged_by_the_log;
    RestartLosesPurges: restores_purged_messages_in_a_restart fails purges::a_restart_restores_nothing;
    PurgesOnce: answers_a_repeat_as_the_earlier_purge fails purges::a_repeat_deletes_what_was_sent_since;
    PurgeLostWhenDropped: stops_a_purge_with_its_caller fails purges::a_purge_goes_on_without_its_caller;
    NamesNoPins: names_no_pins fails pins::bounds_name_the_pinned_messages;
    ManyPins: accepts_too_many_pins fails pins::a_pin_over_the_limit_is_refused;
    RestartForgetsPins: forgets_pins_in_a_restart fails pins::a_restart_keeps_the_pins;
    SomeThreads: keeps_answers_but_no_threads fails threads::threads_are_supported_or_refused;
    NoMentions: stores_no_mentions fails threads::mentions_are_kept;
    AllMention:
        lets_each_user_mention_the_room fails threads::the_right_to_mention_the_room_is_judged_by_the_log;
    KeysOfBodies:
        takes_other_mentions_for_a_repeat fails threads::other_mentions_are_a_conflict,
        takes_another_thread_for_a_repeat fails threads::another_thread_is_a_conflict;
    CountsNoReplies: counts_no_message_of_a_thread fails threads::a_root_counts_the_messages_of_its_thread;
    CountsOneReply: counts_one_of_many_messages fails threads::messages_at_once_are_all_counted;
    LinksAnywhere:
        accepts_links_to_no_message fails threads::a_link_to_no_message_is_refused,
        accepts_links_to_changes fails threads::a_link_to_a_change_is_refused,
        accepts_threads_of_removed_messages fails threads::a_removed_root_begins_no_thread;
    ThreadIgnoresRange: reads_all_of_a_thread fails threads::a_thread_is_read_in_pages;
    DeletesThreads: deletes_a_thread_with_its_root fails threads::a_deleted_root_keeps_its_thread;
    HidesDeletedReplies: removes_deleted_messages_from_threads fails threads::a_deleted_message_stays_in_its_thread;
    KeepsMentions: ignores_the_mentions_of_an_edit fails threads::an_edit_replaces_the_mentions_if_it_has_some;
    RevOfReplies: counts_replies_without_a_revision fails threads::fresh_equals_followed;
    RestartLosesThreads: loses_threads_in_a_restart fails threads::a_restart_keeps_the_threads;
    SomeMarkers: keeps_markers_and_no_followed_rooms fails markers::markers_and_followed_rooms_are_supported_or_none;
    MarkersGoBack: lets_a_marker_go_back fails markers::a_marker_moves_forward_only;
    MarkersAnywhere: moves_a_marker_beyond_the_head_to_the_head fails markers::a_marker_beyond_the_head_is_refused;
    CountsOwn: counts_own_messages fails markers::own_messages_are_not_unread;
    CountsDeleted: counts_deleted_messages fails markers::deleted_messages_and_changes_are_not_unread;
    CountsNoMentions: counts_no_mentions fails markers::mentions_among_the_unread_messages_are_counted;
    CountsAllMentions: takes_each_message_for_a_mention fails markers::mentions_among_the_unread_messages_are_counted;
    CountsOn: counts_on_beyond_100 fails markers::a_number_below_100_is_exact;
    IgnoresUpTo: counts_to_the_head fails markers::a_count_ends_at_a_position;
    SharesMarkers: shares_markers_between_guests_and_users fails markers::a_guest_and_a_known_user_share_no_marker;
    RestartLosesMarkers: loses_markers_in_a_restart fails markers::a_restart_keeps_markers_and_followed_rooms;
    RestartLosesFollows: loses_followed_rooms_in_a_restart fails markers::a_restart_keeps_markers_and_followed_rooms;
    RenewalKeepsMarkers: keeps_markers_in_a_renewal fails markers::a_renewed_log_has_no_markers;
    MarkersOfOneNode: has_markers_of_one_node fails markers::a_marker_of_one_node_counts_on_the_other;
    FollowedUnsorted: lists_followed_rooms_unsorted fails markers::followed_rooms_are_in_the_order_of_their_names;
    FollowsUnlimited: lets_a_user_follow_any_number_of_rooms fails markers::a_user_follows_a_limited_number_of_rooms;
    ReadyWhenDown: is_ready_while_it_is_unreachable fails health::an_open_that_fails_succeeds_after_the_outage;
    OpensWhenDown: opens_rooms_while_it_is_unreachable fails health::an_open_that_fails_succeeds_after_the_outage;
    DownForever:
        does_not_recover_from_an_outage fails health::an_open_room_survives_an_outage,
        lets_no_member_in_after_an_outage fails health::a_chat_refuses_a_join_during_an_outage,
        is_never_ready fails health::a_working_store_is_ready;
    ServesWhenClosed: serves_after_it_was_closed fails health::a_closed_store_refuses;
}
