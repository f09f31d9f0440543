//! The options of a process. A flag overrides the environment, which overrides the configuration file, which overrides
//! the default.

use std::env;
use std::path::Path;
use std::process::ExitCode;

use chat_core::UpgradeMode;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, CommandFactory, FromArgMatches, ValueEnum};

use crate::config::{Config, ConfigTask, Task, Upgrade};
use crate::config_file::{ConfigFile, Mistake, nearest};
use crate::links::is_service_link;
use crate::values::Values;

/// The tasks that use the options of the server.
const TASKS_WITH_OPTIONS: [&str; 2] = ["health", "config"];

/// The sources of the options of a binary. They can be read again while it runs.
#[derive(Clone, Debug)]
pub(crate) struct Sources {
    name: &'static str,
    modes: Vec<UpgradeMode>,
}

/// The options, and the source of each.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) config: Config,
    pub(crate) values: Values,
}

/// The reason why there are no options.
#[derive(Debug)]
pub(crate) enum NotLoaded {
    /// The text of `--help` or `--version`.
    Help(String),
    /// The mistakes of the operator.
    Mistakes(Vec<Mistake>),
}

impl Sources {
    pub(crate) fn new(name: &'static str, modes: &[UpgradeMode]) -> Self {
        Self { name, modes: modes.to_owned() }
    }

    /// Reads all sources.
    ///
    /// # Errors
    ///
    /// The text of the help, or all mistakes.
    pub(crate) fn read(&self) -> Result<Loaded, NotLoaded> {
        let command = command(self.name, &self.modes);
        let matches = parse(&command)?;
        let path = Config::from_arg_matches(&matches).map_err(not_loaded)?.config;
        let file = path.map(|path| ConfigFile::read(&path, &command));
        let matches = match &file {
            Some(file) => parse(&file.apply(command.clone()))?,
            None => matches,
        };
        combine(&command, &matches, file, unknown_variables(&Config::command()).collect())
    }

    /// Reads a text as the configuration file, without flags and variables.
    ///
    /// # Errors
    ///
    /// All mistakes.
    fn read_text(&self, path: &Path, text: &str) -> Result<Loaded, NotLoaded> {
        let command = command(self.name, &self.modes).mut_args(|argument| argument.env(None));
        let file = ConfigFile::parse(path, text, &command);
        let matches = file.apply(command.clone()).try_get_matches_from([self.name]).map_err(not_loaded)?;
        combine(&command, &matches, Some(file), Vec::new())
    }
}

/// Returns the content that `config print` shows for a configuration file with this text.
///
/// # Errors
///
/// All mistakes, each with its place.
pub fn print_config(modes: &[UpgradeMode], path: &Path, text: &str) -> Result<String, Vec<String>> {
    match Sources::new("chatd", modes).read_text(path, text) {
        Ok(loaded) => Ok(loaded.values.to_toml()),
        Err(NotLoaded::Help(text)) => Err(vec![text]),
        Err(NotLoaded::Mistakes(mistakes)) => Err(mistakes.iter().map(ToString::to_string).collect()),
    }
}

/// Returns the options that were parsed from all sources, or all mistakes.
fn combine(
    command: &Command,
    matches: &ArgMatches,
    mut file: Option<ConfigFile>,
    mut mistakes: Vec<Mistake>,
) -> Result<Loaded, NotLoaded> {
    let config = Config::from_arg_matches(matches).map_err(not_loaded)?;
    mistakes.extend(file.iter_mut().flat_map(|file| std::mem::take(&mut file.mistakes)));
    let mut found = config.contradictions();
    if matches!(config.task, Some(Task::Config { task: ConfigTask::Check })) {
        found.extend(config.mistakes_in_files());
    }
    mistakes.extend(found.into_iter().map(|(ids, text)| match &file {
        Some(file) => {
            let ids: Vec<_> = ids.iter().copied().filter(|id| !is_overridden(matches, id)).collect();
            file.mistake(&ids, text)
        }
        None => Mistake::new(text),
    }));
    if !mistakes.is_empty() {
        mistakes.sort_by_key(Mistake::line);
        return Err(NotLoaded::Mistakes(mistakes));
    }
    let values = Values::new(command, matches, file.as_ref());
    Ok(Loaded { config, values })
}

impl NotLoaded {
    /// Shows the help on standard output, or the mistakes on standard error. Returns the exit code.
    pub(crate) fn show(&self) -> ExitCode {
        match self {
            Self::Help(text) => crate::show(text),
            Self::Mistakes(mistakes) => {
                mistakes.iter().for_each(|mistake| crate::complain(&mistake.to_string()));
                ExitCode::from(2)
            }
        }
    }
}

fn parse(command: &Command) -> Result<ArgMatches, NotLoaded> {
    with_options_after_tasks(command.clone()).try_get_matches().map_err(not_loaded)
}

/// Returns a command in which the options of the server can also follow the tasks that use them. The help of a task
/// does not list them again.
fn with_options_after_tasks(command: Command) -> Command {
    let options = command.get_arguments().filter(|arg| !arg.is_global_set());
    let options: Vec<_> = options.map(|arg| arg.clone().global(true).hide(true)).collect();
    let help = format!("All options of the server can be given, too: see {} --help", command.get_name());
    TASKS_WITH_OPTIONS.into_iter().fold(command, |command, task| {
        command.mut_subcommand(task, |task| task.args(options.clone()).after_help(help.clone()))
    })
}

/// Returns true if a flag or a variable sets an option.
fn is_overridden(matches: &ArgMatches, id: &str) -> bool {
    matches!(matches.value_source(id), Some(ValueSource::CommandLine | ValueSource::EnvVariable))
}

#[expect(clippy::needless_pass_by_value, reason = "it is the argument of map_err")]
fn not_loaded(error: clap::Error) -> NotLoaded {
    let text = error.to_string();
    if error.use_stderr() {
        NotLoaded::Mistakes(vec![Mistake::new(first_paragraph(&text))])
    } else {
        NotLoaded::Help(text)
    }
}

/// Returns the command line of a binary whose adapter has these modes.
pub(crate) fn command(name: &'static str, modes: &[UpgradeMode]) -> Command {
    let values: Vec<PossibleValue> = Upgrade::value_variants()
        .iter()
        .filter(|upgrade| modes.contains(&upgrade.mode()))
        .filter_map(Upgrade::to_possible_value)
        .collect();
    let upgrade = PossibleValuesParser::new(values).try_map(|value| Upgrade::from_str(&value, false));
    Config::command()
        .name(name)
        .mut_arg("upgrade", |argument| argument.value_parser(upgrade))
        .mut_args(|argument| if is_set_to_nothing(&argument) { argument.env(None) } else { argument })
}

/// Returns true if the variable of an option is empty. Such a variable counts as not set.
fn is_set_to_nothing(argument: &Arg) -> bool {
    argument.get_env().and_then(env::var_os).is_some_and(|value| value.is_empty())
}

/// Returns the variables that start with `CHATD_` but are no options. A misspelt name would otherwise be ignored
/// silently.
fn unknown_variables(command: &Command) -> impl Iterator<Item = Mistake> {
    let known: Vec<_> = command.get_arguments().filter_map(|arg| arg.get_env()?.to_str()).collect();
    let is_link = |name: &str, value: &str| is_service_link(name, value, |other| env::var(other).ok());
    env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
        .filter(|(name, _)| name.starts_with("CHATD_"))
        .filter(move |(name, value)| !is_link(name, value))
        .filter_map(move |(name, _)| {
            if known.contains(&&*name) {
                return None;
            }
            let shown = name.escape_debug();
            Some(Mistake::new(match nearest(&name, known.iter().copied()) {
                Some(nearest) => format!("unknown environment variable {shown}; did you mean {nearest}?"),
                None => format!("unknown environment variable {shown}"),
            }))
        })
}

/// Returns the first paragraph of an error of clap as one line, without the usage that follows it.
pub(crate) fn first_paragraph(message: &str) -> String {
    let message = message.strip_prefix("error: ").unwrap_or(message);
    let lines: Vec<_> = message.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    // A value may have characters that change what a terminal shows. clap removes only those of ASCII.
    let mut paragraph = String::new();
    for c in lines.join(" ").chars() {
        if c.is_control() { paragraph.extend(c.escape_debug()) } else { paragraph.push(c) }
    }
    paragraph
}
