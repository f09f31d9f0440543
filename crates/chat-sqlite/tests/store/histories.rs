//! Random histories of appends, reads, searches, restarts and retention, compared with a model.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use crate::support::{StoreDir, draft, guest, ignore_commits, limits, name, room, seqs, wait_until};
use bytes::Bytes;
use chat_core::{AppendError, Limits, LogBounds, Range, Room, Search, User};
use chat_proto::Log;
use chat_sqlite::{Options, SqliteStore};
use proptest::prelude::*;

/// Limit of a page in bytes: about three short messages.
const PAGE_BYTES: usize = 400;

#[derive(Clone, Debug)]
enum Step {
    Append { room: usize, user: usize, key: Option<u8>, word: u8 },
    Read { room: usize, range: Range },
    Search { room: usize, word: u8, limit: usize, before: u64 },
    Restart { killed: bool },
    Retain { messages: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let range = (any::<bool>(), 0..30u64, 0..8usize).prop_map(|(before, seq, limit)| match before {
        true => Range::Before { seq, limit },
        false => Range::After { seq, limit },
    });
    prop_oneof![
        12 => (0..2usize, 0..3usize, prop::option::of(0..4u8), 0..3u8)
            .prop_map(|(room, user, key, word)| Step::Append { room, user, key, word }),
        6 => (0..2usize, range).prop_map(|(room, range)| Step::Read { room, range }),
        3 => (0..2usize, 0..3u8, 1..4usize, 0..30u64)
            .prop_map(|(room, word, limit, before)| Step::Search { room, word, limit, before }),
        2 => any::<bool>().prop_map(|killed| Step::Restart { killed }),
        1 => (0..6u64).prop_map(|messages| Step::Retain { messages }),
    ]
}

/// The expected state of a room.
struct Model {
    /// Recognizes keys and encodes frames.
    log: Log,
    messages: BTreeMap<u64, (Bytes, u8)>,
}

impl Model {
    fn new(room: &str, epoch: String) -> Self {
        let limits = Limits::default().with(|limits| {
            limits.rooms.log_messages = usize::MAX;
            limits.rooms.log_bytes = usize::MAX;
        });
        Self { log: Log::new(name(room), epoch, Arc::new(limits)), messages: BTreeMap::new() }
    }

    fn bounds(&self) -> LogBounds {
        let bounds = self.log.bounds();
        let first = self.messages.first_key_value().map_or(bounds.head + 1, |(seq, _)| *seq);
        bounds.with_first(first)
    }

    fn retain(&mut self, messages: u64) {
        let head = self.log.bounds().head;
        self.messages.retain(|seq, _| *seq + messages > head);
    }

    /// Returns the messages that fit into a page.
    fn page<'m>(all: impl Iterator<Item = (&'m u64, &'m (Bytes, u8))>, limit: usize) -> (Vec<u64>, bool) {
        let (mut page, mut bytes) = (Vec::new(), 0);
        for (seq, (frame, _)) in all {
            bytes += frame.len();
            if page.len() == limit || (!page.is_empty() && bytes > PAGE_BYTES) {
                return (page, true);
            }
            page.push(*seq);
        }
        (page, false)
    }
}

struct Setup {
    dir: StoreDir,
    store: SqliteStore,
    models: [Model; 2],
}

const ROOMS: [&str; 2] = ["lobby", "로비"];

impl Setup {
    async fn new() -> Self {
        let dir = StoreDir::new();
        let store = dir.open();
        let mut epochs = Vec::new();
        for room_name in ROOMS {
            epochs.push(room(&store, room_name).bounds().await.expect("bounds").epoch);
        }
        assert_ne!(epochs[0], epochs[1]);
        let models = [0, 1].map(|room| Model::new(ROOMS[room], epochs[room].clone()));
        Self { dir, store, models }
    }

    fn room(&self, room: usize) -> Arc<dyn Room> {
        let limits = (*limits()).clone().with(|limits| limits.wire.max_batch_bytes = PAGE_BYTES);
        self.store.room(name(ROOMS[room]), Arc::new(limits), ignore_commits())
    }

    async fn run(&mut self, step: Step) {
        match step {
            Step::Append { room, user, key, word } => self.append(room, user, key, word).await,
            Step::Read { room, range } => {
                let page = self.room(room).read(range).await.expect("a page");
                let messages = &self.models[room].messages;
                let (mut expected, more) = match range {
                    Range::Before { seq, limit } => Model::page(messages.range(..seq).rev(), limit),
                    Range::After { seq, limit } => Model::page(messages.range(seq + 1..), limit),
                    range => panic!("{range:?} was not generated"),
                };
                expected.sort_unstable();
                assert_eq!((seqs(&page.messages), page.more), (expected, more), "{range:?}");
                for stored in page.messages {
                    assert_eq!(stored.frame, messages[&stored.seq].0);
                }
            }
            Step::Search { room, word, limit, before } => {
                let search = Search::new(format!("w{word}"), limit).before(before);
                let found = self.room(room).search(search).await.expect("found");
                let all = self.models[room].messages.range(..before).rev();
                let expected = Model::page(all.filter(|(_, (_, of))| *of == word), limit);
                assert_eq!((seqs(&found.messages), found.more), expected);
            }
            Step::Restart { killed } => self.restart(killed, Options::default()),
            Step::Retain { messages } => {
                let sweep_interval = Duration::from_millis(1);
                let options = Options::default().with(|options| {
                    options.retain_messages = Some(messages);
                    options.sweep_interval = sweep_interval;
                });
                self.restart(false, options);
                for room in 0..ROOMS.len() {
                    self.models[room].retain(messages);
                    let (log, first) = (self.room(room), self.models[room].bounds().first);
                    wait_until(async || log.bounds().await.is_ok_and(|bounds| bounds.first == first)).await;
                }
                self.restart(false, Options::default());
            }
        }
        for room in 0..ROOMS.len() {
            assert_eq!(self.room(room).bounds().await.expect("bounds"), self.models[room].bounds());
        }
    }

    async fn append(&mut self, room: usize, user: usize, key: Option<u8>, word: u8) {
        let user = match user {
            0 => guest("ann"),
            1 => guest("bob"),
            // A registered user with the name of a guest.
            _ => User::new("ann", "ann").expect("a name"),
        };
        let key = key.map(|key| key.to_string());
        let draft = || draft(&user, key.as_deref(), &format!("w{word}"));
        let appended = self.room(room).append(draft()).await;
        let at = appended.as_ref().map_or(0, |appended| appended.at);
        let model = &mut self.models[room];
        match (appended, model.log.append(at, draft())) {
            (Ok(appended), Ok((expected, stored))) => {
                assert_eq!(appended, expected);
                model.messages.extend(stored.map(|stored| (stored.seq, (stored.frame, word))));
            }
            (Err(AppendError::KeyConflict), Err(AppendError::KeyConflict)) => {}
            (appended, expected) => panic!("{appended:?} is not {expected:?}"),
        }
    }

    fn restart(&mut self, killed: bool, options: Options) {
        let files = ["chat.db", "chat.db-wal", "chat.mark"].map(|file| self.dir.file(file));
        let copies = files.each_ref().map(|file| fs::read(file).ok());
        self.store.close_blocking();
        if killed {
            for (file, bytes) in files.iter().zip(copies) {
                fs::write(file, bytes.expect("a file")).expect("written");
            }
        }
        self.store = self.dir.open_with(options);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_store_behaves_like_the_model(steps in prop::collection::vec(step(), 1..50)) {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let mut setup = Setup::new().await;
            for step in steps {
                setup.run(step).await;
            }
            setup.store.close_blocking();
            let report = SqliteStore::check(setup.dir.path(), |_| ()).expect("a report");
            assert!(report.is_sound(), "{report:?}");
        });
    }
}
