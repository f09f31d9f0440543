//! The cluster of a binary without the feature `cluster`. No value of this type exists, because `--cluster` is refused.

use chat_core::Builder;
use serde_json::Value;

use super::ClusterOptions;
use crate::config::Config;
use crate::metrics_recorder::Metrics;
use crate::storage::OpenError;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Cluster {}

impl Cluster {
    pub(super) fn check_files(_: &ClusterOptions) -> Result<(), String> {
        Ok(())
    }

    pub(super) async fn join(_: &ClusterOptions, _: &Config) -> Result<Self, OpenError> {
        Err(OpenError::Failed("this binary has no cluster: build it with --features cluster".to_owned()))
    }

    pub(crate) fn attach(&self, _: Builder) -> Builder {
        match *self {}
    }

    pub(crate) fn publish(self, _: &mut Metrics) {
        match self {}
    }

    pub(crate) fn state(&self) -> Value {
        match *self {}
    }
}
