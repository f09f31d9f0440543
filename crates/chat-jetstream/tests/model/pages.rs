//! Pages of messages that are longer than a page together.

use chat_core::{Change, Limits, NewChange, NewMessage, Range};

use super::quiet::{node, open, run};
use super::schedule::{body, user};

/// The messages of a room.
const MESSAGES: u64 = 100;

/// The entries that a page backwards reads at first. Half of them are reactions.
const CHUNK: usize = 128;

#[test]
fn a_page_backwards_reads_no_more_states_of_messages_than_it_has() {
    run(|model| async move {
        let limits = Limits::default();
        let store = node(&model, 0, &limits).await;
        let lobby = open(&store, "lobby", &limits).await;
        for _ in 0..MESSAGES {
            let message = NewMessage::new(user(1), body(&"x".repeat(4_000)));
            let message = lobby.append(message).await.expect("a receipt");
            let reaction = Change::React { reaction: "+1".to_owned(), on: true };
            lobby.change(NewChange::new(user(1), message.seq, reaction)).await.expect("a reaction");
        }
        let before = model.act(|world| world.read);
        let page = lobby.read(Range::newest(200)).await.expect("a page");
        let read = model.act(|world| world.read) - before;
        let bytes: usize = page.messages.iter().map(|stored| stored.frame.len()).sum();
        assert!(page.more && bytes <= limits.wire.max_batch_bytes, "{bytes} bytes");
        let count = page.messages.len();
        assert!((10..20).contains(&count), "{count} messages");
        // Some more show where the chunk begins.
        assert!(read < CHUNK + 2 * count, "{read} messages of the stream for a page of {count}");
    });
}
