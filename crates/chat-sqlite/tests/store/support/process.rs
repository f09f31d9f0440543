use std::env;
use std::process::Command;

/// Set in a process that runs a single test.
const SINGLE: &str = "CHAT_SQLITE_SINGLE_TEST";

/// The command that runs one test of this program in a process of its own.
pub(crate) fn single_test(name: &str) -> Command {
    let mut command = Command::new(env::current_exe().expect("a path"));
    command.args(["--exact", name, "--nocapture", "--test-threads=1"]).env(SINGLE, name);
    command
}

/// Returns `true` in the process that [`single_test`] starts for this test.
pub(crate) fn is_single_test(name: &str) -> bool {
    env::var(SINGLE).is_ok_and(|single| single == name)
}

/// Runs a test in a process of its own and panics if it fails there.
pub(crate) fn run_single_test(name: &str) {
    let output = single_test(name).output().expect("a process");
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}
