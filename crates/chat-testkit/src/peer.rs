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

use crate::settle;
use crate::wire::{Frame, Line, Wire};

/// Paused time after which a test fails. It is longer than any time limit of a session.
const FRAME_TIMEOUT: Duration = Duration::from_secs(120);

/// The client's side of a connection in memory, with the task that runs the session on the other side.
#[derive(Debug)]
pub struct Peer {
    line: Arc<Mutex<Line>>,
    news: Arc<Notify>,
    session: JoinHandle<()>,
}

impl Peer {
    /// Starts a session in a task. `session` gets the connection.
    pub fn new<S>(session: impl FnOnce(Wire) -> S) -> Self
    where
        S: Future<Output = ()> + Send + 'static,
    {
        let line = Arc::new(Mutex::new(Line::default()));
        let news = Arc::new(Notify::new());
        let wire = Wire { line: Arc::clone(&line), news: Arc::clone(&news), is_direct: false };
        let session = tokio::spawn(session(wire));
        Self { line, news, session }
    }

    /// Sends a text frame.
    pub fn text(&self, text: impl Into<Bytes>) {
        self.incoming(Incoming::Text(text.into()));
    }

    /// Sends a command.
    #[expect(clippy::needless_pass_by_value, reason = "it is always a `json!`")]
    pub fn send(&self, command: Value) {
        self.text(command.to_string());
    }

    /// Sends a message into the lobby, without a `ref`.
    pub fn say(&self, text: &str) {
        self.send(json!({"type": "send", "room": "lobby", "body": {"text": text}}));
    }

    /// Sends a ping.
    pub fn ping(&self) {
        self.incoming(Incoming::Ping);
    }

    /// Sends a close frame with this code.
    pub fn close(&self, code: u16) {
        self.incoming(Incoming::Close(Some(code)));
    }

    /// Sends anything that a connection can report.
    pub fn incoming(&self, incoming: Incoming) {
        let waker = {
            let mut line = self.line.lock();
            line.incoming.push_back(incoming);
            line.reader.take()
        };
        // The waker may run the session at once, which locks the line.
        waker.into_iter().for_each(Waker::wake);
    }

    /// Stops reading.
    pub fn block(&self) {
        self.line.lock().allowance = Some(0);
    }

    /// Reads this many frames, then stops.
    pub fn grant(&self, frames: usize) {
        self.change(|line| line.allowance = Some(line.allowance.unwrap_or(0) + frames));
    }

    /// Reads everything again.
    pub fn unblock(&self) {
        self.change(|line| line.allowance = None);
    }

    /// Lets the connection buffer the frames of a room that the peer does not take, as the WebSocket of a framework
    /// does.
    pub fn buffer_direct_writes(&self) {
        self.line.lock().buffers_direct = true;
    }

    /// Lets the direct writer panic from now on.
    pub fn panic_in_direct_writes(&self) {
        self.line.lock().panics = true;
    }

    /// Fails every write from now on.
    pub fn fail(&self) {
        self.change(|line| line.failing = true);
    }

    /// Does not answer the session's close frame.
    pub fn keep_silent(&self) {
        self.line.lock().keeps_silent = true;
    }

    fn change(&self, change: impl FnOnce(&mut Line)) {
        let mut line = self.line.lock();
        change(&mut line);
        line.writer.take().into_iter().for_each(Waker::wake);
    }

    /// Waits for the next frame.
    pub async fn frame(&mut self) -> Frame {
        let next = async {
            loop {
                if let Some(frame) = self.line.lock().taken.pop_front() {
                    return frame;
                }
                self.news.notified().await;
            }
        };
        timeout(FRAME_TIMEOUT, next).await.expect("a frame in time")
    }

    /// Waits for the next frame, which must be a text.
    pub async fn text_frame(&mut self) -> String {
        match self.frame().await {
            Frame::Text(text) => text,
            other => panic!("{other:?} instead of an event"),
        }
    }

    /// Waits for the next frame, which must be an event.
    pub async fn event(&mut self) -> Value {
        parse(&self.text_frame().await)
    }

    /// Returns all events that are there or come now.
    pub async fn events(&mut self) -> Vec<Value> {
        settle().await;
        let texts = self.taken().into_iter().map(|frame| match frame {
            Frame::Text(text) => parse(&text),
            other => panic!("{other:?} instead of an event"),
        });
        texts.collect()
    }

    /// Returns the frames that are there.
    pub fn taken(&self) -> Vec<Frame> {
        self.line.lock().taken.drain(..).collect()
    }

    /// Sends a command with a `ref` and waits for the reply. Events before the reply can be read later.
    pub async fn ask(&mut self, mut command: Value) -> Value {
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

    /// Joins a room and returns the reply.
    pub async fn join(&mut self, room: &str) -> Value {
        let joined = self.ask(json!({"type": "join", "room": room})).await;
        assert_eq!(joined["type"], "joined", "{joined}");
        joined
    }

    /// Waits for the end of the connection. Returns the frames before it.
    pub async fn until_gone(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        loop {
            match self.frame().await {
                Frame::Gone => return frames,
                frame => frames.push(frame),
            }
        }
    }

    /// Returns the code with which the session has closed: `None` if it is open, `Some(None)` if the peer closed first.
    pub fn closed_with(&self) -> Option<Option<u16>> {
        self.line.lock().closed_with
    }

    /// Returns the number of flushes that had something to write, and of direct writes.
    pub fn flushes(&self) -> usize {
        self.line.lock().flushes
    }

    /// Returns the number of frames that rooms have written directly and at once.
    pub fn direct_frames(&self) -> usize {
        self.line.lock().direct_frames
    }

    /// Returns the number of frames that the session has not read.
    pub fn unread(&self) -> usize {
        self.line.lock().incoming.len()
    }

    /// Aborts the task of the session.
    pub fn kill(&self) {
        self.session.abort();
    }

    /// Returns true if the chat has no part of the connection any more, so that a socket would be closed.
    pub fn is_released(&self) -> bool {
        Arc::strong_count(&self.line) == 1
    }

    /// Returns true if the task of the session has ended without a panic.
    pub async fn is_over(&mut self) -> bool {
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
