use std::env;
use std::fs;
use std::path::Path;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

/// The programs and the machine of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Environment {
    /// The date and time at the end of the run.
    pub date: String,
    /// The name and the version of the load tool.
    pub tool: String,
    /// The command line of the load tool.
    pub command: String,
    /// The name of the server program, if its process is known.
    pub server: Option<String>,
    /// The model and the number of the CPUs.
    pub cpu: String,
    /// The size of the memory.
    pub memory: String,
    /// The operating system and its version.
    pub system: String,
}

impl Environment {
    /// Returns the environment of this program. `server` is the process id of the server.
    pub fn of_this_program(tool: String, server: Option<u32>) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpus = read("/proc/cpuinfo");
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let count = cpus.lines().filter(|line| line.starts_with("processor")).count();
        let model = field(&cpus, "model name").unwrap_or_else(|| env::consts::ARCH.to_owned());
        let kib = field(&read("/proc/meminfo"), "MemTotal")
            .and_then(|size| size.split(' ').next()?.parse::<f64>().ok())
            .unwrap_or_default();
        Self {
            date: httpdate::fmt_http_date(SystemTime::now()),
            tool,
            command: env::args().map(|argument| quoted(&argument)).collect::<Vec<_>>().join(" "),
            server: server.and_then(program),
            cpu: format!("{model}, {count} CPUs"),
            memory: format!("{:.1} GiB", kib / 1024.0 / 1024.0),
            system: format!("{} {}", env::consts::OS, read("/proc/sys/kernel/osrelease").trim()),
        }
    }
}

/// Returns the name of the program of a process.
fn program(process: u32) -> Option<String> {
    let path = fs::read_link(Path::new("/proc").join(process.to_string()).join("exe")).ok()?;
    let name = path.file_name()?.to_string_lossy().into_owned();
    // A program that was built again while it was running.
    Some(name.trim_end_matches(" (deleted)").to_owned())
}

/// Returns an argument as a shell needs it.
fn quoted(argument: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_=+:,./%@".contains(letter);
    if !argument.is_empty() && argument.chars().all(is_plain) {
        return argument.to_owned();
    }
    format!("'{}'", argument.replace('\'', r"'\''"))
}
