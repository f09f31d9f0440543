use bytes::BytesMut;
use chat_conformance::client::{Answer, Received};
use chat_core::Event;

/// The protocol, whose tables list the codes.
const PROTOCOL: &str = include_str!("../../../PROTOCOL.md");

/// Statuses without a code of the protocol: those of other routes than the chat's, those of the HTTP parsers, and the
/// interim response.
const STATUSES: [u16; 9] = [100, 200, 400, 404, 408, 413, 414, 421, 431];

/// The bytes that a server sends on one connection. Each must belong to a valid response or frame.
#[derive(Debug, Default)]
pub(super) struct Answers {
    phase: Phase,
    buffer: BytesMut,
}

#[derive(Clone, Copy, Debug, Default)]
enum Phase {
    /// A response head comes next.
    #[default]
    Head,
    /// This many bytes of a body follow, unless the request was a HEAD.
    Body { status: u16, length: usize },
    /// A frame comes next. The number counts the events.
    Frames(usize),
    /// The server has sent its close frame.
    Closed,
}

impl Answers {
    /// Takes the next bytes.
    ///
    /// # Errors
    ///
    /// The rule that the bytes break.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.buffer.extend_from_slice(bytes);
        while self.step()? {}
        Ok(())
    }

    /// Ends the stream.
    ///
    /// # Errors
    ///
    /// The part of a response or frame that is missing.
    pub(super) fn finish(&self) -> Result<(), String> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        Err(format!("the stream ends in {:?} after {}", self.phase, self.buffer.escape_ascii()))
    }

    /// Takes one response head, body or frame. Returns false if it is incomplete.
    fn step(&mut self) -> Result<bool, String> {
        match self.phase {
            Phase::Head => {
                let Some(end) = self.buffer.windows(4).position(|part| part == b"\r\n\r\n") else {
                    return Ok(false);
                };
                let answer = Answer::parse(&self.buffer.split_to(end + 4))?;
                self.phase = match answer.status {
                    101 => Phase::Frames(0),
                    100 => Phase::Head,
                    status => {
                        let length = answer.content_length();
                        let length = length.ok_or_else(|| format!("no length: {}", answer.head()))?;
                        Phase::Body { status, length }
                    }
                };
            }
            Phase::Body { status, length } => {
                // The response to a HEAD has the length of a body, and no body.
                const NEXT: &[u8] = b"HTTP/1.";
                let is_head = self.buffer.starts_with(NEXT);
                let may_be_head = length > 0 && NEXT.starts_with(&self.buffer);
                if !is_head && (self.buffer.len() < length || may_be_head) {
                    return Ok(false);
                }
                let body = if is_head { None } else { Some(self.buffer.split_to(length)) };
                check_response(status, body.as_deref())?;
                self.phase = Phase::Head;
            }
            Phase::Frames(events) => {
                let Some((frame, length)) = Received::parse(&self.buffer)? else { return Ok(false) };
                drop(self.buffer.split_to(length));
                self.phase = check_frame(&frame, events).map_err(|problem| format!("{problem}: {frame}"))?;
            }
            Phase::Closed if self.buffer.is_empty() => return Ok(false),
            Phase::Closed => return Err(format!("bytes after the close: {}", self.buffer.escape_ascii())),
        }
        Ok(true)
    }
}

/// Checks a response. Without a body, which is the response to a HEAD, only its status is known.
fn check_response(status: u16, body: Option<&[u8]>) -> Result<(), String> {
    let Some(body) = body else {
        let is_listed =
            STATUSES.contains(&status) || status == 405 || PROTOCOL.contains(&format!("| {status} | `"));
        return if is_listed { Ok(()) } else { Err(format!("the response {status} without a body")) };
    };
    let code = serde_json::from_slice::<serde_json::Value>(body).ok();
    let code = code.as_ref().and_then(|body| body["error"]["code"].as_str());
    let is_listed = match code {
        Some("internal_error") => false,
        Some("not_found") => status == 404,
        Some("method_not_allowed") => status == 405,
        Some(code) => PROTOCOL.contains(&format!("| {status} | `{code}` |")),
        None => STATUSES.contains(&status),
    };
    if is_listed { Ok(()) } else { Err(format!("the response {status} {}", body.escape_ascii())) }
}

/// Checks a frame after this many events. Returns the next phase.
fn check_frame(frame: &Received, events: usize) -> Result<Phase, &'static str> {
    match (frame.opcode, &*frame.payload) {
        (1, text) if frame.is_final => {
            let text = std::str::from_utf8(text).map_err(|_| "a text that is not UTF-8")?;
            let event = Event::parse(text).map_err(|_| "an invalid event")?;
            let is_welcome = matches!(event, Event::Welcome { .. });
            match event {
                _ if is_welcome != (events == 0) => Err("`welcome` is not the first event"),
                Event::Error { code, .. } if !PROTOCOL.contains(&format!("\n| `{}` |", code.as_str())) => {
                    Err("an unlisted error code")
                }
                Event::Closing { code, .. } if code.code() == 1011 => Err("an internal error"),
                Event::Closing { code, .. } if !PROTOCOL.contains(&format!("\n| {} | `", code.code())) => {
                    Err("an unlisted close code")
                }
                Event::Unknown { .. } => Err("an unknown event"),
                _ => Ok(Phase::Frames(events + 1)),
            }
        }
        (8, []) => Ok(Phase::Closed),
        (8, [high, low, reason @ ..]) => match u16::from_be_bytes([*high, *low]) {
            _ if std::str::from_utf8(reason).is_err() => Err("a reason that is not UTF-8"),
            // The code of the server, or that of the client.
            1000..=1003 | 1007..=1014 | 3000..=4999 => Ok(Phase::Closed),
            _ => Err("a close code that must not be sent"),
        },
        (9 | 10, _) => Ok(Phase::Frames(events)),
        _ => Err("a frame of another kind"),
    }
}

#[cfg(test)]
mod tests {
    use chat_conformance::client::Frame;

    use super::*;

    const UPGRADED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n";

    fn problem(bytes: &[u8]) -> Option<String> {
        let mut answers = Answers::default();
        answers.take(bytes).and_then(|()| answers.finish()).err()
    }

    #[test]
    fn valid_answers_pass_when_they_arrive_in_parts_of_any_size() {
        let welcome = concat!(
            r#"{"type":"welcome","connection":"9b","user":{"id":"A","name":"A"},"limits":{"max_frame":1,"#,
            r#""max_rooms":1,"max_body":1,"max_page":1},"ping_interval":20}"#
        );
        let frames = [
            Frame::text(welcome),
            Frame::ping(""),
            Frame::text(r#"{"type":"error","code":"bad_json","message":"x"}"#),
            Frame::close(1002, "protocol_error"),
        ];
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n".as_slice();
        // The second and the third response answer a HEAD. A route that does not know that method refuses it with a
        // body, which is left out, too.
        let refusal = b"HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 80\r\n\r\n".as_slice();
        let heads = [head, &head[..head.len() - 3], refusal, head, UPGRADED].concat();
        let frames: Vec<u8> = frames.map(|frame| frame.unmasked().encode()).concat();
        let bytes = [heads, frames].concat();
        for size in 1..bytes.len() {
            let mut answers = Answers::default();
            bytes.chunks(size).for_each(|part| answers.take(part).expect("valid"));
            answers.finish().expect("complete");
        }
    }

    #[test]
    fn an_invalid_answer_is_found() {
        let framed = |frame: Frame| [UPGRADED, &frame.unmasked().encode()].concat();
        for bad in [
            b"HTTP/2 200\r\n\r\n".to_vec(),
            b"HTTP/1.1 200 OK\r\n".to_vec(),
            b"HTTP/1.1 200 OK\r\n\r\n".to_vec(),
            b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n".to_vec(),
            b"HTTP/1.1 502 Oops\r\ncontent-length: 9\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
                .to_vec(),
            b"HTTP/1.1 405 No\r\ncontent-length: 0\r\n\r\n".to_vec(),
            b"HTTP/1.1 403 No\r\ncontent-length: 25\r\n\r\n{\"error\":{\"code\":\"wrong\"}}".to_vec(),
            framed(Frame::text(r#"{"type":"pong"}"#)),
            framed(Frame::text("x")),
            framed(Frame::binary("x")),
            framed(Frame::close(1005, "")),
            framed(Frame::close(1000, b"\xff")),
            [framed(Frame::close(1000, "")), b"x".to_vec()].concat(),
            [UPGRADED, &Frame::ping("x").encode()].concat(),
            [UPGRADED, b"\x81\x05x"].concat(),
        ] {
            assert!(problem(&bad).is_some(), "{}", bad.escape_ascii());
        }
        for (event, expected) in [
            (r#"{"type":"error","code":"new","message":""}"#, "an unlisted error code"),
            (r#"{"type":"closing","code":1011,"reason":"internal_error"}"#, "an internal error"),
            (r#"{"type":"news"}"#, "an unknown event"),
        ] {
            let frame = Received { is_final: true, opcode: 1, payload: event.into() };
            assert_eq!(check_frame(&frame, 1).err(), Some(expected));
        }
    }
}
