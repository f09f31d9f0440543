use std::io::{self, BufRead, Write};

use chat_core::{Exported, Imported, RoomName};
use chat_jetstream::{JetStreamStore, MoveError, Options, Report};
use tokio::runtime::{Builder, Runtime};

use super::ClusterOptions;
use super::joined::{DEFAULT_NAME, DEFAULT_STREAMS, connection};
use crate::tasks::Summary;

/// The tasks on the streams of a cluster, in a runtime of their own.
pub(crate) struct ClusterTasks {
    servers: String,
    options: Options,
    runtime: Runtime,
}

impl ClusterTasks {
    pub(super) fn new(cluster: &ClusterOptions) -> Result<Self, String> {
        let connect = connection(cluster)?.name("chat task");
        let options = Options::default().with(|options| {
            cluster.cluster_name.as_deref().unwrap_or(DEFAULT_NAME).clone_into(&mut options.stream);
            options.streams = cluster.cluster_streams.unwrap_or(DEFAULT_STREAMS);
            options.replicas = cluster.replicas();
            options.connect = connect;
        });
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|error| format!("cannot start a thread: {error}"))?;
        Ok(Self { servers: cluster.cluster.join(","), options, runtime })
    }

    /// Returns the name of the stream in texts.
    pub(crate) fn name(&self) -> String {
        format!("stream {}", self.options.stream)
    }

    pub(crate) fn rooms(&self) -> Result<Vec<RoomName>, String> {
        let rooms = JetStreamStore::rooms(&self.servers, &self.options);
        self.runtime.block_on(rooms).map_err(|error| error.to_string())
    }

    pub(crate) fn export(&self, room: Option<&RoomName>, to: impl Write) -> io::Result<Exported> {
        let Self { servers, options, runtime } = self;
        let exported = match room {
            Some(room) => runtime.block_on(JetStreamStore::export(servers, options, room, to)),
            None => runtime.block_on(JetStreamStore::export_all(servers, options, to)),
        };
        exported.map_err(|error| match error {
            MoveError::Write(error) => error,
            error => io::Error::other(error),
        })
    }

    pub(crate) fn import(
        &self,
        from: impl BufRead,
        progress: impl FnMut(Imported),
    ) -> Result<Imported, String> {
        let imported = JetStreamStore::import(&self.servers, &self.options, from, progress);
        self.runtime.block_on(imported).map_err(|error| error.to_string())
    }

    pub(crate) fn check(&self, mut progress: impl FnMut(String)) -> Result<Summary, String> {
        let show = |report: &Report| progress(format!("{} rooms verified", report.rooms));
        let report = JetStreamStore::check(&self.servers, &self.options, show);
        let report = self.runtime.block_on(report).map_err(|error| error.to_string())?;
        let Report { rooms, messages, unreadable, problems, .. } = report;
        Ok(Summary { rooms, messages, unreadable, missing: 0, problems })
    }
}
