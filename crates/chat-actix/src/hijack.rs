use std::io;
use std::sync::Arc;

use actix_web::dev::{Payload, ServiceRequest};
use actix_web::{HttpMessage, HttpResponse, rt};
use bytes::Bytes;
use chat_core::Upgrade;
use chat_websocket::{SharedSocket, WebSocket};
use tokio_util::either::Either;

use crate::convert::{refuse, switching_protocols};
use crate::stream::ServedConnection;
use crate::{pipe, takeover};

/// Carries out an upgrade: a task waits until the 101 was sent and runs the session. It runs on the socket, or on a
/// pipe through actix if the socket belongs to a server of the host. A request without a payload is refused, because
/// actix has seen no upgrade in it.
pub(crate) fn open(upgrade: Upgrade, request: &mut ServiceRequest) -> HttpResponse {
    let payload = request.take_payload();
    if matches!(payload, Payload::None) {
        return refuse(upgrade, request);
    }
    let (guard, limits) = (upgrade.guard().clone(), Arc::clone(upgrade.limits()));
    let (answer, ticket) = upgrade.accept();
    let Some(connection) = ServedConnection::of(request.request()) else {
        let (body, stream) = pipe::open(guard, payload);
        rt::spawn(ticket.start(async move {
            let websocket = WebSocket::accept(stream.await?, Bytes::new(), &limits).await;
            Ok::<_, io::Error>(websocket.without_half_close())
        }));
        return switching_protocols(&answer, body);
    };
    let runtime = connection.runtime();
    let (body, socket) = takeover::open(connection, guard, payload);
    runtime.spawn(ticket.start(async move {
        let (socket, early) = socket.await?;
        Ok::<_, io::Error>(match socket {
            Either::Left(stream) => {
                let socket = SharedSocket::new(stream);
                let writer = socket.direct();
                WebSocket::accept(Either::Left(socket), early, &limits).await.with_direct(writer)
            }
            Either::Right(tls) => WebSocket::accept(Either::Right(tls), early, &limits).await,
        })
    }));
    switching_protocols(&answer, body)
}
