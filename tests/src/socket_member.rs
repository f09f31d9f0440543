use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use chat_conformance::client::Frame;
use serde_json::json;

use crate::handshake;

/// The time limit of a read. No step of a test takes this long, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes that are read and not used yet, at most. It is more than the reply to a join.
const BUFFER_BYTES: usize = 16 * 1024;

/// A masked pong without payload.
const PONG: [u8; 6] = [0x8a, 0x80, 0, 0, 0, 0];

/// A member of one room, on a blocking socket. It uses no heap after it has joined, so that a test can count what the
/// server in the same process allocates.
#[derive(Debug)]
pub struct SocketMember {
    stream: TcpStream,
    buffer: Box<[u8; BUFFER_BYTES]>,
    /// The bytes of the buffer that were read and not used yet.
    unread: std::ops::Range<usize>,
}

impl SocketMember {
    /// Connects as a guest and joins a room.
    pub fn join(address: SocketAddr, name: &str, room: &str) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut member = Self { stream, buffer: Box::new([0; BUFFER_BYTES]), unread: 0..0 };
        let request = handshake("").replacen("/ws", &format!("/ws?name={name}"), 1);
        member.stream.write_all(request.as_bytes())?;
        member.skip_head()?;
        let join = json!({"type": "join", "ref": "j", "room": room});
        member.write(&Frame::json(&join).encode())?;
        member.text(b"\"joined\"")?;
        Ok(member)
    }

    /// Sends bytes, such as an encoded frame.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(bytes)?)
    }

    /// Receives the next `message` event, which must contain a text. Other events are dropped.
    pub fn message(&mut self, text: &[u8]) -> Result<()> {
        let message = self.text(b"{\"type\":\"message\"")?;
        ensure!(contains(message, text), "another message: {}", message.escape_ascii());
        Ok(())
    }

    /// Receives the next event that contains a text. Other events are dropped.
    pub fn text(&mut self, text: &[u8]) -> Result<&[u8]> {
        loop {
            let (opcode, payload) = self.frame()?;
            match opcode {
                1 if contains(&self.buffer[payload.clone()], text) => return Ok(&self.buffer[payload]),
                1 => {}
                9 => self.write(&PONG)?,
                other => bail!("a frame with opcode {other}"),
            }
        }
    }

    /// Receives the next ping and answers it. Events are dropped.
    pub fn answer_ping(&mut self) -> Result<()> {
        loop {
            match self.frame()?.0 {
                1 => {}
                9 => return self.write(&PONG),
                other => bail!("a frame with opcode {other}"),
            }
        }
    }

    /// Reads up to the end of the response to the upgrade.
    fn skip_head(&mut self) -> Result<()> {
        loop {
            let read = &self.buffer[self.unread.clone()];
            if let Some(end) = read.windows(4).position(|part| part == b"\r\n\r\n") {
                ensure!(read.starts_with(b"HTTP/1.1 101 "), "no upgrade: {}", read.escape_ascii());
                self.unread.start += end + 4;
                return Ok(());
            }
            self.fill()?;
        }
    }

    /// Receives a frame. Returns its opcode, and the place of its payload in the buffer.
    fn frame(&mut self) -> Result<(u8, std::ops::Range<usize>)> {
        loop {
            let start = self.unread.start;
            let (header, length) = match &self.buffer[self.unread.clone()] {
                [_, 127, ..] => bail!("a frame of more than 64 KiB"),
                [_, 126, high, low, ..] => (4, usize::from(u16::from_be_bytes([*high, *low]))),
                [_, length @ ..=125, ..] => (2, usize::from(*length)),
                _ => (2, BUFFER_BYTES),
            };
            let end = start + header + length;
            if end <= self.unread.end {
                self.unread.start = end;
                return Ok((self.buffer[start] & 0x0f, start + header..end));
            }
            self.fill()?;
        }
    }

    fn fill(&mut self) -> Result<()> {
        self.buffer.copy_within(self.unread.clone(), 0);
        self.unread = 0..self.unread.len();
        let read = self.stream.read(&mut self.buffer[self.unread.end..]).context("nothing came for 30 s")?;
        ensure!(read > 0, "the connection has ended, or a frame is too large");
        self.unread.end += read;
        Ok(())
    }
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|part| part == text)
}
