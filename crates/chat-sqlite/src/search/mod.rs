//! Full-text search: the index in a database of its own, the thread that builds it, and the query over indexed and
//! recent messages.

mod build;
mod database;
mod index;
mod indexer;
mod ngrams;
mod query;

pub(crate) use build::build_index;
pub(crate) use database::{
    IndexFormat, format_mismatch, is_damage, open_index, open_index_for_compaction, open_or_create,
    open_search_reader,
};
pub(crate) use index::{erase, erased, must_erase};
pub(crate) use indexer::Indexer;
pub(crate) use ngrams::{index_terms, match_expression, room_prefix};
pub(crate) use query::SearchTask;
