use serde_json::Value;

use crate::frame::Frame;

type OnHead = Box<dyn FnMut(String) -> String + Send>;
type OnFrame = Box<dyn FnMut(Frame, &mut Wires) + Send>;

/// How one connection through the man in the middle is spoiled.
pub(crate) struct Link {
    pub(crate) request: OnHead,
    pub(crate) answer: OnHead,
    /// What is done with a frame of the client.
    pub(crate) up: OnFrame,
    /// What is done with a frame of the server.
    pub(crate) down: OnFrame,
    pub(crate) loses_early_bytes: bool,
    /// Whether the end of the client's side is the end of everything.
    pub(crate) ends_at_fin: bool,
    /// Whether the server never hears that the client is gone.
    pub(crate) keeps_the_dead: bool,
    /// Whether the client never hears that the server has ended the stream.
    pub(crate) never_ends: bool,
    /// Whether it reads from the server only now and then, so that frames come together.
    pub(crate) lags: bool,
    /// Whether the stream ends with a reset.
    pub(crate) ends_with_a_reset: bool,
}

/// What goes out, on either side, because of one frame.
#[derive(Debug, Default)]
pub(crate) struct Wires {
    pub(crate) to_server: Vec<u8>,
    pub(crate) to_client: Vec<u8>,
    /// Frames that came together with this one, and behind it.
    pub(crate) waiting: usize,
    /// Whether the stream to the client ends after that.
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
    /// Everything arrives as it was sent.
    pub(crate) fn sound() -> Self {
        Self {
            request: Box::new(|head| head),
            answer: Box::new(|head| head),
            up: Box::new(|frame, wires| wires.server(&frame)),
            down: Box::new(|frame, wires| wires.client(&frame)),
            loses_early_bytes: false,
            ends_at_fin: false,
            keeps_the_dead: false,
            never_ends: false,
            lags: false,
            ends_with_a_reset: false,
        }
    }

    pub(crate) fn request(change: impl FnMut(String) -> String + Send + 'static) -> Self {
        Self { request: Box::new(change), ..Self::sound() }
    }

    pub(crate) fn answer(change: impl FnMut(String) -> String + Send + 'static) -> Self {
        Self { answer: Box::new(change), ..Self::sound() }
    }

    pub(crate) fn up(change: impl FnMut(Frame, &mut Wires) + Send + 'static) -> Self {
        Self { up: Box::new(change), ..Self::sound() }
    }

    pub(crate) fn down(change: impl FnMut(Frame, &mut Wires) + Send + 'static) -> Self {
        Self { down: Box::new(change), ..Self::sound() }
    }

    /// Each frame of the client is replaced by another, or by none.
    pub(crate) fn map_up(mut change: impl FnMut(Frame) -> Option<Frame> + Send + 'static) -> Self {
        Self::up(move |frame, wires| {
            if let Some(frame) = change(frame) {
                wires.server(&frame);
            }
        })
    }

    /// Each frame of the server is replaced by another, or by none.
    pub(crate) fn map_down(mut change: impl FnMut(Frame) -> Option<Frame> + Send + 'static) -> Self {
        Self::down(move |frame, wires| {
            if let Some(frame) = change(frame) {
                wires.client(&frame);
            }
        })
    }

    /// Each command is altered.
    pub(crate) fn command(mut change: impl FnMut(&mut Value) + Send + 'static) -> Self {
        Self::map_up(move |frame| {
            let Some(mut command) = frame.json() else { return Some(frame) };
            change(&mut command);
            Some(frame.with_payload(command.to_string()))
        })
    }

    /// Each event of this type is altered.
    pub(crate) fn event(kind: &'static str, mut change: impl FnMut(&mut Value) + Send + 'static) -> Self {
        Self::map_down(move |frame| {
            let Some(mut event) = frame.json().filter(|event| event["type"] == kind) else {
                return Some(frame);
            };
            change(&mut event);
            Some(frame.with_payload(event.to_string()))
        })
    }

    /// Events of which this holds are swallowed.
    pub(crate) fn swallow(mut holds: impl FnMut(&Value) -> bool + Send + 'static) -> Self {
        Self::map_down(move |frame| match frame.json() {
            Some(event) if holds(&event) => None,
            _ => Some(frame),
        })
    }

    /// Every other event of this type is held back until the event after it has gone.
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

/// Commands of this type are answered so, and not carried out.
pub(crate) fn answered(kind: &'static str, mut reply: impl FnMut(&Value) -> Value + Send + 'static) -> Link {
    Link::up(move |frame, wires| match frame.json() {
        Some(command) if command["type"] == kind => {
            let reply = frame.with_payload(reply(&command).to_string());
            wires.client(&Frame { masked: false, ..reply });
        }
        _ => wires.server(&frame),
    })
}

pub(crate) fn forget(value: &mut Value, field: &str) {
    if let Some(fields) = value.as_object_mut() {
        fields.remove(field);
    }
}
