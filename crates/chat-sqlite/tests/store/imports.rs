//! Imports that end before they are complete. The child process is this program with one test.

use std::env;
use std::fs::{self, File};
use std::io::BufReader;
use std::process::{self, Command, Stdio};

use chat_sqlite::{ImportError, Opening, SqliteStore};
use tokio::runtime::Runtime;

use crate::moving::small;
use crate::support::StoreDir;
use crate::support::process::{is_single_test, single_test};

/// Name of the test that is the child process.
const CHILD: &str = "imports::importing_child";

/// The directory of the child's store.
const DIR: &str = "CHAT_IMPORT_DIR";

/// The file that the child imports.
const EXPORT: &str = "CHAT_IMPORT_FILE";

/// The child process. Does nothing when it runs with the other tests.
#[test]
fn importing_child() {
    if !is_single_test(CHILD) {
        return;
    }
    let (dir, export) = (env::var(DIR).expect("a directory"), env::var(EXPORT).expect("a file"));
    let export = BufReader::new(File::open(export).expect("a file"));
    process::exit(i32::from(SqliteStore::import(dir, export, |_| ()).is_err()));
}

/// Runs imports with a fault at the first of these system calls, at the second one, and so on until one succeeds.
/// After each, there is a whole store, or another import makes it. Returns the numbers of both.
fn import_with_faults(calls: &str, fault: &str) -> (usize, usize) {
    let (home, export) = (StoreDir::new(), Runtime::new().expect("a runtime").block_on(small()));
    fs::create_dir(home.path()).expect("a directory");
    fs::write(home.file("export"), &export).expect("written");
    let (mut whole, mut repeated) = (0, 0);
    for call in 1..1_000 {
        let (dir, child) = (StoreDir::new(), single_test(CHILD));
        let mut strace = Command::new("strace");
        strace.args(["-f", "-o", "/dev/null", "-e"]).arg(format!("inject={calls}:{fault}:when={call}"));
        strace.arg(child.get_program()).args(child.get_args());
        strace.envs(child.get_envs().filter_map(|(name, value)| Some((name, value?))));
        strace.env(DIR, dir.path()).env(EXPORT, home.file("export"));
        let status = strace.stdout(Stdio::null()).stderr(Stdio::null()).status().expect("a process");
        if dir.file("chat.db").exists() {
            whole += 1;
        } else {
            repeated += 1;
            let imported = SqliteStore::import(dir.path(), &*export, |_| ());
            assert!(imported.is_ok(), "call {call}: {imported:?}");
        }
        let report = SqliteStore::check(dir.path(), |_| ()).expect("a report");
        assert!(report.is_sound(), "call {call}: {report:?}");
        let store = dir.open();
        assert_eq!(store.opening(), Opening::Closed, "call {call}");
        store.close_blocking();
        let mut again = Vec::new();
        SqliteStore::export_all(dir.path(), &mut again).expect("exported");
        assert_eq!(again, export, "call {call}");
        if status.success() {
            return (whole, repeated);
        }
    }
    panic!("no import succeeded");
}

#[test]
fn an_import_killed_at_any_write_leaves_a_store_or_can_be_repeated() {
    let (whole, repeated) =
        import_with_faults("pwrite64,fsync,fdatasync,/^rename,/^unlink", "signal=SIGKILL");
    assert!(whole > 1 && repeated > 20, "{whole} {repeated}");
}

#[test]
fn an_import_that_cannot_wait_for_the_disk_leaves_a_store_or_can_be_repeated() {
    let (whole, repeated) = import_with_faults("fsync,fdatasync", "error=EIO");
    assert!(whole > 1 && repeated > 2, "{whole} {repeated}");
}

/// Only an unfinished database shows that its mark and its list are those of an import.
#[test]
fn a_store_that_has_lost_its_database_is_not_replaced() {
    let (dir, export) = (StoreDir::new(), Runtime::new().expect("a runtime").block_on(small()));
    let import = || SqliteStore::import(dir.path(), &*export, |_| ());
    import().expect("imported");
    for file in fs::read_dir(dir.path()).expect("a directory") {
        let file = file.expect("a file");
        if !["chat.mark", "chat.erasures", "chat.lock"].contains(&&*file.file_name().to_string_lossy()) {
            fs::remove_file(file.path()).expect("removed");
        }
    }
    let error = import().expect_err("it has lost its database");
    assert!(matches!(error, ImportError::NotEmpty { .. }), "{error}");
    assert!(dir.file("chat.mark").exists() && dir.file("chat.erasures").exists());
    fs::write(dir.file("chat.db.new"), "unfinished").expect("written");
    import().expect("imported again");
}
