//! The example `users` over real sockets.

use std::future::pending;

use actix_web::App;
use chat_actix::UpgradeLayer;
use chat_adapter_tests::{Server, in_time, users_of_the_host_join_post_and_are_kicked};

#[expect(dead_code, reason = "the test does not run the example's main function")]
#[path = "../examples/users.rs"]
mod users;

#[tokio::test]
async fn users_join_post_and_are_kicked() {
    let server = Server::start_chat(users::chat(), |chat, listener| async move {
        let handle = chat.clone();
        let app = move || App::new().configure(users::app(&handle)).wrap(UpgradeLayer::new());
        chat_actix::serve(listener, app, &chat, pending()).await.unwrap();
    });
    in_time(users_of_the_host_join_post_and_are_kicked(&server.await)).await;
}
