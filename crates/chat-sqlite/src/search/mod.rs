//! Full-text search: the index in a database of its own, the thread that builds it, and the query over indexed and
//! recent messages.

mod build;
mod database;
mod index;
mod indexer;
mod ngrams;
mod query;

pub(crate) use build::build_index;
pub(crate) use database::{open_index, open_index_for_compaction, open_search_reader};
pub(crate) use indexer::Indexer;
pub(crate) use ngrams::{match_expression, room_prefix};
pub(crate) use query::SearchTask;
