//! Clients that follow a room through each adapter, over connections that are cut, have the state that a new client
//! reads: messages with their changes and threads, pinned messages, rights, restrictions, the title, and unread
//! messages.
//!
//! Each script is generated from a seed, which a failure prints. `CHAT_SEED=<seed> cargo test -p chat-tests --test
//! followed_rooms` runs the same script again, possibly in another order of events. `CHAT_SCRIPTS=<count>` sets the
//! number of scripts.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chat_client::{
    Client, ClientEvent, Events, Folded, JoinFrom, Joined, Links, Mentions, Range, ReceivedAct,
    ReceivedChange, ReceivedMessage, Reconnect, RoomName, RoomView, Text,
};
use chat_core::{
    Act, Change, Chat, Limits, NewAct, NewChange, RateLimits, Restrict, Restriction, Role, RoomRules, User,
};
use chat_tests::{ADAPTERS, Server, seeds, within};
use fastrand::Rng;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;

/// The default number of scripts.
const SCRIPTS: u64 = 3;

/// The number of steps in a script.
const STEPS: usize = 250;

/// The number of messages that the room retains. Some followers miss more than that.
const RETAINED: usize = 25;

/// The number of messages in a view.
const CAPACITY: usize = 10;

/// The events that wait for a follower, at most.
const BUFFER: usize = 6;

#[tokio::test(flavor = "multi_thread")]
async fn a_followed_room_equals_a_fresh_one_on_all_adapters() -> Result<()> {
    for seed in seeds("CHAT_SCRIPTS", SCRIPTS)? {
        follow(seed).await.with_context(|| {
            format!("run CHAT_SEED={seed} cargo test -p chat-tests --test followed_rooms")
        })?;
    }
    Ok(())
}

async fn follow(seed: u64) -> Result<()> {
    let mut random = Rng::with_seed(seed);
    let limits = Limits::default().with(|limits| {
        limits.rooms.log_messages = RETAINED;
        limits.rates = RateLimits::unlimited();
    });
    let chat = Chat::builder().limits(limits).build();
    let (cuts, _) = broadcast::channel(STEPS);
    let (end, ends) = watch::channel(0);
    let (mut servers, mut addresses, mut followers) = (Vec::new(), Vec::new(), JoinSet::new());
    for (number, adapter) in ADAPTERS.into_iter().enumerate() {
        let server = Server::start(adapter, &chat).await?;
        let network = network(server.address(), number, &cuts).await?;
        let follower = Follower::connect(network, number).await?;
        followers.spawn(follower.run(ends.clone()));
        addresses.push(server.address());
        servers.push(server);
    }
    let (writer, _) = connect(addresses[0], "writer").await?;
    let (other, _) = connect(addresses[addresses.len() - 1], "other").await?;
    for client in [&writer, &other] {
        client.join(&room(), JoinFrom::Now).await?;
    }
    let mut script = Script { chat, writers: [writer, other], random: random.fork(), mine: Vec::new() };
    for _ in 0..STEPS {
        script.step().await?;
        if random.u8(..) < 10 {
            cuts.send(random.usize(..ADAPTERS.len()))?;
        }
    }
    // The last entry is one that every follower gets.
    let last = script.post(Links::default()).await?;
    end.send_replace(last);
    for follower in within(followers.join_all()).await? {
        let follower = follower?;
        let (client, _) = connect(addresses[follower.number], &name(follower.number)).await?;
        let (joined, first) = (client.join(&room(), JoinFrom::Now).await?, script.first().await?);
        let fresh = client.history(&room(), Range::newest(CAPACITY)).await?;
        follower.compare(&joined, &fresh.messages, first)?;
    }
    Ok(())
}

/// The entries of the room.
struct Script {
    chat: Chat,
    writers: [Client; 2],
    random: Rng,
    /// The messages, with the numbers of their writers.
    mine: Vec<(u64, usize)>,
}

impl Script {
    async fn step(&mut self) -> Result<()> {
        let recent = |random: &mut Rng, mine: &[(u64, usize)]| {
            let back = random.usize(..6).min(mine.len().saturating_sub(1));
            mine.iter().rev().nth(back).copied()
        };
        let choice = self.random.u8(..20);
        let Some((seq, by)) = recent(&mut self.random, &self.mine).filter(|_| choice > 5) else {
            let thread = recent(&mut self.random, &self.mine).filter(|_| self.random.bool());
            let mentions = self.random.bool().then(|| Mentions::users([name(choice.into())]));
            let links = Links::default().with_thread(thread.map(|(seq, _)| seq)).with_mentions(mentions);
            return self.post(links).await.map(drop);
        };
        let (writer, room) = (&self.writers[by], room());
        let text = self.random.u32(..).to_string();
        let (body, on) = (Text::new(&*text), self.random.bool());
        let user = User::guest(&name(self.random.usize(..ADAPTERS.len())))?;
        // Some messages are deleted, or removed already.
        let _refused = match choice {
            6..=9 => writer.edit(&room, seq, &body, None).await.is_err(),
            10 => writer.delete(&room, seq, None).await.is_err(),
            11..=14 => {
                writer.react(&room, seq, if on { "+1" } else { "-1" }, self.random.bool()).await.is_err()
            }
            15..=17 => {
                let change = NewChange::new(user, seq, Change::Pin { on }).with_role(Role::Moderator);
                self.chat.change(&room, change).await.is_err()
            }
            _ => {
                let act = if choice == 18 {
                    let restriction = on.then(|| Restriction::new(Restrict::Mute, None));
                    Act::Restrict { user: user.clone(), restriction, reason: None }
                } else {
                    Act::Create { rules: RoomRules::default().with_title(text) }
                };
                let host = User::new("host", "Host")?;
                self.chat.govern(&room, NewAct::new(host, act).by_host()).await.is_err()
            }
        };
        Ok(())
    }

    /// Sends a message. A root that does not exist is left out.
    async fn post(&mut self, links: Links) -> Result<u64> {
        let by = self.random.usize(..2);
        let (writer, body) = (&self.writers[by], Text::new(self.random.u32(..).to_string()));
        let sent = match writer.send_linked(&room(), &body, links).await {
            Ok(sent) => sent,
            Err(_) => writer.send(&room(), &body).await?,
        };
        self.mine.push((sent.seq, by));
        Ok(sent.seq)
    }

    /// Returns the oldest entry of the log.
    async fn first(&self) -> Result<u64> {
        Ok(self.writers[0].join(&room(), JoinFrom::Now).await?.first)
    }
}

/// A client that keeps the state of the room.
struct Follower {
    number: usize,
    client: Client,
    events: Events,
    view: RoomView,
    random: Rng,
}

impl Follower {
    async fn connect(address: SocketAddr, number: usize) -> Result<Self> {
        let (client, events) = connect(address, &name(number)).await?;
        let joined = client.join(&room(), JoinFrom::Now).await?;
        let view = RoomView::new(&joined, client.user(), CAPACITY);
        Ok(Self { number, client, events, view, random: Rng::with_seed(u64::try_from(number)?) })
    }

    /// Follows the room up to its last entry.
    async fn run(mut self, mut ends: watch::Receiver<u64>) -> Result<Self> {
        let (mut seen, mut end) = (0, 0);
        while end == 0 || seen < end {
            let event = tokio::select! {
                event = self.events.next() => event.context("the client has ended")?,
                Ok(()) = ends.changed(), if end == 0 => {
                    end = *ends.borrow();
                    continue;
                }
            };
            match &event {
                ClientEvent::Message(ReceivedMessage { seq, .. })
                | ClientEvent::Changed(ReceivedChange { seq, .. })
                | ClientEvent::Act(ReceivedAct { seq, .. })
                | ClientEvent::Gap { to: seq, .. } => {
                    ensure!(*seq > seen, "{seq} after {seen}");
                    seen = *seq;
                }
                ClientEvent::Closed(reason) => anyhow::bail!("{reason}"),
                _ => {}
            }
            self.view.handle_event(&event);
            self.refresh().await?;
            if self.random.u8(..) < 8 {
                self.view.handle_read(self.client.read(&room(), seen).await?);
            }
        }
        self.refresh().await?;
        Ok(self)
    }

    /// Reads what may be out of date.
    async fn refresh(&mut self) -> Result<()> {
        if self.view.needs_join() {
            self.view.handle_joined(&self.client.join(&room(), JoinFrom::Now).await?);
        }
        if let Some(range) = self.view.to_read() {
            self.view.handle_page(range, &self.client.history(&room(), range).await?);
        }
        Ok(())
    }

    /// Compares the view with what a new client reads. No event says that the log has removed a message.
    fn compare(&self, joined: &Joined, fresh: &[ReceivedMessage], first: u64) -> Result<()> {
        let (view, number) = (&self.view, self.number);
        let held: Vec<_> = view.messages().filter(|message| message.seq >= first).map(state).collect();
        let fresh: Vec<_> = fresh.iter().map(state).collect();
        ensure!(held == fresh, "{number} has {held:#?} instead of {fresh:#?}");
        let pins: Vec<_> = view.pins().filter(|pin| *pin >= first).collect();
        ensure!(pins == joined.pins, "{number} has the pins {pins:?} instead of {:?}", joined.pins);
        ensure!((view.role(), view.may()) == (joined.role, joined.may), "{number} has {:?}", view.may());
        let (title, restricted) = (view.title(), view.restricted());
        let fits = (title, restricted) == (joined.title.as_deref(), joined.restricted);
        ensure!(fits, "{number} has {title:?} and {restricted:?} instead of {joined:?}");
        let unread = view.unread();
        if joined.unread.as_ref().is_some_and(|fresh| fresh.read + 1 >= first) {
            ensure!(unread == joined.unread, "{number} has {unread:?} instead of {:?}", joined.unread);
        }
        Ok(())
    }
}

type State = (u64, Option<String>, Option<Folded>, Option<Links>);

fn state(message: &ReceivedMessage) -> State {
    let (folded, links) = (message.folded.as_deref().cloned(), message.links.as_deref().cloned());
    (message.seq, message.text(), folded, links)
}

async fn connect(address: SocketAddr, name: &str) -> Result<(Client, Events)> {
    let reconnect = Reconnect::default()
        .first(Duration::from_millis(10))
        .max(Duration::from_millis(100))
        .settled(Duration::ZERO);
    let builder = Client::builder(&format!("ws://{address}/ws")).name(name).reconnect(reconnect);
    let builder = builder.event_buffer(BUFFER).command_timeout(Duration::from_secs(60));
    Ok(builder.connect().await?)
}

/// Starts a network in front of a server. It ends its connections when its number is sent.
async fn network(server: SocketAddr, number: usize, cuts: &broadcast::Sender<usize>) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let cuts = cuts.clone();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut cuts = cuts.subscribe();
            tokio::spawn(async move {
                let Ok(mut server) = TcpStream::connect(server).await else { return };
                let cut = async { while cuts.recv().await.is_ok_and(|cut| cut != number) {} };
                tokio::select! {
                    _ = copy_bidirectional(&mut client, &mut server) => {}
                    () = cut => {}
                }
            });
        }
    });
    Ok(address)
}

fn name(number: usize) -> String {
    format!("follower {number}")
}

fn room() -> RoomName {
    "lobby".parse().unwrap()
}
