//! The core of NATS: connections, subscriptions, and messages between them.
//!
//! A connection delivers in order, each message once. Messages that are on their way when a connection ends are lost.
//! A connection to a silent server (or of a silent node) holds them, and they arrive late, even if the client has given
//! the connection up: the kernel sends what it has.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_nats::{Event, Message, StatusCode};
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::node::Connection;

use super::copy::matches;
use super::world::World;

/// The time after which a client gives up a silent connection: two pings without an answer.
const SILENCE: (u64, u64) = (10_000, 15_000);

/// The time for which a server keeps a connection whose client has given it up.
const GHOST: (u64, u64) = (1_000, 60_000);

/// The subscription for the answers to requests.
pub(super) const ANSWERS: u64 = 0;

/// A client, as it sees itself.
pub(super) struct Connected {
    /// The present connection. `None` while there is none, as far as the client has noticed.
    pub(super) session: Option<u64>,
    /// True if no server can be reached: packets are neither delivered nor refused.
    pub(super) is_cut: bool,
    /// True if its process has ended.
    pub(super) is_dead: bool,
    /// The percentage of the notices that the client loses, because it is slow, or gets twice.
    pub(super) losing: u64,
    pub(super) doubling: u64,
    /// The longest delay of a message to the client.
    pub(super) slow: u64,
    subscriptions: BTreeMap<u64, Subscribed>,
    pub(super) waiting: BTreeMap<String, oneshot::Sender<Message>>,
    /// The frames for the next connection.
    buffer: Vec<Frame>,
    events: Arc<Connection>,
}

struct Subscribed {
    subject: String,
    group: Option<String>,
    queue: mpsc::UnboundedSender<Message>,
}

/// A connection, as its server sees it.
pub(super) struct Session {
    client: usize,
    server: usize,
    /// True if the server has closed it, and the client has not noticed it yet.
    is_closed: bool,
    subscriptions: BTreeMap<u64, (String, Option<String>)>,
    /// The frames that arrive when the connection is not silent any more.
    held_up: Vec<Frame>,
    held_down: Vec<(u64, Message)>,
    /// The times at which the last frames arrive.
    up: u64,
    down: u64,
}

#[derive(Clone)]
pub(super) enum Frame {
    Subscribe(u64, String, Option<String>),
    Unsubscribe(u64),
    Publish(Message),
}

pub(super) fn message(subject: &str, payload: impl Into<Bytes>) -> Message {
    let (subject, payload) = (subject.into(), payload.into());
    let length = payload.len();
    Message { subject, reply: None, payload, headers: None, status: None, description: None, length }
}

impl World {
    /// Adds a client, which is connected to some server.
    pub(super) fn add_client(&mut self, events: Arc<Connection>) -> usize {
        let client = self.clients.len();
        self.clients.push(Connected {
            session: None,
            is_cut: false,
            is_dead: false,
            losing: 0,
            doubling: 0,
            slow: 0,
            subscriptions: BTreeMap::new(),
            waiting: BTreeMap::new(),
            buffer: Vec::new(),
            events,
        });
        self.connect(client);
        client
    }

    pub(super) fn subscribe(
        &mut self,
        client: usize,
        subject: String,
        group: Option<String>,
    ) -> (u64, mpsc::UnboundedReceiver<Message>) {
        let (queue, messages) = mpsc::unbounded_channel();
        let number = self.number();
        let subscribed = Subscribed { subject: subject.clone(), group: group.clone(), queue };
        self.clients[client].subscriptions.insert(number, subscribed);
        if self.clients[client].session.is_some() {
            self.send(client, Frame::Subscribe(number, subject, group));
        }
        (number, messages)
    }

    pub(super) fn unsubscribe(&mut self, client: usize, number: u64) {
        if self.clients[client].subscriptions.remove(&number).is_some()
            && self.clients[client].session.is_some()
        {
            self.send(client, Frame::Unsubscribe(number));
        }
    }

    /// Sends a frame on the connection of a client, or on the next one.
    pub(super) fn send(&mut self, client: usize, frame: Frame) {
        if self.clients[client].is_dead {
            return;
        }
        let Some(number) = self.clients[client].session else {
            self.clients[client].buffer.push(frame);
            return;
        };
        let due = self.now() + self.latency();
        let Some(session) = self.sessions.get_mut(&number) else { return };
        session.up = session.up.max(due);
        let due = session.up;
        self.at(due, move |world| world.arrive(number, frame));
    }

    /// Returns the time at which a message that is sent now arrives on the present connection.
    pub(super) fn is_silent(&self, number: u64) -> bool {
        self.sessions.get(&number).is_some_and(|session| {
            self.clients[session.client].is_cut || self.servers[session.server].is_paused
        })
    }

    /// Takes a frame that has arrived at a server.
    fn arrive(&mut self, number: u64, frame: Frame) {
        let is_silent = self.is_silent(number);
        let Some(session) = self.sessions.get_mut(&number) else { return };
        if session.is_closed {
            return;
        }
        if is_silent || !session.held_up.is_empty() {
            session.held_up.push(frame);
            return;
        }
        let server = session.server;
        match frame {
            Frame::Subscribe(subscription, subject, group) => {
                session.subscriptions.insert(subscription, (subject, group));
            }
            Frame::Unsubscribe(subscription) => drop(session.subscriptions.remove(&subscription)),
            Frame::Publish(message) => {
                let has_interest = self.publish(server, &message);
                if let (false, Some(reply)) = (has_interest, &message.reply) {
                    let mut refused = super::network::message(reply, "");
                    refused.status = Some(StatusCode::NO_RESPONDERS);
                    self.route(server, &refused);
                }
            }
        }
    }

    /// Takes a message at a server. Returns false if nobody listens to its subject.
    fn publish(&mut self, server: usize, message: &Message) -> bool {
        let to_stream = if message.subject.starts_with("$JS.API.") {
            self.take_request(server, message)
        } else {
            self.take_publication(server, message)
        };
        self.route(server, message) || to_stream
    }

    /// Delivers a message that a server has to all subscriptions that it knows. Returns false if there is none.
    pub(super) fn route(&mut self, server: usize, message: &Message) -> bool {
        let mut groups: BTreeMap<String, Vec<(u64, u64)>> = BTreeMap::new();
        let mut receivers = Vec::new();
        for (number, session) in &self.sessions {
            if session.is_closed
                || !self.servers[session.server].is_up
                || !self.reaches(server, session.server)
            {
                continue;
            }
            for (subscription, (subject, group)) in &session.subscriptions {
                if matches(subject, &message.subject) {
                    match group {
                        None => receivers.push((*number, *subscription)),
                        Some(group) => {
                            groups.entry(group.clone()).or_default().push((*number, *subscription));
                        }
                    }
                }
            }
        }
        for members in groups.into_values() {
            receivers.push(members[self.rng.index(members.len())]);
        }
        for (number, subscription) in &receivers {
            self.forward(server, *number, *subscription, message.clone());
        }
        !receivers.is_empty()
    }

    /// Sends a message from a server to a client, by the server of the client.
    fn forward(&mut self, server: usize, number: u64, subscription: u64, message: Message) {
        let target = self.sessions[&number].server;
        if target == server {
            return self.send_down(number, subscription, message);
        }
        self.hop(server, target, move |world| world.send_down(number, subscription, message));
    }

    /// Lets something happen when a message from one server arrives at another one. The order stays.
    pub(super) fn hop(&mut self, from: usize, to: usize, act: impl FnOnce(&mut World) + Send + 'static) {
        if from == to {
            return act(self);
        }
        let due = self.now() + self.latency();
        let last = self.routes.entry((from, to)).or_default();
        *last = due.max(*last);
        let due = *last;
        self.at(due, move |world| {
            let is_lost = world.lossy > 0 && world.rng.percent(world.lossy);
            if world.reaches(from, to) && !is_lost {
                act(world);
            }
        });
    }

    fn send_down(&mut self, number: u64, subscription: u64, message: Message) {
        let Some(client) = self.sessions.get(&number).map(|session| session.client) else { return };
        let slow = self.clients[client].slow;
        let delay = if slow > 0 { self.rng.between(0, slow) } else { 0 };
        let due = self.now() + self.latency() + delay;
        let Some(session) = self.sessions.get_mut(&number) else { return };
        session.down = session.down.max(due);
        let due = session.down;
        self.at(due, move |world| world.deliver(number, subscription, message));
    }

    /// Takes a message that has arrived at a client.
    fn deliver(&mut self, number: u64, subscription: u64, message: Message) {
        let is_silent = self.is_silent(number);
        let Some(session) = self.sessions.get_mut(&number) else { return };
        if is_silent || !session.held_down.is_empty() {
            session.held_down.push((subscription, message));
            return;
        }
        let client = session.client;
        let Connected { session, losing, doubling, .. } = self.clients[client];
        if session != Some(number) {
            return;
        }
        // Notices of the stream, and signs of life of the nodes. Their queues are full while a node is slow.
        let is_notice = [".e.", ".n."].iter().any(|part| message.subject.contains(part));
        if is_notice && losing > 0 && self.rng.percent(losing) {
            return self.tell(client, &Event::SlowConsumer(subscription));
        }
        let is_doubled = is_notice && doubling > 0 && self.rng.percent(doubling);
        let client = &mut self.clients[client];
        if subscription == ANSWERS {
            if let Some(waiting) = client.waiting.remove(message.subject.as_str()) {
                let _gone = waiting.send(message);
            }
        } else if let Some(subscribed) = client.subscriptions.get(&subscription) {
            if is_doubled {
                let _gone = subscribed.queue.send(message.clone());
            }
            let _gone = subscribed.queue.send(message);
        }
    }

    pub(super) fn tell(&self, client: usize, event: &Event) {
        self.clients[client].events.take(event);
    }

    /// Connects a client to some server, or tries it again later.
    pub(super) fn connect(&mut self, client: usize) {
        if self.clients[client].is_dead || self.clients[client].session.is_some() {
            return;
        }
        let ready = |server: &usize| self.servers[*server].is_up && !self.servers[*server].is_paused;
        let servers: Vec<_> = (0..self.servers.len()).filter(ready).collect();
        if self.clients[client].is_cut || servers.is_empty() {
            let pause = self.rng.between(20, 500);
            return self.after(pause, move |world| world.connect(client));
        }
        let server = servers[self.rng.index(servers.len())];
        let (number, now) = (self.number(), self.now());
        let own = &self.clients[client].subscriptions;
        let mut subscriptions: BTreeMap<_, _> = own
            .iter()
            .map(|(number, subscribed)| (*number, (subscribed.subject.clone(), subscribed.group.clone())))
            .collect();
        subscriptions.insert(ANSWERS, (format!("_ANSWER.{client}.*"), None));
        let (held_up, held_down) = (Vec::new(), Vec::new());
        let is_closed = false;
        let session =
            Session { client, server, is_closed, subscriptions, held_up, held_down, up: now, down: now };
        self.sessions.insert(number, session);
        self.clients[client].session = Some(number);
        self.tell(client, &Event::Connected);
        for frame in std::mem::take(&mut self.clients[client].buffer) {
            self.send(client, frame);
        }
    }

    /// Ends a connection. Both sides notice it. Frames on their way are lost.
    pub(super) fn disconnect(&mut self, number: u64) {
        let Some(session) = self.sessions.remove(&number) else { return };
        let client = session.client;
        if self.clients[client].session == Some(number) {
            self.clients[client].session = None;
            self.tell(client, &Event::Disconnected);
            let pause = self.rng.between(0, 100);
            self.after(pause, move |world| world.connect(client));
        }
    }

    /// Ends all connections to a server.
    pub(super) fn disconnect_all(&mut self, server: usize) {
        let of_server = |(number, session): (&u64, &Session)| (session.server == server).then_some(*number);
        let sessions: Vec<_> = self.sessions.iter().filter_map(of_server).collect();
        for number in sessions {
            let delay = self.rng.between(0, 20);
            // The server takes nothing more, and the client notices it a little later.
            if let Some(session) = self.sessions.get_mut(&number) {
                session.is_closed = true;
            }
            self.after(delay, move |world| world.disconnect(number));
        }
    }

    /// Lets clients notice connections that are silent from now on.
    pub(super) fn begin_silence(&mut self) {
        let current = self.clients.iter().filter_map(|client| client.session);
        let silent: Vec<_> = current.filter(|number| self.is_silent(*number)).collect();
        for number in silent {
            let limit = self.rng.between(SILENCE.0, SILENCE.1);
            let client = self.sessions[&number].client;
            self.after(limit, move |world| {
                if world.clients[client].session == Some(number) && world.is_silent(number) {
                    world.give_up(client, number);
                }
            });
        }
    }

    /// Lets a client give up a silent connection. The server does not notice it for a while.
    fn give_up(&mut self, client: usize, number: u64) {
        self.clients[client].session = None;
        if let Some(session) = self.sessions.get_mut(&number) {
            // Some of what the client has sent may arrive later.
            let kept = self.rng.index(session.held_up.len() + 1);
            session.held_up.truncate(kept);
            session.held_down.clear();
        }
        self.tell(client, &Event::Disconnected);
        self.connect(client);
        let rest = self.rng.between(GHOST.0, GHOST.1);
        self.after(rest, move |world| drop(world.sessions.remove(&number)));
    }

    /// Lets the frames arrive that were held by connections which are not silent any more.
    pub(super) fn end_silence(&mut self) {
        let numbers: Vec<_> =
            self.sessions.keys().copied().filter(|number| !self.is_silent(*number)).collect();
        for number in numbers {
            let Some(session) = self.sessions.get_mut(&number) else { continue };
            let (up, down) = (std::mem::take(&mut session.held_up), std::mem::take(&mut session.held_down));
            up.into_iter().for_each(|frame| self.arrive(number, frame));
            down.into_iter().for_each(|(subscription, message)| self.deliver(number, subscription, message));
        }
    }
}
