//! Rules about the source code: `chat-proto` is pure, adapters hold no policy, folders do not import each other in a
//! circle, the README names existing cases, doc comments are plain English, and they and the prose of documents have at
//! most 120 columns, dashboards name existing metrics, and each log event is documented. Each rule has a test which shows
//! that it finds a violation.

mod adapters;
mod docs;
mod imports;
mod layers;
mod limits;
mod linked;
mod log_events;
mod monitoring;
mod purity;
mod readme;
mod sources;
mod width;
