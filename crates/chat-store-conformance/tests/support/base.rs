use std::sync::atomic::{AtomicBool, Ordering};

use chat_core::{Health, Unavailable};

/// The state of a store as one node has it: reachable or not, closed or not.
#[derive(Default)]
pub(crate) struct Gate {
    is_down: AtomicBool,
    is_closed: AtomicBool,
}

impl Gate {
    pub(crate) fn check(&self) -> Result<(), Unavailable> {
        match self.health() {
            Health::Ready => Ok(()),
            Health::Degraded(cause) | Health::Unreachable(cause) => Err(Unavailable::new(cause)),
            _ => Err(Unavailable::new("an unknown state")),
        }
    }

    pub(crate) fn health(&self) -> Health {
        if self.is_closed.load(Ordering::SeqCst) {
            Health::Unreachable("the store is closed".to_owned())
        } else if self.is_down.load(Ordering::SeqCst) {
            Health::Unreachable("the store does not answer".to_owned())
        } else {
            Health::Ready
        }
    }

    pub(crate) fn set_reachable(&self, reachable: bool) {
        self.is_down.store(!reachable, Ordering::SeqCst);
    }

    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
    }
}
