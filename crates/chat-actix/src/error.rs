/// An error of a connection besides those of the transport.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectionError {
    /// The response was dropped before actix has sent it.
    #[error("the 101 was dropped")]
    ResponseDropped,
    /// actix-ws could not write a frame. Its error cannot leave the thread, so this is its text.
    #[error("actix-ws cannot write a frame: {0}")]
    Frame(String),
}
