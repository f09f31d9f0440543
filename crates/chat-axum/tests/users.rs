//! The example `users` over real sockets.

use std::future::pending;

use chat_adapter_tests::{Server, in_time, users_of_the_host_join_post_and_are_kicked};

#[expect(dead_code, reason = "the test does not run the example's main function")]
#[path = "../examples/users.rs"]
mod users;

#[tokio::test]
async fn users_join_post_and_are_kicked() {
    let server = Server::start_chat(users::chat(), |chat, listener| async move {
        chat_axum::serve(listener, users::app(&chat), &chat, pending()).await.unwrap();
    });
    in_time(users_of_the_host_join_post_and_are_kicked(&server.await)).await;
}
