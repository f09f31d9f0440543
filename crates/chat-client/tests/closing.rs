//! The end of a client: commands in flight get their replies or an error.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use chat_client::{AppendReceipt, Client, ClientEvent, CloseCode, Closed, ConnectError, Error, Lost, Text};
use chat_testkit::Mode;
use futures_util::future::join_all;
use support::{
    Proxy, Server, asked, close, connected, eager, fake, lobby, member, next, tell, url, welcomed, within,
};
use tokio::time::Instant;

/// Sends this many messages at once.
async fn sends(client: &Client, count: usize) -> Vec<Result<AppendReceipt, Error>> {
    join_all((0..count).map(|_| async { client.send(&lobby(), &Text::new("hi")).await })).await
}

/// Returns the `seq` of each reply.
fn seqs(answers: Vec<Result<AppendReceipt, Error>>) -> Vec<u64> {
    answers.into_iter().map(|sent| sent.unwrap().seq).collect()
}

#[tokio::test]
async fn close_waits_for_the_replies_of_earlier_commands() {
    let (rooms, server) = Server::with_appends(Mode::Waits);
    let (client, _events) = member(Client::builder(&server.url()).max_in_flight(3)).await;
    let other = client.clone();
    let late = async {
        within(rooms.wait_for_appends(1)).await;
        // The client accepts no more commands, and the room still waits.
        assert_eq!(within(other.ping()).await, Err(Error::Closed(Closed::Locally)));
        rooms.append(Mode::Works);
    };
    let handle = other.clone();
    let (sent, closed, ()) = tokio::join!(sends(&handle, 20), client.close(), late);
    assert_eq!(closed, Ok(()));
    assert_eq!(seqs(sent), (1..=20).collect::<Vec<_>>());
    assert_eq!(other.close().await, Ok(()), "again");
}

#[tokio::test]
async fn close_repeats_earlier_commands_on_another_connection() {
    let (rooms, server) = Server::with_appends(Mode::Waits);
    let proxy = Proxy::start(server.address).await;
    let (client, _events) = member(Client::builder(&url(proxy.address)).reconnect(eager())).await;
    let handle = client.clone();
    let lost = async {
        within(rooms.wait_for_appends(1)).await;
        proxy.cut();
        rooms.append(Mode::Works);
    };
    let (sent, closed, ()) = tokio::join!(sends(&handle, 5), client.close(), lost);
    assert_eq!((closed, seqs(sent)), (Ok(()), vec![1, 2, 3, 4, 5]));
}

#[tokio::test]
async fn close_ends_commands_without_a_reply_after_its_timeout() {
    let (address, mut peers) = fake().await;
    let connecting = tokio::spawn(Client::builder(&url(address)).max_in_flight(1).connect());
    let peer = welcomed(&mut peers).await;
    let (client, mut events) = connecting.await.unwrap().unwrap();
    // From here on only time passes: the server keeps the connection and does not read.
    tokio::time::pause();
    let begun = Instant::now();
    let handle = client.clone();
    let (sent, closed) = tokio::join!(sends(&handle, 3), client.close());
    assert_eq!(closed, Err(Error::Timeout));
    assert_eq!(sent, vec![Err(Error::Closed(Closed::Locally)); 3]);
    let seconds = begun.elapsed().as_secs();
    assert!((5..=7).contains(&seconds), "{seconds}");
    let last = within(events.next()).await;
    assert!(matches!(last, Some(ClientEvent::Closed(Closed::Locally))), "{last:?}");
    drop(peer);
}

#[tokio::test]
async fn close_returns_the_reason_of_a_connection_that_is_lost_for_good() {
    let (client, _events, mut peer, _peers) = connected().await;
    let handle = client.clone();
    let kicked = async {
        asked(&mut peer).await;
        close(&mut peer, 4503).await;
    };
    let (sent, closed, ()) = tokio::join!(sends(&handle, 2), client.close(), kicked);
    let lost = Closed::Lost(Lost::Close { code: CloseCode::Kicked, reason: "why".to_owned() });
    assert_eq!(closed, Err(Error::Closed(lost.clone())));
    assert_eq!(sent, vec![Err(Error::Closed(lost)); 2]);
}

#[tokio::test]
async fn a_dropped_client_finishes_its_commands() {
    let (rooms, server) = Server::with_appends(Mode::Waits);
    let (client, mut events) = server.member().await;
    let room = lobby();
    let hi = Text::new("hi");
    tokio::select! {
        biased;
        sent = client.send(&room, &hi) => panic!("{sent:?}"),
        () = within(rooms.wait_for_appends(1)) => {}
    }
    drop(client);
    rooms.append(Mode::Works);
    assert_eq!(support::message(&mut events).await.seq, 1);
    assert!(matches!(next(&mut events).await, ClientEvent::Closed(Closed::Locally)));
}

#[tokio::test]
async fn the_time_to_return_of_a_connection_that_ends_before_its_welcome_is_kept() {
    let (_client, mut events, mut peer, mut peers) = connected().await;
    close(&mut peer, 1012).await;
    assert!(matches!(next(&mut events).await, ClientEvent::Disconnected { .. }));
    let mut peer = within(peers.recv()).await.unwrap();
    tell(&mut peer, r#"{"type":"closing","code":1012,"reason":"restarting","reconnect_in_ms":7000}"#).await;
    close(&mut peer, 1012).await;
    let lost = Lost::Close { code: CloseCode::Restarting, reason: "why".to_owned() };
    let expected = ConnectError::Ended { lost, reconnect_in: Some(Duration::from_secs(7)) };
    let failed = within(events.next()).await;
    let Some(ClientEvent::ReconnectFailed { error, retry_in }) = failed else { panic!("{failed:?}") };
    assert_eq!((error, retry_in), (expected, Duration::from_secs(7)));
}
