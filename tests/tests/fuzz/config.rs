use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use chat_core::UpgradeMode;
use chat_tests::fuzz::check_inputs;

const FILE: &str = "chatd.toml";

fn print(text: &str) -> Result<String, Vec<String>> {
    chatd::print_config(&[UpgradeMode::Hijack, UpgradeMode::Framework], Path::new(FILE), text)
}

#[test]
fn a_printed_configuration_loads_as_the_same_one_and_a_mistake_has_a_line_of_the_file() -> Result<()> {
    check_inputs("config", 500, |input| {
        let Ok(text) = std::str::from_utf8(input) else { return Ok(()) };
        let printed = match print(text) {
            Ok(printed) => printed,
            Err(mistakes) => {
                ensure!(!mistakes.is_empty(), "refused without a mistake");
                return mistakes.iter().try_for_each(|mistake| check_place(mistake, text));
            }
        };
        // A secret is not printed.
        if printed.contains(" is hidden (") {
            return Ok(());
        }
        let again = match print(&printed) {
            Ok(again) => again,
            Err(mistakes) => bail!("{printed} is refused: {mistakes:?}"),
        };
        ensure!(values(&again) == values(&printed), "{printed} is printed as {again}");
        // A comment and white space change nothing. A carriage return is only valid right before a line feed.
        let spaced = text.replace("\r\n", "\n").replace('\n', " \n\n# max-connections = 1\n");
        if !text.contains("\"\"\"") && !text.contains("'''") && !text.contains('[') {
            let spaced = print(&spaced).ok().context("refused with comments")?;
            ensure!(values(&spaced) == values(&printed), "{spaced} with comments");
        }
        Ok(())
    })
}

/// Returns the lines without the sources of the values.
fn values(printed: &str) -> Vec<&str> {
    printed.lines().map(|line| line.rsplit_once("  # ").map_or(line, |(value, _)| value)).collect()
}

/// Checks the line of a mistake, and that it is one line for a terminal.
fn check_place(mistake: &str, text: &str) -> Result<()> {
    ensure!(!mistake.contains(|c: char| c.is_control() && c != '\n'), "{mistake:?} is not escaped");
    let place = mistake.strip_prefix(FILE).and_then(|rest| rest.strip_prefix(':')?.split_once(": "));
    let Some((line, problem)) = place else { bail!("{mistake:?} has no place") };
    let lines = text.split('\n').count();
    ensure!((1..=lines).contains(&line.parse::<usize>()?), "{mistake:?}, but the file has {lines} lines");
    ensure!(!problem.is_empty(), "{mistake:?} says nothing");
    Ok(())
}
