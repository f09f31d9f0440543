use crate::AdmitError;

/// The numbers of connections that a chat did not admit, by reason. They only grow, and fit the counters of a metrics
/// library.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusals {
    /// Connections beyond [`ConnectionLimits::max_connections`](crate::ConnectionLimits::max_connections).
    pub full: u64,
    /// Connections beyond [`ConnectionLimits::max_per_user`](crate::ConnectionLimits::max_per_user).
    pub full_for_user: u64,
    /// Connections beyond [`ConnectionLimits::max_per_address`](crate::ConnectionLimits::max_per_address).
    pub full_for_address: u64,
    /// Plain connections beyond
    /// [`ConnectionLimits::max_plain_per_address`](crate::ConnectionLimits::max_plain_per_address).
    pub plain: u64,
    /// Connections after the start of a drain.
    pub draining: u64,
}

impl Refusals {
    pub(crate) fn count(&mut self, error: AdmitError) {
        let count = match error {
            AdmitError::Full => &mut self.full,
            AdmitError::FullForUser => &mut self.full_for_user,
            AdmitError::FullForAddress => &mut self.full_for_address,
            AdmitError::Draining => &mut self.draining,
        };
        *count += 1;
    }
}
