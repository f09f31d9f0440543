//! Mutated conversations with each adapter's binary, and mutated inputs of the functions that read what clients send.

mod commands;
mod conversations;
mod frames;
mod handshake;
mod names;
mod stored;
