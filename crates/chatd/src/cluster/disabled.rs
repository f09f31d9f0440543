//! The cluster of a binary without the feature `cluster`. No value of this type exists, because `--cluster` is refused.

use std::io::{self, BufRead, Write};

use chat_core::{Builder, Exported, Imported, RoomName};
use serde_json::Value;

use super::ClusterOptions;
use crate::config::Config;
use crate::metrics_recorder::Metrics;
use crate::storage::OpenError;
use crate::tasks::Summary;

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

/// The tasks on the streams of a cluster.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ClusterTasks {}

impl ClusterTasks {
    pub(super) fn new(_: &ClusterOptions) -> Result<Self, String> {
        Err("this binary has no cluster: build it with --features cluster".to_owned())
    }

    pub(crate) fn name(&self) -> String {
        match *self {}
    }

    pub(crate) fn rooms(&self) -> Result<Vec<RoomName>, String> {
        match *self {}
    }

    pub(crate) fn export(&self, _: Option<&RoomName>, _: impl Write) -> io::Result<Exported> {
        match *self {}
    }

    pub(crate) fn import(&self, _: impl BufRead, _: impl FnMut(Imported)) -> Result<Imported, String> {
        match *self {}
    }

    pub(crate) fn check(&self, _: impl FnMut(String)) -> Result<Summary, String> {
        match *self {}
    }
}
