//! A lower bound for the cost of a delivery: one thread that copies encoded frames to sockets.
//!
//! It reads what the sockets have, appends the frame of each text to the batch of its room, and writes each batch to
//! all members of the room with one system call for each. It knows only what this needs: text frames in one part.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};

use anyhow::{Context, Result};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::fd::OwnedFd;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// The event of the listener.
const LISTENER: u64 = u64::MAX;

/// Bytes that are read at once.
const READ: usize = 64 * 1024;

/// The limit of unwritten bytes of a connection.
const MAX_UNWRITTEN: usize = 8 * 1024 * 1024;

/// The limit of a request head, and of a frame.
const MAX_INPUT: usize = 16 * 1024;

struct Connection {
    stream: TcpStream,
    /// The room, after the handshake.
    room: Option<usize>,
    input: Vec<u8>,
    unwritten: Vec<u8>,
}

#[derive(Default)]
struct Room {
    members: Vec<usize>,
    /// The frames that arrived in this turn.
    batch: Vec<u8>,
}

struct Server {
    epoll: OwnedFd,
    connections: Vec<Option<Connection>>,
    /// Free places in `connections`.
    free: Vec<usize>,
    names: HashMap<Vec<u8>, usize>,
    rooms: Vec<Room>,
}

fn main() -> Result<()> {
    let listener = rivals::listen()?;
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    let mut server =
        Server { epoll, connections: Vec::new(), free: Vec::new(), names: HashMap::new(), rooms: Vec::new() };
    let (mut events, mut buffer) = (Vec::with_capacity(1_024), vec![0; READ]);
    let mut dirty = Vec::new();
    loop {
        match epoll::wait(&server.epoll, spare_capacity(&mut events), None) {
            Err(rustix::io::Errno::INTR) => continue,
            waited => waited?,
        };
        for event in events.drain(..) {
            let (id, flags) = (event.data.u64(), event.flags);
            if id == LISTENER {
                server.accept(&listener)?;
                continue;
            }
            let id = usize::try_from(id)?;
            let is_alive = (!flags.contains(EventFlags::OUT) || server.write(id, &[]))
                && (!flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR)
                    || server.read(id, &mut buffer, &mut dirty));
            if !is_alive {
                server.close(id);
            }
        }
        for room in dirty.drain(..) {
            server.flush(room);
        }
    }
}

impl Server {
    fn accept(&mut self, listener: &TcpListener) -> Result<()> {
        loop {
            let stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("accepting (see ulimit -n)"),
            };
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let id = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            epoll::add(&self.epoll, &stream, EventData::new_u64(id as u64), EventFlags::IN)?;
            self.connections[id] =
                Some(Connection { stream, room: None, input: Vec::new(), unwritten: Vec::new() });
        }
    }

    /// Reads what the socket has. Returns false if the connection has ended.
    fn read(&mut self, id: usize, buffer: &mut [u8], dirty: &mut Vec<usize>) -> bool {
        // An earlier event of this turn may have closed it.
        let Some(connection) = &mut self.connections[id] else { return true };
        match connection.stream.read(buffer) {
            Ok(0) => return false,
            Ok(count) => connection.input.extend_from_slice(&buffer[..count]),
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
        let mut input = std::mem::take(&mut connection.input);
        let room = connection.room;
        let read = match room {
            Some(room) => self.texts(room, &input, dirty),
            None => self.handshake(id, &input),
        };
        let Some(read) = read.filter(|read| input.len() - read <= MAX_INPUT) else { return false };
        input.drain(..read);
        if let Some(connection) = &mut self.connections[id] {
            connection.input = input;
        }
        true
    }

    /// Answers a request. Returns the length of its head, 0 if it is not complete, or `None` if it is invalid.
    fn handshake(&mut self, id: usize, input: &[u8]) -> Option<usize> {
        let Some(end) = input.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { return Some(0) };
        let head = std::str::from_utf8(&input[..end]).ok()?;
        let path = head.split(' ').nth(1)?;
        let key = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.trim())
        })?;
        let accept = derive_accept_key(key.as_bytes());
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-accept: {accept}\r\n\r\n"
        );
        let room = *self.names.entry(path.as_bytes().to_vec()).or_insert_with(|| {
            self.rooms.push(Room::default());
            self.rooms.len() - 1
        });
        self.rooms[room].members.push(id);
        self.connections[id].as_mut()?.room = Some(room);
        let mut bytes = answer.into_bytes();
        append_header(&mut bytes, 6);
        bytes.extend(b"joined");
        self.write(id, &bytes).then_some(end + 4)
    }

    /// Appends the texts of a member to the batch of its room. Returns the length of the complete frames, or `None` if
    /// the connection must end.
    fn texts(&mut self, room: usize, input: &[u8], dirty: &mut Vec<usize>) -> Option<usize> {
        const TEXT: u8 = 0x81;
        let mut read = 0;
        loop {
            let [first, second, rest @ ..] = &input[read..] else { return Some(read) };
            // A client masks its frames. Anything but a text ends the connection.
            if *first != TEXT || second & 0x80 == 0 {
                return None;
            }
            let (length, rest) = match (second & 0x7f, rest) {
                (126, [high, low, rest @ ..]) => (usize::from(u16::from_be_bytes([*high, *low])), rest),
                (126, _) => return Some(read),
                (127, _) => return None,
                (length, rest) => (length.into(), rest),
            };
            let Some((mask, rest)) = rest.split_first_chunk::<4>() else { return Some(read) };
            let Some(payload) = rest.get(..length) else { return Some(read) };
            let batch = &mut self.rooms[room].batch;
            if batch.is_empty() {
                dirty.push(room);
            }
            append_header(batch, length);
            batch.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
            read = input.len() - rest.len() + length;
        }
    }

    /// Writes the batch of a room to all its members.
    fn flush(&mut self, room: usize) {
        let mut batch = std::mem::take(&mut self.rooms[room].batch);
        let mut members = std::mem::take(&mut self.rooms[room].members);
        members.retain(|member| {
            let is_alive = self.write(*member, &batch);
            if !is_alive {
                self.connections[*member] = None;
                self.free.push(*member);
            }
            is_alive
        });
        batch.clear();
        self.rooms[room] = Room { members, batch };
    }

    /// Writes bytes after the unwritten ones. Returns false if the connection has ended.
    fn write(&mut self, id: usize, bytes: &[u8]) -> bool {
        let Some(connection) = &mut self.connections[id] else { return true };
        let was_waiting = !connection.unwritten.is_empty();
        if was_waiting {
            connection.unwritten.extend_from_slice(bytes);
        }
        let all = if was_waiting { &connection.unwritten } else { bytes };
        if all.is_empty() {
            return true;
        }
        let written = match connection.stream.write(all) {
            Ok(written) => written,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(_) => return false,
        };
        if was_waiting {
            connection.unwritten.drain(..written);
        } else {
            connection.unwritten.extend_from_slice(&bytes[written..]);
        }
        let is_waiting = !connection.unwritten.is_empty();
        if was_waiting != is_waiting {
            let flags = if is_waiting { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
            if epoll::modify(&self.epoll, &connection.stream, EventData::new_u64(id as u64), flags).is_err() {
                return false;
            }
        }
        connection.unwritten.len() <= MAX_UNWRITTEN
    }

    fn close(&mut self, id: usize) {
        let Some(connection) = self.connections[id].take() else { return };
        if let Some(room) = connection.room {
            self.rooms[room].members.retain(|member| *member != id);
        }
        self.free.push(id);
    }
}

/// Appends the header of a text frame of at most 65,535 bytes.
fn append_header(bytes: &mut Vec<u8>, length: usize) {
    let [.., high, low] = length.to_be_bytes();
    if length < 126 {
        bytes.extend([0x81, low]);
    } else {
        bytes.extend([0x81, 126, high, low]);
    }
}
