//! Cases that random scripts meet seldom.

use super::*;

/// Returns a world whose view follows a log with these messages of Ann, and has read nothing.
fn world(messages: usize) -> World {
    let mut world = World::new();
    (0..messages).for_each(|_| world.take(Step::Post(true, None)));
    world.view = world.join();
    world
}

fn bodies(world: &World) -> Vec<(u64, bool)> {
    world.view.messages().map(|message| (message.seq, message.body.is_some())).collect()
}

#[test]
fn a_purge_ends_the_pins_and_the_unread_messages_that_the_view_does_not_have() {
    let mut world = world(3);
    let pin = NewChange::new(user(true), 1, Change::Pin { on: true }).with_role(Role::Moderator);
    let (_, pinned) = world.log.change(9, pin).unwrap();
    world.publish(pinned.unwrap());
    world.take(Step::Follow(1, false));
    let unread = |world: &World| world.view.unread().map(|unread| (unread.head, unread.unread));
    assert_eq!((world.view.pins().collect(), unread(&world)), (vec![1], Some((4, 3))));

    world.take(Step::Purge(true));
    world.take(Step::Follow(1, true));
    assert_eq!((world.view.pins().count(), unread(&world)), (0, None));
    assert!(world.view.needs_join());
    let early = joined(&world.log, 0, true);
    let earlier = Joined { seq: 4, ..early.clone() };
    world.view.handle_joined(&earlier);
    assert!(world.view.needs_join(), "the reply is older than the purge");
    world.view.handle_joined(&early);
    assert_eq!((world.view.pins().count(), unread(&world)), (0, Some((5, 0))));
}

#[test]
fn the_entries_of_a_gap_are_read_although_an_earlier_page_arrives_after_it() {
    let mut world = world(3);
    world.take(Step::Ask);
    (0..RETAINED + 4).for_each(|_| world.take(Step::Post(true, None)));
    world.take(Step::Follow(1, false));
    let after_gap = Some(Range::before(world.log.bounds().first, CAPACITY));
    assert_eq!(world.view.to_read(), after_gap);
    world.take(Step::Answer);
    assert_eq!(world.view.to_read(), after_gap);
    world.take(Step::Read);
    assert_eq!((world.view.to_read(), bodies(&world)), (None, Vec::new()));
}

#[test]
fn a_page_does_not_bring_back_what_was_deleted_after_it() {
    for is_held in [false, true] {
        for deletion in [Step::Change(0, true, Kind::Delete), Step::Purge(true)] {
            let mut world = world(1);
            if is_held {
                world.take(Step::Read);
                world.view.handle_event(&ClientEvent::Resumed(world.joined(false)));
            }
            world.take(Step::Ask);
            world.take(deletion);
            world.take(Step::Follow(1, true));
            world.take(Step::Answer);
            assert_eq!(bodies(&world), [(1, false)], "{is_held} {deletion:?}");
            assert_eq!(world.view.to_read(), None);
        }
    }
}

#[test]
fn a_page_is_read_again_after_more_changes_than_a_view_keeps() {
    let mut world = World::new();
    world.log = Log::new(room(), "e1".to_owned(), Arc::default());
    world.take(Step::Post(true, None));
    world.view = world.join();
    world.take(Step::Ask);
    for number in 0..=RoomView::MAX_MESSAGES {
        let deletes = number == RoomView::MAX_MESSAGES;
        let kind = if deletes { Kind::Delete } else { Kind::React(0, number % 2 == 0) };
        let back = u8::try_from(world.log.bounds().head - 1).unwrap();
        world.take(Step::Change(back, true, kind));
        world.take(Step::Follow(1, true));
    }
    world.take(Step::Answer);
    assert!(world.view.to_read().is_some());
    world.take(Step::Read);
    assert_eq!(bodies(&world), [(1, false)]);
}
