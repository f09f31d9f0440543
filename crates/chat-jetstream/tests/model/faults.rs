//! The faults of servers, networks and nodes.

use super::copy::Copy;
use super::world::World;

impl World {
    /// Kills a server. What it has stored stays.
    pub(super) fn kill(&mut self, server: usize) {
        self.servers[server].is_up = false;
        self.servers[server].is_paused = false;
        self.disconnect_all(server);
        self.servers[server].believes = None;
        self.servers[server].staged.clear();
        self.changed();
    }

    /// Starts a server that was killed.
    pub(super) fn revive(&mut self, server: usize) {
        self.servers[server].is_up = true;
        self.changed();
    }

    /// Cuts a server off from the others. Clients reach it.
    pub(super) fn isolate(&mut self, server: usize) {
        let side = self.number();
        self.servers[server].side = side;
        self.changed();
    }

    /// Lets all servers reach each other.
    pub(super) fn join(&mut self) {
        self.servers.iter_mut().for_each(|server| server.side = 0);
        self.changed();
    }

    /// Stops the process of a server for a while.
    pub(super) fn pause(&mut self, server: usize) {
        if self.servers[server].is_up {
            self.servers[server].is_paused = true;
            self.begin_silence();
            self.changed();
        }
    }

    /// Lets a process go on. It answers what has arrived before it learns that it is not the leader any more.
    pub(super) fn resume(&mut self, server: usize) {
        self.servers[server].is_paused = false;
        self.end_silence();
        self.changed();
    }

    /// Moves the leadership to another server, as an operator does before an update.
    pub(super) fn move_leader(&mut self) {
        let Some(leader) = self.group.leader.filter(|leader| self.is_running(*leader)) else { return };
        self.step_down(leader);
    }

    /// Cuts a node off from all servers, silently, or lets it reach them again.
    pub(super) fn cut(&mut self, client: usize, is_cut: bool) {
        self.clients[client].is_cut = is_cut;
        if is_cut { self.begin_silence() } else { self.end_silence() }
    }

    /// Ends the connection of a node.
    pub(super) fn reset(&mut self, client: usize) {
        if let Some(session) = self.clients[client].session
            && !self.is_silent(session)
        {
            self.disconnect(session);
        }
    }

    /// Ends a client, as the end of its process does.
    pub(super) fn end_client(&mut self, client: usize) {
        self.clients[client].is_dead = true;
        if let Some(session) = self.clients[client].session {
            self.disconnect(session);
        }
    }

    /// Stops all servers, and lets them begin again with the first part of what was stored, as after the restore of an
    /// older copy. Returns the number of steps that are lost.
    pub(super) fn roll_back(&mut self, steps: usize) -> usize {
        (0..self.servers.len()).for_each(|server| self.kill(server));
        self.forget(steps)
    }

    /// Lets all servers forget the last steps, and go on. Returns the number of steps that are lost.
    pub(super) fn forget(&mut self, steps: usize) -> usize {
        let kept = self.group.log.len().saturating_sub(steps);
        let lost = self.group.log.len() - kept;
        self.group.tail.clear();
        self.group.log.truncate(kept);
        for server in &mut self.servers {
            server.applied = server.applied.min(kept);
            server.copy = Copy::default();
            let applied = &self.group.log[..server.applied];
            for op in applied {
                server.copy.apply(op);
            }
        }
        lost
    }

    /// Repairs all that is broken.
    pub(super) fn heal(&mut self) {
        for server in 0..self.servers.len() {
            self.servers[server].is_up = true;
            self.servers[server].is_paused = false;
            self.servers[server].side = 0;
            self.servers[server].lag = 0;
        }
        for client in &mut self.clients {
            client.is_cut = false;
            (client.losing, client.doubling, client.slow) = (0, 0, 0);
        }
        (self.lossy, self.refuses) = (0, false);
        self.end_silence();
        self.changed();
    }

    /// Lets the servers draw their conclusions from a change of who reaches whom.
    fn changed(&mut self) {
        for server in 0..self.servers.len() {
            if self.servers[server].believes.is_some() {
                self.doubt(server);
            }
        }
        self.watch();
        self.resume_proposals();
        self.follow();
    }
}
