//! The suite is tested itself: stores with one defect each, and the case that is meant to catch it.
//!
//! The output is the table of defects and cases. A case passes on the same store without the defect.

#[path = "support/kept.rs"]
mod kept;
#[path = "support/spoiled.rs"]
mod spoiled;

use std::process::ExitCode;

use chat_room_conformance::{Kind, cases, run};
use libtest_mimic::{Arguments, Failed, Trial};

use kept::Kept;
use spoiled::Defect::{self, *};
use spoiled::Spoiled;

/// Each defect, as a sentence, and the case that is meant to catch it.
const DEFECTS: [(Defect, &str, &str); 47] = [
    (LeavesHoles, "leaves_holes_between_numbers", "numbers::messages_are_numbered_from_one"),
    (NumbersRace, "gives_two_writers_one_number", "numbers::every_answer_is_the_message_that_was_sent"),
    (CountsSeconds, "tells_time_in_seconds", "numbers::a_message_is_of_now"),
    (ForgetsUsers, "forgets_who_wrote", "numbers::a_message_says_who_what_and_when"),
    (AnswersEarly, "answers_before_it_tells", "outlet::the_outlet_hears_before_the_answer"),
    (TellsTwice, "tells_twice", "outlet::the_outlet_hears_each_once_and_in_order"),
    (TellsOutOfOrder, "tells_out_of_order", "outlet::the_outlet_hears_each_once_and_in_order"),
    (TellsAnother, "tells_other_bytes_than_it_stores", "outlet::what_is_told_is_what_is_read"),
    (TellsAhead, "tells_before_it_commits", "outlet::what_is_told_can_be_read_at_once"),
    (TellsRepeats, "tells_of_repeats", "outlet::a_duplicate_is_not_told"),
    (TellsConflicts, "tells_of_conflicts", "outlet::a_conflict_is_not_told"),
    (
        DropsUntold,
        "stores_and_does_not_tell_when_dropped",
        "outlet::a_dropped_append_is_stored_and_told_or_neither",
    ),
    (HeadForgets, "counts_what_it_holds_for_its_head", "retention::first_moves_and_head_stays"),
    (FirstLags, "says_that_more_is_there_than_is", "retention::first_moves_and_head_stays"),
    (
        EpochsChange,
        "begins_a_new_epoch_with_every_question",
        "bounds::the_epoch_stays_while_the_room_is_open",
    ),
    (AfterIncludes, "reads_after_a_position_with_that_position", "pages::after_is_right_at_every_position"),
    (
        BeforeIncludes,
        "reads_before_a_position_with_that_position",
        "pages::before_is_right_at_every_position",
    ),
    (
        BeforeReadsOldest,
        "reads_the_oldest_where_the_newest_are_asked",
        "pages::before_is_right_at_every_position",
    ),
    (ReadsBackwards, "reads_newest_first", "pages::after_is_right_at_every_position"),
    (NeverMore, "never_says_that_there_is_more", "pages::paging_back_meets_every_message_once"),
    (AlwaysMore, "always_says_that_there_is_more", "pages::an_empty_room_reads_as_nothing"),
    (BytesUnbounded, "makes_pages_of_any_size", "pages::a_page_is_bounded_by_bytes"),
    (SkipsLong, "leaves_out_what_is_longer_than_a_page", "pages::a_message_longer_than_a_page_comes_alone"),
    (KeysUnknown, "knows_no_key_again", "keys::a_repeat_answers_the_first"),
    (RepeatsUnmarked, "does_not_say_that_a_repeat_is_one", "keys::a_repeat_answers_the_first"),
    (ConflictsPass, "takes_another_body_for_a_repeat", "keys::another_body_is_a_conflict"),
    (KeysOfEverybody, "shares_keys_between_users", "keys::users_do_not_share_keys"),
    (GuestsAreKnown, "takes_guests_for_users_it_knows", "keys::a_guest_and_a_known_user_do_not_meet"),
    (UsersAreNames, "knows_users_by_their_names", "keys::a_user_who_is_renamed_keeps_its_keys"),
    (KeysOfAllRooms, "shares_keys_between_rooms", "keys::rooms_do_not_share_keys"),
    (KeysFolded, "makes_no_difference_between_K_and_k", "keys::keys_are_compared_byte_by_byte"),
    (KeysRunTogether, "writes_user_and_key_in_one_word", "keys::user_and_key_do_not_run_together"),
    (KeysCut, "cuts_long_keys", "keys::a_key_of_64_bytes_is_whole"),
    (FewKeys, "remembers_too_few_keys", "keys::the_newest_keys_are_remembered"),
    (BodiesAnew, "writes_bodies_anew", "bodies::numbers_keep_their_spelling"),
    (EscapesResolved, "resolves_escapes", "bodies::characters_keep_their_spelling"),
    (NamesCut, "cuts_the_names_of_rooms", "rooms::a_room_may_have_any_name"),
    (SecondIsDeaf, "tells_only_who_opened_first", "rooms::of_two_openings_each_hears_everything"),
    (
        EpochsOfNames,
        "calls_every_life_of_a_room_alike",
        "lives::a_new_life_is_the_same_log_or_says_that_it_is_not",
    ),
    (LivesAnew, "forgets_everything_in_a_restart", "lives::a_restart_keeps_every_message"),
    (RestartForgetsKeys, "forgets_keys_in_a_restart", "lives::a_restart_keeps_the_keys"),
    (TellsAgain, "tells_all_again_when_it_is_opened", "lives::a_new_outlet_hears_only_what_is_new"),
    (KeepsTooLittle, "keeps_less_than_it_should", "retention::the_newest_stay"),
    (FindsAnyWord, "finds_what_has_one_of_the_words", "search::every_word_is_looked_for_newest_first"),
    (
        FindsFromTheNewest,
        "searches_from_the_newest_every_time",
        "search::limit_and_before_page_through_what_fits",
    ),
    (FindsWholeWords, "finds_whole_words_only", "search::a_part_of_a_korean_word_is_found"),
    (QueriesBreakIt, "fails_at_a_quote_in_a_query", "search::hostile_queries_are_answered"),
];

fn main() -> ExitCode {
    let trials = DEFECTS.map(|(defect, name, case)| {
        Trial::test(format!("a_store_that_{name}_is_caught"), move || judge(defect, case)).with_kind(case)
    });
    libtest_mimic::run(&Arguments::from_args(), trials.into()).exit_code()
}

fn judge(defect: Defect, path: &str) -> Result<(), Failed> {
    let case = cases().into_iter().find(|case| case.path() == path).ok_or("there is no such case")?;
    let sound = Kind::new("sound", |_| async { Kept::default() });
    if let Err(failure) = run(&sound, &case) {
        return Err(format!("the sound store:\n{}", failure.explain(&case)).into());
    }
    let spoiled = Kind::new("spoiled", move |_| async move { Spoiled::new(defect) });
    match run(&spoiled, &case) {
        Err(_) => Ok(()),
        Ok(()) => Err(format!("{path} does not catch it").into()),
    }
}
