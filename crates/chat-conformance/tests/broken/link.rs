use std::net::Ipv4Addr;

use serde_json::Value;

use crate::frame::Frame;

type OnHead = Box<dyn FnMut(String) -> String + Send>;
type OnBytes = Box<dyn FnMut(Vec<u8>) -> Vec<u8> + Send>;
type OnFrame = Box<dyn FnMut(Frame, &mut Wires) + Send>;

/// The changes that the proxy makes on one connection.
pub(crate) struct Link {
    pub(crate) request: OnHead,
    pub(crate) answer: OnHead,
    /// The change of a frame from the client.
    pub(crate) up: OnFrame,
    /// The change of a frame from the server.
    pub(crate) down: OnFrame,
    /// The change of the bytes that arrived with the first request, after it.
    pub(crate) early: OnBytes,
    pub(crate) loses_early_bytes: bool,
    /// True if the proxy reads a request that does not end, and answers nothing.
    pub(crate) reads_without_end: bool,
    /// True if the connection never ends after an HTTP answer that is no 101.
    pub(crate) keeps_open: bool,
    /// True if the connection ends after the first HTTP answer that is no 101.
    pub(crate) ends_after_an_answer: bool,
    /// True if a FIN of the client ends the connection.
    pub(crate) ends_at_fin: bool,
    /// True if the server does not learn that the client is gone.
    pub(crate) ignores_disconnects: bool,
    /// True if the client does not learn that the server has ended the stream.
    pub(crate) never_ends: bool,
    /// True if a connection with an HTTP answer stays open although the client does not read.
    pub(crate) keeps_unread_answers: bool,
    /// True if the proxy reads from the server with pauses, so that several frames arrive at once.
    pub(crate) lags: bool,
    /// True if the stream ends with a reset.
    pub(crate) ends_with_a_reset: bool,
    /// The address from which the proxy connects to the server.
    pub(crate) source: Ipv4Addr,
}

/// The output in both directions for one frame.
#[derive(Debug, Default)]
pub(crate) struct Wires {
    pub(crate) to_server: Vec<u8>,
    pub(crate) to_client: Vec<u8>,
    /// The number of frames that arrived with this one, after it.
    pub(crate) waiting: usize,
    /// True if the stream to the client ends after this output.
    pub(crate) ends: bool,
}

impl Wires {
    pub(crate) fn server(&mut self, frame: &Frame) {
        self.to_server.extend(frame.encode());
    }

    pub(crate) fn client(&mut self, frame: &Frame) {
        self.to_client.extend(frame.encode());
    }
}

impl Link {
    /// Changes nothing.
    pub(crate) fn unchanged() -> Self {
        Self {
            request: Box::new(|head| head),
            answer: Box::new(|head| head),
            up: Box::new(|frame, wires| wires.server(&frame)),
            down: Box::new(|frame, wires| wires.client(&frame)),
            early: Box::new(|bytes| bytes),
            loses_early_bytes: false,
            reads_without_end: false,
            keeps_open: false,
            ends_after_an_answer: false,
            ends_at_fin: false,
            ignores_disconnects: false,
            never_ends: false,
            keeps_unread_answers: false,
            lags: false,
            ends_with_a_reset: false,
            source: Ipv4Addr::LOCALHOST,
        }
    }

    pub(crate) fn request(change: impl FnMut(String) -> String + Send + 'static) -> Self {
        Self { request: Box::new(change), ..Self::unchanged() }
    }

    pub(crate) fn answer(change: impl FnMut(String) -> String + Send + 'static) -> Self {
        Self { answer: Box::new(change), ..Self::unchanged() }
    }

    pub(crate) fn early(change: impl FnMut(Vec<u8>) -> Vec<u8> + Send + 'static) -> Self {
        Self { early: Box::new(change), ..Self::unchanged() }
    }

    pub(crate) fn up(change: impl FnMut(Frame, &mut Wires) + Send + 'static) -> Self {
        Self { up: Box::new(change), ..Self::unchanged() }
    }

    pub(crate) fn down(change: impl FnMut(Frame, &mut Wires) + Send + 'static) -> Self {
        Self { down: Box::new(change), ..Self::unchanged() }
    }

    /// Replaces each frame of the client by another, or by none.
    pub(crate) fn map_up(mut change: impl FnMut(Frame) -> Option<Frame> + Send + 'static) -> Self {
        Self::up(move |frame, wires| {
            if let Some(frame) = change(frame) {
                wires.server(&frame);
            }
        })
    }

    /// Replaces each frame of the server by another, or by none.
    pub(crate) fn map_down(mut change: impl FnMut(Frame) -> Option<Frame> + Send + 'static) -> Self {
        Self::down(move |frame, wires| {
            if let Some(frame) = change(frame) {
                wires.client(&frame);
            }
        })
    }

    /// Changes each command.
    pub(crate) fn command(mut change: impl FnMut(&mut Value) + Send + 'static) -> Self {
        Self::map_up(move |frame| {
            let Some(mut command) = frame.json() else { return Some(frame) };
            change(&mut command);
            Some(frame.with_payload(command.to_string()))
        })
    }

    /// Changes each event of this type.
    pub(crate) fn event(kind: &'static str, mut change: impl FnMut(&mut Value) + Send + 'static) -> Self {
        Self::map_down(move |frame| {
            let Some(mut event) = frame.json().filter(|event| event["type"] == kind) else {
                return Some(frame);
            };
            change(&mut event);
            Some(frame.with_payload(event.to_string()))
        })
    }

    /// Drops the events for which `holds` is true.
    pub(crate) fn drop_events(mut holds: impl FnMut(&Value) -> bool + Send + 'static) -> Self {
        Self::map_down(move |frame| match frame.json() {
            Some(event) if holds(&event) => None,
            _ => Some(frame),
        })
    }

    /// Sends each event of this type twice.
    pub(crate) fn repeat(kind: &'static str) -> Self {
        Self::down(move |frame, wires| {
            wires.client(&frame);
            if frame.json().is_some_and(|event| event["type"] == kind) {
                wires.client(&frame);
            }
        })
    }

    /// Swaps every second event of this type with the event after it.
    pub(crate) fn swap(kind: &'static str) -> Self {
        let mut held: Option<Frame> = None;
        Self::down(move |frame, wires| {
            let is_text = frame.opcode() == 1;
            if is_text && held.is_none() && frame.json().is_some_and(|event| event["type"] == kind) {
                held = Some(frame);
                return;
            }
            wires.client(&frame);
            if is_text && let Some(held) = held.take() {
                wires.client(&held);
            }
        })
    }
}

/// Answers commands of this type, and does not pass them on.
pub(crate) fn answer_instead(
    kind: &'static str,
    mut reply: impl FnMut(&Value) -> Value + Send + 'static,
) -> Link {
    Link::up(move |frame, wires| match frame.json() {
        Some(command) if command["type"] == kind => {
            let reply = frame.with_payload(reply(&command).to_string());
            wires.client(&Frame { masked: false, ..reply });
        }
        _ => wires.server(&frame),
    })
}

pub(crate) fn remove_field(value: &mut Value, field: &str) {
    if let Some(fields) = value.as_object_mut() {
        fields.remove(field);
    }
}
