//! A fuzzer of whole conversations with the binaries, and of functions of the libraries.
//!
//! [`fuzz`] plays mutated [`Conversation`]s against a server, over sockets. [`check_inputs`] calls a function with
//! mutated inputs. Both begin with the files of a corpus, and print the seed with which they can be repeated.

mod answers;
mod bytes;
mod canary;
mod command;
mod conversation;
mod corpus;
mod dictionary;
mod failure;
mod inputs;
mod mutate;
mod play;
mod run;

pub use bytes::mutate_bytes;
pub use conversation::{Action, Conversation, Step};
pub use corpus::corpus;
pub use failure::{Failure, fuzz, plan, replay};
pub use inputs::check_inputs;
pub use mutate::conversation;
pub use run::Figures;
