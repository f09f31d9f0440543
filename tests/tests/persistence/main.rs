//! The chat binaries with a store on disk: rooms survive a stop, a crash, a full disk, and failing system calls.

mod changed_messages;
mod close;
mod crashes;
mod export_and_check;
mod follower;
mod full_disk;
mod injected_faults;
mod injection;
mod moved_chat;
mod random_readers;
mod refused_stores;
mod restored_backup;
mod slow_readers;
mod slow_shutdown;
mod witness;
mod write_order;
mod writer;
