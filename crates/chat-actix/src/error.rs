/// An error of a connection besides those of the transport.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectionError {
    /// The response was dropped before actix sent it.
    #[error("the 101 was dropped")]
    ResponseDropped,
    /// A frame that `actix-ws` could not write. The value is the text of the error, because the error itself is not
    /// `Send`.
    #[error("actix-ws cannot write a frame: {0}")]
    Frame(String),
}
