//! Failures while a store is in use. Affected calls fail, others do not, and the store recovers on its own.

mod contention;
mod damage;
mod disk;
mod unreadable;
