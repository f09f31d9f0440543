use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The CPUs of this program and of the server.
#[derive(Debug)]
pub(super) struct Cpus {
    /// The set of the server and the set of this program, if there are two CPUs or more.
    sets: Option<(CpuSet, CpuSet)>,
}

impl Cpus {
    /// Gives the last CPU to this thread and to the threads that it will start.
    pub(super) fn split() -> Self {
        let sets = sched_getaffinity(None).ok().and_then(|all| {
            let last = (0..CpuSet::MAX_CPU).rev().find(|cpu| all.is_set(*cpu))?;
            let (mut server, mut own) = (all, CpuSet::new());
            server.unset(last);
            own.set(last);
            (server.count() > 0).then_some((server, own))
        });
        let cpus = Self { sets };
        cpus.for_server(|| ());
        cpus
    }

    /// Starts a process on the CPUs of the server.
    pub(super) fn for_server<T>(&self, start: impl FnOnce() -> T) -> T {
        // Where the system does not allow it, server and program share all CPUs.
        if let Some((server, _)) = &self.sets {
            let _allowed = sched_setaffinity(None, server).is_ok();
        }
        let started = start();
        if let Some((_, own)) = &self.sets {
            let _allowed = sched_setaffinity(None, own).is_ok();
        }
        started
    }
}
