use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::attacker::Attacker;

/// The shortest time between two writes of a connection. Frames that are due in it are written together.
const TICK: Duration = Duration::from_millis(20);

/// The bytes of a frame that are looked at: they hold the type of an event and the code of an error.
const LOOKED_AT: usize = 192;

/// A WebSocket connection of an attack. It counts replies and does not keep them.
#[derive(Debug)]
pub(super) struct Peer {
    attacker: Arc<Attacker>,
    stream: TcpStream,
    /// Bytes that arrived together with the head of the response.
    early: Vec<u8>,
}

impl Peer {
    /// Sends an upgrade request and reads the head of the response.
    pub(super) async fn upgrade(attacker: &Arc<Attacker>, mut stream: TcpStream, name: &str) -> Option<Self> {
        stream.write_all(upgrade_request(name, "").as_bytes()).await.ok()?;
        let (mut head, end) = (Vec::new(), b"\r\n\r\n");
        let length = loop {
            if let Some(length) = head.windows(end.len()).position(|window| window == end) {
                break length + end.len();
            }
            if stream.read_buf(&mut head).await.ok()? == 0 {
                return None;
            }
        };
        let status = String::from_utf8_lossy(head.get(9..12)?).into_owned();
        attacker.count(&status);
        let early = head.split_off(length);
        (status == "101").then(|| Self { attacker: Arc::clone(attacker), stream, early })
    }

    /// Writes bytes. The next call notices an error.
    pub(super) async fn write(&mut self, bytes: &[u8]) {
        self.attacker.count_sent(bytes.len());
        let _written = self.stream.write_all(bytes).await.is_ok();
    }

    /// Writes frames at a rate and reads the replies, until the server ends the connection.
    pub(super) async fn play(mut self, rate: f64, frame: impl FnMut(usize) -> Vec<u8>) {
        let (mut reading, mut writing) = self.stream.split();
        let attacker = &self.attacker;
        let read = async {
            let (mut scanner, mut buffer) = (Scanner::default(), vec![0; 16 * 1024]);
            scanner.feed(&self.early, |reply| attacker.count(reply));
            while let Ok(count @ 1..) = reading.read(&mut buffer).await {
                attacker.count_received(count);
                scanner.feed(&buffer[..count], |reply| attacker.count(reply));
            }
        };
        tokio::select! {
            () = read => {}
            // After the server has closed, writing fails before everything is read.
            () = async {
                write(attacker, &mut writing, rate, frame).await;
                sleep(Duration::from_secs(1)).await;
            } => {}
        }
    }

    /// Writes frames at a rate and reads nothing, until writing fails.
    pub(super) async fn play_unread(mut self, rate: f64, frame: impl FnMut(usize) -> Vec<u8>) {
        let (_reading, mut writing) = self.stream.split();
        write(&self.attacker, &mut writing, rate, frame).await;
    }
}

/// Writes frames at a rate until writing fails.
async fn write(
    attacker: &Attacker,
    stream: &mut (impl AsyncWriteExt + Unpin),
    rate: f64,
    mut frame: impl FnMut(usize) -> Vec<u8>,
) {
    let tick = TICK.max(Duration::from_secs_f64(1.0 / rate));
    let mut ticks = interval(tick);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut number, mut due) = (0, 0.0);
    loop {
        ticks.tick().await;
        due += rate * tick.as_secs_f64();
        let mut batch = Vec::new();
        while due >= 1.0 - f64::EPSILON {
            batch.extend(frame(number));
            number += 1;
            due -= 1.0;
        }
        attacker.count_sent(batch.len());
        if stream.write_all(&batch).await.is_err() {
            return;
        }
    }
}

/// Returns an upgrade request with further header lines, each with its line end.
pub(super) fn upgrade_request(name: &str, headers: &str) -> String {
    format!(
        "GET /ws?name={name} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
}

/// Returns a frame of a client. Its mask is zero, so that it costs nothing to make.
fn encode(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ 0..126), _) => frame.push(0x80 | length),
        (_, Ok(length)) => {
            frame.push(0x80 | 126);
            frame.extend(length.to_be_bytes());
        }
        _ => {
            frame.push(0x80 | 127);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

pub(super) fn text(payload: &str) -> Vec<u8> {
    encode(1, payload.as_bytes())
}

pub(super) fn ping() -> Vec<u8> {
    encode(9, b"")
}

/// A reader of the server's frames that looks only at the beginning of each.
#[derive(Debug, Default)]
struct Scanner {
    /// The beginning of a frame that has not arrived far enough.
    start: Vec<u8>,
    /// Bytes of the last frame that are still to come.
    rest: usize,
}

impl Scanner {
    /// Calls a function with the name of each reply: the type of an event, the code of an error or of a close, `pong
    /// frame` or `ping frame`.
    fn feed(&mut self, mut bytes: &[u8], mut reply: impl FnMut(&str)) {
        loop {
            let skipped = self.rest.min(bytes.len());
            self.rest -= skipped;
            bytes = &bytes[skipped..];
            if bytes.is_empty() {
                return;
            }
            // Ten bytes are the longest head of a frame.
            let taken = (LOOKED_AT + 10 - self.start.len()).min(bytes.len());
            let before = self.start.len();
            self.start.extend(&bytes[..taken]);
            let Some((head, length)) = head(&self.start) else { return };
            let seen = length.min(LOOKED_AT);
            if self.start.len() < head + seen {
                return;
            }
            self.name(head, seen, &mut reply);
            bytes = &bytes[head + seen - before..];
            self.rest = length - seen;
            self.start.clear();
        }
    }

    fn name(&self, head: usize, seen: usize, mut reply: impl FnMut(&str)) {
        let payload = &self.start[head..head + seen];
        match (self.start[0] & 0x0f, payload) {
            (8, [high, low, ..]) => reply(&u16::from_be_bytes([*high, *low]).to_string()),
            (8, _) => reply("close without a code"),
            (9, _) => reply("ping frame"),
            (10, _) => reply("pong frame"),
            _ => {
                let event = String::from_utf8_lossy(payload);
                let value =
                    |field: &str| event.split_once(field).and_then(|(_, rest)| rest.split('"').next());
                let kind = value(r#""type":""#).unwrap_or("no event");
                let code = value(r#""code":""#).filter(|_| kind == "error");
                reply(code.unwrap_or(kind));
            }
        }
    }
}

/// Returns the length of a frame's head and of its payload, or `None` if the head is incomplete.
fn head(start: &[u8]) -> Option<(usize, usize)> {
    Some(match start.get(1)? & 0x7f {
        126 => (4, usize::from(u16::from_be_bytes(start.get(2..4)?.try_into().ok()?))),
        127 => (10, usize::try_from(u64::from_be_bytes(start.get(2..10)?.try_into().ok()?)).ok()?),
        short => (2, usize::from(short)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_named_however_the_stream_is_divided() {
        let long = format!(r#"{{"type":"history","messages":["{}"]}}"#, "x".repeat(70_000));
        let mut stream = Vec::new();
        for (opcode, payload) in [
            (1, r#"{"type":"error","ref":"1","code":"rate_limited","message":"m"}"#.as_bytes()),
            (1, long.as_bytes()),
            (10, b""),
            (1, br#"{"type":"sent","room":"a","seq":1}"#),
            (8, &4_002_u16.to_be_bytes()),
        ] {
            // A frame of a server has no mask.
            let mut frame = encode(opcode, b"");
            frame.truncate(1);
            match u16::try_from(payload.len()) {
                Ok(length @ 0..126) => frame.push(length.to_le_bytes()[0]),
                _ => {
                    frame.push(127);
                    frame.extend((payload.len() as u64).to_be_bytes());
                }
            }
            stream.extend(frame);
            stream.extend(payload);
        }
        for size in [1, 2, 7, 100, 300, 100_000] {
            let (mut scanner, mut names) = (Scanner::default(), Vec::new());
            for part in stream.chunks(size) {
                scanner.feed(part, |name| names.push(name.to_owned()));
            }
            assert_eq!(names, ["rate_limited", "history", "pong frame", "sent", "4002"], "parts of {size}");
        }
    }
}
