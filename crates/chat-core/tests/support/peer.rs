use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use chat_core::Incoming;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::settle;
use super::wire::{Frame, Line, Wire};

/// Paused time after which a test gives up waiting. Longer than anything that a session waits for.
const PATIENCE: Duration = Duration::from_secs(120);

/// The test's side, and the task in which the session runs.
pub(crate) struct Peer {
    line: Arc<Mutex<Line>>,
    news: Arc<Notify>,
    session: JoinHandle<()>,
}

impl Peer {
    pub(crate) fn new<S>(session: impl FnOnce(Wire) -> S) -> Self
    where
        S: Future<Output = ()> + Send + 'static,
    {
        let line = Arc::new(Mutex::new(Line::default()));
        let news = Arc::new(Notify::new());
        let wire = Wire { line: Arc::clone(&line), news: Arc::clone(&news) };
        let session = tokio::spawn(session(wire));
        Self { line, news, session }
    }

    /// Sends a text frame.
    pub(crate) fn text(&self, text: impl Into<Bytes>) {
        self.incoming(Incoming::Text(text.into()));
    }

    /// Sends a command.
    #[expect(clippy::needless_pass_by_value, reason = "it is always a `json!`")]
    pub(crate) fn send(&self, command: Value) {
        self.text(command.to_string());
    }

    /// Sends a message into the lobby, unasked for a reply.
    pub(crate) fn say(&self, text: &str) {
        self.send(json!({"type": "send", "room": "lobby", "body": {"text": text}}));
    }

    pub(crate) fn ping(&self) {
        self.incoming(Incoming::Ping);
    }

    pub(crate) fn close(&self, code: u16) {
        self.incoming(Incoming::Close(Some(code)));
    }

    pub(crate) fn incoming(&self, incoming: Incoming) {
        let mut line = self.line.lock();
        line.incoming.push_back(incoming);
        line.reader.take().into_iter().for_each(Waker::wake);
    }

    /// Takes nothing from now on.
    pub(crate) fn block(&self) {
        self.line.lock().allowance = Some(0);
    }

    /// Takes so many frames, then nothing.
    pub(crate) fn grant(&self, frames: usize) {
        self.change(|line| line.allowance = Some(line.allowance.unwrap_or(0) + frames));
    }

    /// Takes everything again.
    pub(crate) fn unblock(&self) {
        self.change(|line| line.allowance = None);
    }

    /// Fails every write from now on.
    pub(crate) fn fail(&self) {
        self.change(|line| line.failing = true);
    }

    /// Leaves the session's close frame unanswered.
    pub(crate) fn keep_silent(&self) {
        self.line.lock().keeps_silent = true;
    }

    fn change(&self, change: impl FnOnce(&mut Line)) {
        let mut line = self.line.lock();
        change(&mut line);
        line.writer.take().into_iter().for_each(Waker::wake);
    }

    /// The next frame, once it comes.
    pub(crate) async fn frame(&mut self) -> Frame {
        let next = async {
            loop {
                if let Some(frame) = self.line.lock().taken.pop_front() {
                    return frame;
                }
                self.news.notified().await;
            }
        };
        timeout(PATIENCE, next).await.expect("a frame in time")
    }

    /// The next frame, which is a text, as it stands.
    pub(crate) async fn text_frame(&mut self) -> String {
        match self.frame().await {
            Frame::Text(text) => text,
            other => panic!("{other:?} instead of an event"),
        }
    }

    /// The next frame, which is an event.
    pub(crate) async fn event(&mut self) -> Value {
        parse(&self.text_frame().await)
    }

    /// The events that are there or come now, all of them.
    pub(crate) async fn events(&mut self) -> Vec<Value> {
        settle().await;
        let texts = self.taken().into_iter().map(|frame| match frame {
            Frame::Text(text) => parse(&text),
            other => panic!("{other:?} instead of an event"),
        });
        texts.collect()
    }

    /// The frames that are there.
    pub(crate) fn taken(&self) -> Vec<Frame> {
        self.line.lock().taken.drain(..).collect()
    }

    /// Sends a command with a `ref` and waits for the reply; events that come before it stay to be read.
    pub(crate) async fn ask(&mut self, mut command: Value) -> Value {
        command["ref"] = "ask".into();
        self.send(command);
        let mut others = Vec::new();
        let mut reply = loop {
            let text = self.text_frame().await;
            let event = parse(&text);
            if event["ref"] == "ask" {
                break event;
            }
            others.push(Frame::Text(text));
        };
        let mut line = self.line.lock();
        for frame in others.into_iter().rev() {
            line.taken.push_front(frame);
        }
        reply.as_object_mut().expect("an object").remove("ref");
        reply
    }

    /// Joins a room.
    pub(crate) async fn join(&mut self, room: &str) -> Value {
        let joined = self.ask(json!({"type": "join", "room": room})).await;
        assert_eq!(joined["type"], "joined", "{joined}");
        joined
    }

    /// Everything that comes up to the end of the connection, with the end not in it.
    pub(crate) async fn until_gone(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        loop {
            match self.frame().await {
                Frame::Gone => return frames,
                frame => frames.push(frame),
            }
        }
    }

    /// What the session has closed with: `None` if it has not yet, `Some(None)` if the peer did first.
    pub(crate) fn closed_with(&self) -> Option<Option<u16>> {
        self.line.lock().closed_with
    }

    pub(crate) fn flushes(&self) -> usize {
        self.line.lock().flushes
    }

    /// Frames that the session has not read.
    pub(crate) fn unread(&self) -> usize {
        self.line.lock().incoming.len()
    }

    /// Drops the session where it is.
    pub(crate) fn kill(&self) {
        self.session.abort();
    }

    /// Whether the session's task is over, and has not panicked.
    pub(crate) async fn is_over(&mut self) -> bool {
        settle().await;
        self.session.is_finished() && (&mut self.session).await.is_ok()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let broken = self.line.lock().polled_after_the_end;
        assert!(!broken || std::thread::panicking(), "a connection that has ended was polled again");
    }
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).expect("an event is JSON")
}
