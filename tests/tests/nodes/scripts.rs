//! Random scripts on nodes with different adapters, which get the connections in turn, as the model of the protocol
//! predicts them.

use anyhow::Result;
use chat_tests::{ADAPTERS, ScriptServer, Step, run_scripts};

/// The default number of scripts.
const SCRIPTS: u64 = 40;

/// The nodes of a script.
const NODES: usize = 3;

pub(crate) fn nodes_play_random_scripts_as_the_model_predicts(nats: &str) -> Result<()> {
    run_scripts(SCRIPTS, "nodes scripts", &async |script: &[Step], seed| {
        // Each adapter gets its turn.
        let first = usize::try_from(seed % ADAPTERS.len() as u64)?;
        let adapters = ADAPTERS.into_iter().cycle().skip(first).take(NODES).collect();
        let mut nodes = ScriptServer::start_nodes(adapters, nats).await?;
        nodes.play(script).await.map_err(|failure| anyhow::anyhow!("{failure}"))?;
        Ok(vec![nodes])
    })
}
