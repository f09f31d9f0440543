//! The chat on actix-ws.
//!
//! actix-ws 0.4.0 does not keep these parts of the contract of [`Connection`]:
//!
//! - A text message that is not UTF-8 is found at its end, not in the bad fragment.
//! - A control frame over 125 bytes is found once all of it has arrived, which [`Transport`] bounds.
//! - A close frame with a reason that is not UTF-8 is a protocol error (1002), and not an invalid payload (1007). A
//!   close frame with a forbidden code ends the session as a violation of the protocol, and not as a close.
//! - A text is copied, and checked for UTF-8 again, for each of its recipients.
//!
//! This module corrects other faults of actix-ws: it believes announced lengths, reports an error before the valid
//! messages ahead of it, loses the bytes before a half-close, answers neither pings nor closes, and ends the connection
//! right after its own close frame. Therefore [`Transport`] shows it one frame at a time, and its output is written
//! like that of a hijacked connection.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use actix_web::body::MessageBody;
use actix_web::dev::{Payload, ServiceRequest};
use actix_web::{HttpMessage, HttpResponse, rt, web};
use actix_ws::{
    AggregatedMessage, AggregatedMessageStream, CloseReason, Message as WsMessage, ProtocolError,
};
use bytes::Bytes;
use chat_core::{CloseCode, Connection, DirectWrite, Incoming, Outgoing, ProtocolViolation, Upgrade};
use futures_util::StreamExt;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::convert::{refuse, switching_protocols};
use crate::output::{self, SharedOutput};
use crate::stream::ServedConnection;
use crate::transport::Transport;
use crate::{pipe, takeover};

/// Carries out an upgrade: a task waits until the 101 was sent and runs the session on actix-ws. If actix or actix-ws
/// sees no upgrade in the request, it is refused.
pub(crate) async fn open(upgrade: Upgrade, request: &mut ServiceRequest) -> HttpResponse {
    let (payload, guard) = (request.take_payload(), upgrade.guard().clone());
    if matches!(payload, Payload::None) {
        return refuse(upgrade, request);
    }
    let Some(connection) = ServedConnection::of(request.request()) else {
        let (body, stream) = pipe::open(guard, payload);
        let stream = async { Ok((stream.await?, Bytes::new())) };
        return open_on(upgrade, request, body, stream, false).await;
    };
    let (body, socket) = takeover::open(connection, guard, payload);
    open_on(upgrade, request, body, socket, true).await
}

async fn open_on<S: AsyncRead + AsyncWrite + Unpin + 'static>(
    upgrade: Upgrade,
    request: &mut ServiceRequest,
    body: impl MessageBody + 'static,
    stream: impl Future<Output = io::Result<(S, Bytes)>> + 'static,
    can_half_close: bool,
) -> HttpResponse {
    let max_frame_bytes = upgrade.limits().wire.max_frame_bytes;
    let transport = Transport::new(max_frame_bytes);
    request.set_payload(Payload::Stream { payload: Box::pin(transport.clone()) });
    let handled = match request.extract::<web::Payload>().await {
        Ok(payload) => actix_ws::handle(request.request(), payload),
        Err(error) => Err(error),
    };
    let Ok((response, session, messages)) = handled else {
        return refuse(upgrade, request);
    };
    let (answer, ticket) = upgrade.accept();
    rt::spawn(ticket.start(async move {
        let (stream, early) = stream.await?;
        transport.attach(stream, early);
        Ok::<_, io::Error>(FrameworkSocket {
            messages: messages
                .max_frame_size(max_frame_bytes)
                .aggregate_continuations()
                .max_continuation_size(max_frame_bytes),
            output: SharedOutput::new(session, response.into_body(), transport.clone()),
            transport,
            can_half_close,
            pong: None,
            echo: None,
            closing: Closing::Open,
        })
    }));
    switching_protocols(&answer, body)
}

struct FrameworkSocket<S> {
    output: SharedOutput<S>,
    messages: AggregatedMessageStream,
    transport: Transport<S>,
    /// False for a stream that ends both directions when it is shut down.
    can_half_close: bool,
    /// The payload of a ping that has not been answered.
    pong: Option<Bytes>,
    /// The peer's close frame.
    echo: Option<Option<CloseReason>>,
    closing: Closing,
}

/// The progress of the close.
#[derive(Clone, Copy)]
enum Closing {
    Open,
    /// The peer has violated the protocol. Bytes may come, but no frame is read from them.
    Violated,
    /// The peer has sent its last frame.
    Received,
    Flushing(After),
    Awaiting,
    ShuttingDown,
    /// Discards what the peer still sends, before or after the stream is shut down.
    Draining {
        is_shut_down: bool,
    },
}

/// The step after the close frame has been written.
#[derive(Clone, Copy)]
enum After {
    Await,
    Drain,
    End,
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> FrameworkSocket<S> {
    fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        let message = match self.messages.poll_next_unpin(cx) {
            Poll::Ready(message) => message,
            Poll::Pending => match self.transport.violation() {
                Some(code) => return Poll::Ready(Incoming::Violation(code)),
                None => return Poll::Pending,
            },
        };
        Poll::Ready(match message {
            Some(Ok(AggregatedMessage::Text(text))) => Incoming::Text(text.into_bytes()),
            Some(Ok(AggregatedMessage::Binary(payload))) => Incoming::Binary(payload),
            Some(Ok(AggregatedMessage::Ping(payload))) => {
                self.pong = Some(payload);
                Incoming::Ping
            }
            Some(Ok(AggregatedMessage::Pong(_))) => Incoming::Pong,
            Some(Ok(AggregatedMessage::Close(reason))) => {
                let code = reason.as_ref().map(|reason| reason.code.into());
                self.echo = Some(reason);
                Incoming::Close(code)
            }
            Some(Err(error)) => map_error(error),
            None => Incoming::End,
        })
    }

    fn poll_pong(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.pong.is_some() {
            ready!(self.output.borrow().poll_ready(cx))?;
        }
        Poll::Ready(match self.pong.take() {
            Some(payload) => self.output.borrow().start_send(WsMessage::Pong(payload)),
            None => Ok(()),
        })
    }

    /// Returns the step after the closing handshake.
    fn after_handshake(&self, is_violated: bool) -> Closing {
        if is_violated && !self.can_half_close {
            Closing::Draining { is_shut_down: false }
        } else {
            Closing::ShuttingDown
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Connection for FrameworkSocket<S> {
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        // The pongs of a peer that does not read would use memory without a bound.
        if let Err(error) = ready!(self.poll_pong(cx)) {
            return Poll::Ready(Incoming::Lost(error));
        }
        let incoming = ready!(self.poll_incoming(cx));
        match incoming {
            Incoming::Violation(_) => self.closing = Closing::Violated,
            Incoming::Close(_) | Incoming::End | Incoming::Lost(_) => self.closing = Closing::Received,
            _ => {}
        }
        Poll::Ready(incoming)
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.output.borrow().poll_ready(cx)
    }

    fn send(&mut self, frame: Outgoing) -> io::Result<()> {
        let message = match frame {
            Outgoing::Text(text) => output::text(text)?,
            Outgoing::Binary(payload) => WsMessage::Binary(payload),
            Outgoing::Ping => WsMessage::Ping(Bytes::new()),
            _ => return Err(io::ErrorKind::Unsupported.into()),
        };
        self.output.borrow().start_send(message)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_pong(cx))?;
        self.output.borrow().poll_flush(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>, code: Option<CloseCode>) -> Poll<()> {
        loop {
            self.closing = match self.closing {
                Closing::Open | Closing::Violated | Closing::Received => {
                    let after = match self.closing {
                        Closing::Violated => After::Drain,
                        Closing::Open if code.is_some() => After::Await,
                        _ => After::End,
                    };
                    let reason = code.map(|code| CloseReason {
                        code: code.code().into(),
                        description: Some(code.reason().to_owned()),
                    });
                    // A peer that is gone without a close frame gets no close frame.
                    if reason.is_some() || self.echo.is_some() {
                        let is_ready = ready!(self.output.borrow().poll_ready(cx)).is_ok();
                        let message = WsMessage::Close(self.echo.take().unwrap_or(reason));
                        if !is_ready || self.output.borrow().start_send(message).is_err() {
                            return Poll::Ready(());
                        }
                    }
                    Closing::Flushing(after)
                }
                Closing::Flushing(after) => {
                    let flushed = ready!(self.output.borrow().poll_flush(cx));
                    match after {
                        _ if flushed.is_err() => return Poll::Ready(()),
                        After::Await => Closing::Awaiting,
                        after => self.after_handshake(matches!(after, After::Drain)),
                    }
                }
                Closing::Awaiting => match ready!(self.poll_incoming(cx)) {
                    Incoming::Close(_) | Incoming::End | Incoming::Lost(_) => Closing::ShuttingDown,
                    Incoming::Violation(_) => self.after_handshake(true),
                    _ => continue,
                },
                Closing::ShuttingDown => {
                    let ended = ready!(self.transport.poll_shutdown(cx));
                    if ended.is_err() || !self.can_half_close {
                        return Poll::Ready(());
                    }
                    Closing::Draining { is_shut_down: true }
                }
                Closing::Draining { is_shut_down } => match ready!(self.transport.poll_rest(cx)) {
                    Ok(bytes) if !bytes.is_empty() => continue,
                    _ if is_shut_down => return Poll::Ready(()),
                    _ => Closing::ShuttingDown,
                },
            };
        }
    }

    fn progress(&self) -> u64 {
        self.output.borrow().written()
    }

    fn direct(&self) -> Option<Arc<dyn DirectWrite>> {
        Some(self.output.direct())
    }
}

/// Returns the cause of an error, if actix-ws names it.
fn map_error(error: ProtocolError) -> Incoming {
    Incoming::Violation(match error {
        ProtocolError::Overflow => ProtocolViolation::TooBig,
        ProtocolError::Io(error) => match (error.kind(), error.to_string()) {
            (io::ErrorKind::InvalidData, text) if text.contains("reserved bits") => {
                ProtocolViolation::Protocol
            }
            (io::ErrorKind::InvalidData, _) => ProtocolViolation::Utf8,
            (_, text) if text.contains("continuation size") => ProtocolViolation::TooBig,
            _ => return Incoming::Lost(error),
        },
        _ => ProtocolViolation::Protocol,
    })
}
