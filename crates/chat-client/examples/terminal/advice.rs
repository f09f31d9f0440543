//! The reasons of failures in words, and what to do about them.

use std::error::Error as _;
use std::io::ErrorKind;

use chat_client::{Closed, ConnectError, Error, ErrorCode};

/// Returns the reason why there is no connection, with what to do.
pub(crate) fn connect(error: &ConnectError) -> String {
    let advice = match error {
        ConnectError::Address(_) => "write the address as ws://HOST:PORT/ws".to_owned(),
        ConnectError::Token => "pass another token with --token".to_owned(),
        ConnectError::Io(ErrorKind::ConnectionRefused) => {
            "no server listens there, so start one, or check the host and the port".to_owned()
        }
        ConnectError::TokenRequired => "pass one with --token".to_owned(),
        ConnectError::Refused { status: 401, .. } => "pass a valid token with --token".to_owned(),
        ConnectError::Refused { code, .. } if code == "bad_name" => "choose another --name".to_owned(),
        ConnectError::Refused { retry_after: Some(wait), .. } => {
            format!("try again in {} s", wait.as_secs().max(1))
        }
        ConnectError::Refused { .. } | ConnectError::Protocol => {
            "check the address, whose path is usually /ws".to_owned()
        }
        ConnectError::Timeout => "try again".to_owned(),
        ConnectError::Ended { lost, .. } if lost.is_temporary() => "try again".to_owned(),
        _ => "check the address and the network".to_owned(),
    };
    format!("{}; {advice}", reason(error))
}

/// Returns the reason why there is no connection.
pub(crate) fn reason(error: &ConnectError) -> String {
    match error {
        ConnectError::Refused { status, code, .. } if code.is_empty() => {
            format!("the server refused the upgrade with {status}")
        }
        error => match error.source() {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        },
    }
}

/// Returns the reason why a command failed.
pub(crate) fn command(error: &Error) -> String {
    match error {
        Error::Refused(refused) => match refused.code {
            ErrorCode::Conflict => "somebody has edited the message in the meantime".to_owned(),
            ErrorCode::Muted => format!("{}; wait for the end", refused.message),
            _ => refused.message.clone(),
        },
        Error::Closed(closed) => ended(closed),
        error => error.to_string(),
    }
}

/// Returns the reason why the client has ended.
pub(crate) fn ended(closed: &Closed) -> String {
    match closed {
        Closed::Refused(error) | Closed::GaveUp(error) => connect(error),
        closed => closed.to_string(),
    }
}
