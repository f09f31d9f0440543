//! Prints the tables of the scenarios, or writes them into a document.

#![expect(clippy::print_stdout, reason = "the program prints tables")]

use std::fs;
use std::process::ExitCode;

use chat_scale::{SCENARIOS, SEED, Table, updated};

const USAGE: &str = "Usage: chat-scale [SCENARIO] [--seed NUMBER] [--update FILE]

Prints the tables of a scenario, or of all.

Options:
      --seed NUMBER   Seed of the random numbers [default: 1]
      --update FILE   Replace the tables of a document instead, after lines <!-- just scale NAME -->";

fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("{error}\n\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

/// Runs the program, and returns its output.
fn run(arguments: &[String]) -> Result<String, String> {
    let (mut scenario, mut seed, mut document) = (None, SEED, None);
    let mut arguments = arguments.iter().map(String::as_str);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument {
            "--help" | "-h" => return Ok(USAGE.to_owned()),
            "--seed" => seed = value()?.parse().map_err(|_| "the seed is not a number".to_owned())?,
            "--update" => document = Some(value()?),
            name => scenario = Some(name),
        }
    }
    let chosen = SCENARIOS.iter().filter(|(name, _)| scenario.is_none_or(|chosen| chosen == *name));
    let tables: Vec<Table> = chosen.flat_map(|(_, tables)| tables(seed)).collect();
    if tables.is_empty() {
        let names: Vec<_> = SCENARIOS.iter().map(|(name, _)| *name).collect();
        return Err(format!("no such scenario; there are {}", names.join(", ")));
    }
    if let Some(path) = document {
        let text = fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
        fs::write(path, updated(&text, &tables)).map_err(|error| format!("{path}: {error}"))?;
        return Ok(format!("{path} has the tables of seed {seed}"));
    }
    let tables: Vec<_> = tables.iter().map(|table| format!("{}\n\n{table}", table.name)).collect();
    Ok(tables.join("\n"))
}
