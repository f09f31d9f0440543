//! The command `chat-conformance`, which certifies servers of `chat.v1`.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use chat_conformance::report::{self, Results, Row};
use chat_conformance::{Address, Exec, Outcome, Report, Target, cases, preflight, run};
use clap::{CommandFactory, FromArgMatches, Parser};

/// Run the conformance cases of the protocol chat.v1 on servers
///
/// Exit status: 0 if no case failed, 1 if a case failed, 2 if there is no server or an argument is wrong.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Address of a running server, for example ws://127.0.0.1:8080/ws
    #[arg(value_name = "ADDRESS")]
    addresses: Vec<String>,

    /// Start a server with this command for each case. {addr} becomes its address, {dir} an empty directory. Can be
    /// repeated
    #[arg(long, value_name = "COMMAND")]
    exec: Vec<String>,

    /// Path of the chat on servers that --exec starts
    #[arg(long, value_name = "PATH", default_value = "/ws")]
    path: String,

    /// Run only cases whose path (group::name) contains this text. Can be repeated
    #[arg(long, value_name = "TEXT")]
    filter: Vec<String>,

    /// Run all cases even if the server does not welcome a client
    #[arg(long)]
    no_preflight: bool,

    /// List the cases with their statements and sources, and exit
    #[arg(long)]
    list: bool,

    /// Number of cases that run at the same time, 1 to 64
    #[arg(long, value_name = "NUMBER", default_value = "8",
          value_parser = clap::value_parser!(u8).range(1..=64))]
    jobs: u8,

    /// Allow servers on other machines. The suite floods the server and sends invalid data
    #[arg(long)]
    allow_remote: bool,

    /// Write the results as JSON to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Write the results as JUnit XML to this file
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,

    /// Write the results as an HTML page to this file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

fn main() -> ExitCode {
    let matches = Arguments::command().get_matches();
    let order = |name| matches.indices_of(name).into_iter().flatten().collect::<Vec<_>>();
    let order = [order("addresses"), order("exec")].concat();
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match certify(&arguments, &order) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(problem) => {
            print(&mut io::stderr(), &format!("error: {problem}\n"));
            ExitCode::from(2)
        }
    }
}

fn certify(arguments: &Arguments, order: &[usize]) -> Result<bool, String> {
    let mut cases = cases();
    cases.retain(|case| {
        let path = case.path();
        arguments.filter.is_empty() || arguments.filter.iter().any(|part| path.contains(part))
    });
    if cases.is_empty() {
        return Err("no case matches --filter; --list shows all cases".to_owned());
    }
    let mut out = io::stdout();
    if arguments.list {
        for case in &cases {
            print(&mut out, &format!("{}\n    {}\n    {}\n", case.path(), case.statement, case.source));
        }
        return Ok(true);
    }
    let targets = targets(arguments, order)?;
    if !arguments.no_preflight && !are_welcoming(&targets)? {
        return Ok(false);
    }
    let reports = run_all(&targets, &cases, arguments.jobs.into());
    let mut columns: Vec<_> = reports.into_iter().map(Vec::into_iter).collect();
    let rows = cases.into_iter().map(|case| {
        let reports = columns.iter_mut().filter_map(Iterator::next).collect();
        Row { case, reports }
    });
    let rows = rows.collect();
    let results = Results { targets: targets.iter().map(|target| target.name().to_owned()).collect(), rows };
    print(&mut out, &report::failures(&results));
    print(&mut out, &report::table(&results));
    // The summary is last, where it is easy to see.
    print(&mut out, &format!("\n{}", report::summary(&results)));
    for (file, text) in [
        (&arguments.json, report::json(&results).to_string()),
        (&arguments.junit, report::junit(&results)),
        (&arguments.html, report::html(&results)),
    ] {
        if let Some(file) = file {
            fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))?;
        }
    }
    Ok(results.is_ok())
}

/// Returns the targets in the order of the command line. `order` has the positions of the addresses, then of the
/// commands.
fn targets(arguments: &Arguments, order: &[usize]) -> Result<Vec<Box<dyn Target>>, String> {
    let mut targets: Vec<Box<dyn Target>> = Vec::new();
    for url in &arguments.addresses {
        let address = Address::new(url)?;
        if !address.is_loopback() && !arguments.allow_remote {
            return Err(format!("{url} is on another machine: pass --allow-remote if you may flood it"));
        }
        address.reach()?;
        targets.push(Box::new(address));
    }
    for command in &arguments.exec {
        targets.push(Box::new(Exec::new(command, &arguments.path)?));
    }
    if targets.is_empty() {
        return Err(
            "no server is given: pass ws://127.0.0.1:8080/ws, or --exec 'server --listen {addr}'".to_owned()
        );
    }
    let mut targets: Vec<_> = order.iter().zip(targets).collect();
    targets.sort_by_key(|(position, _)| **position);
    Ok(targets.into_iter().map(|(_, target)| target).collect())
}

/// Returns true if each target welcomes a client. Prints the reason if one does not.
fn are_welcoming(targets: &[Box<dyn Target>]) -> Result<bool, String> {
    let mut err = io::stderr();
    for target in targets {
        let Some((case, report)) = preflight(&**target) else { continue };
        if let Outcome::NoServer(problem) = &report.outcome {
            return Err(problem.clone());
        }
        let explained = report.explain_preflight(target.name(), &case);
        print(&mut err, &format!("{explained}Pass --no-preflight to run the cases anyway.\n"));
        return Ok(false);
    }
    Ok(true)
}

/// Returns the reports of all cases for each target. Prints the progress.
fn run_all(targets: &[Box<dyn Target>], cases: &[chat_conformance::Case], jobs: usize) -> Vec<Vec<Report>> {
    let (started, total) = (Instant::now(), targets.len() * cases.len());
    // Cases that wait for a timer start first.
    let mut order: Vec<usize> = (0..total).collect();
    order.sort_by_key(|number| std::cmp::Reverse(cases[number / targets.len()].conditions.needs));
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<Option<Report>>> = Mutex::new(vec![None; total]);
    let finished = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let Some(&number) = order.get(next.fetch_add(1, Ordering::Relaxed)) else {
                        return;
                    };
                    // The targets take turns, so that each has about the same load.
                    let (target, case) = (&targets[number % targets.len()], &cases[number / targets.len()]);
                    let report = run(&**target, case);
                    let count = finished.fetch_add(1, Ordering::Relaxed) + 1;
                    progress(count, total, &case.path(), target.name(), &report);
                    let mut done = done.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    done[number] = Some(report);
                }
            });
        }
    });
    let mut reports: Vec<Vec<Report>> = targets.iter().map(|_| Vec::new()).collect();
    let done = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    for (number, report) in done.into_iter().enumerate() {
        reports[number % targets.len()].extend(report);
    }
    print(
        &mut io::stderr(),
        &format!("\n{} in {:.1} s\n\n", report::counted(total), started.elapsed().as_secs_f64()),
    );
    reports
}

/// Prints one line that is overwritten on a terminal. Elsewhere, prints failures and every fiftieth case.
fn progress(count: usize, total: usize, case: &str, target: &str, report: &Report) {
    let mut err = io::stderr();
    let (verdict, problem) = match (&report.outcome, report.problem()) {
        (_, Some(problem)) => ("FAILED", format!("\n    {problem}\n")),
        (Outcome::NotRun(_), None) => ("not run", String::new()),
        (_, None) => ("passed", String::new()),
    };
    if err.is_terminal() {
        print(&mut err, &format!("\r\x1b[K[{count}/{total}] {verdict} {case} on {target}{problem}"));
    } else if !problem.is_empty() || count.is_multiple_of(50) {
        let end = if problem.is_empty() { "\n" } else { "" };
        print(&mut err, &format!("[{count}/{total}] {verdict} {case} on {target}{problem}{end}"));
    }
}

fn print(out: &mut impl Write, text: &str) {
    // The reader may be gone.
    let _unread = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
