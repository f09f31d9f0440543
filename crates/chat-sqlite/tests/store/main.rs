//! Tests of a store through its public API.
//!
//! Some tests mount file systems or run `strace`. They need root and Linux.

mod appends;
mod backups;
mod changes;
mod descriptors;
mod direct_rooms;
mod epochs;
mod erasure;
mod faults;
mod fsync;
mod histories;
mod imports;
mod keys;
mod log_index;
mod maintenance;
mod markers;
mod moving;
mod open_errors;
mod panics;
mod processes;
mod purges;
mod reopening;
mod repeated_purges;
mod retention;
mod rules;
mod search;
mod sends;
mod staging;
mod support;
mod threads;
mod wal;
