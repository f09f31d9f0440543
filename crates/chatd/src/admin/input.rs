//! The parts of a request: the room in its path, the parameters of its query, and its body.

use std::str::FromStr;

use bytes::Buf;
use chat_core::RoomName;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;

use super::reply::Problem;

/// Items of a page without `limit`.
const DEFAULT_LIMIT: usize = 100;

/// The parameters of a query. Each has one value.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query that may have these parameters.
    pub(super) fn parse(query: Option<&str>, known: &[&str]) -> Result<Self, Problem> {
        let mut parameters: Vec<(String, String)> = Vec::new();
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name)?, decode(&value.replace('+', " "))?);
            if !known.contains(&&*name) || parameters.iter().any(|(other, _)| *other == name) {
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return Err(Problem::bad_request(format!("the parameters are, each at most once: {known}")));
            }
            parameters.push((name, value));
        }
        Ok(Self(parameters))
    }

    /// Returns the value of a parameter, if it has one.
    pub(super) fn get<T: FromStr>(&self, wanted: &'static str) -> Result<Option<T>, Problem> {
        let Some((_, value)) = self.0.iter().find(|(name, _)| name == wanted) else { return Ok(None) };
        let value = value.parse().map_err(|_| Problem::bad_request(format!("`{wanted}` is not valid")))?;
        Ok(Some(value))
    }

    /// Returns the number of items of a page, which is 1 to `max`.
    pub(super) fn limit(&self, max: usize) -> Result<usize, Problem> {
        let limit = self.get("limit")?.unwrap_or(DEFAULT_LIMIT.min(max));
        if !(1..=max).contains(&limit) {
            return Err(Problem::bad_request(format!("`limit` is 1 to {max}")));
        }
        Ok(limit)
    }
}

/// Reads the name of a room from a segment of a path.
pub(super) fn room(segment: &str) -> Result<RoomName, Problem> {
    decode(segment)?.parse().map_err(|_| Problem::bad_request("this is not the name of a room"))
}

/// Reads a JSON body of at most `max` bytes. The reply to a wrong body may repeat a part of it, and the log does not.
pub(super) async fn body<T: DeserializeOwned>(body: Incoming, max: usize) -> Result<T, Problem> {
    let body = Limited::new(body, max).collect().await;
    let body = body.map_err(|error| match error.downcast_ref::<http_body_util::LengthLimitError>() {
        Some(_) => Problem::too_large(),
        None => Problem::bad_request("the body of the request is not complete"),
    })?;
    let mut json = serde_json::Deserializer::from_reader(body.aggregate().reader());
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        Problem::bad_request(match error.path().iter().next() {
            Some(_) => format!("`{}`: {}", error.path(), error.inner()),
            None => error.inner().to_string(),
        })
    })?;
    json.end().map_err(|error| Problem::bad_request(error.to_string()))?;
    Ok(value)
}

fn decode(text: &str) -> Result<String, Problem> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(Into::into).map_err(|_| Problem::bad_request("the path or the query is not UTF-8"))
}
