//! A disk that does not synchronize: strace sees to it.

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use support::{Home, all, room, say, say_once, seqs};

/// As long as nobody has read, the connection that writes is the only one: with it goes what SQLite knows of its log.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_does_not_come_back_on_a_fresh_connection() {
    let home = Home::new();
    let store = home.open();
    let lobby = room(&store, "lobby");
    say(&lobby, "before").await.expect("appended");
    let mut strace = Command::new("strace");
    strace.args(["-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:error=EIO", "-o", "/dev/null"]);
    let mut strace = strace.args(["-p", &writer()]).stderr(Stdio::piped()).spawn().expect("a tracer");
    let mut errors = BufReader::new(strace.stderr.take().expect("a pipe")).lines();
    assert!(errors.next().expect("a line").expect("a line").ends_with("attached"));
    for _ in 0..3 {
        // Were it known the second time, it would be acknowledged and not be on the disk.
        assert!(say_once(&lobby, "k", "refused").await.is_err());
    }
    assert!(store.stats().failing_since.is_some());
    Command::new("kill").arg(strace.id().to_string()).status().expect("detached");
    strace.wait().expect("ended");
    // Had it come back, it would have this place.
    assert_eq!(say(&lobby, "after").await.map(|appended| appended.seq), Ok(2));
    assert_eq!(store.stats().failing_since, None);
    assert_eq!(seqs(&all(&lobby).await), [1, 2]);
    assert!(store.close());
}

/// The thread that writes, of which there is one in this process.
fn writer() -> String {
    let tasks = fs::read_dir("/proc/self/task").expect("a directory").map(|task| task.expect("an entry"));
    let mut writers = tasks.filter(|task| {
        fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.trim_end() == "chat-sqlite")
    });
    writers.next().expect("a thread").file_name().into_string().expect("a number")
}
