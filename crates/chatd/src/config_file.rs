//! The configuration file: TOML, whose keys are the long names of the options.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, Command};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The options that a file cannot set.
const NOT_IN_FILES: [&str; 3] = ["config", "help", "version"];

/// The similarity from which on a known name is suggested, as in clap.
const MIN_SIMILARITY: f64 = 0.7;

/// The times that lines are removed and the rest is parsed again. It bounds the time for a file that is not TOML.
const MAX_REMOVALS: usize = 20;

/// A configuration file. Its mistakes are collected, so that an operator sees all of them at once.
#[derive(Debug)]
pub(crate) struct ConfigFile {
    path: PathBuf,
    /// The options that the file sets, by the id of the argument.
    options: BTreeMap<String, FileOption>,
    pub(crate) mistakes: Vec<Mistake>,
}

/// An option in a file.
#[derive(Debug)]
struct FileOption {
    line: usize,
    values: Vec<String>,
}

/// A mistake of the operator, with its place if it is in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    place: Option<(PathBuf, usize)>,
    text: String,
}

impl Mistake {
    /// Returns the line in the file. `None` comes first in an order.
    pub(crate) fn line(&self) -> Option<usize> {
        self.place.as_ref().map(|(_, line)| *line)
    }

    /// Returns a mistake that is in no file.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { place: None, text: text.into() }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((path, line)) = &self.place {
            write!(f, "{}:{line}: ", path.display())?;
        }
        f.write_str(&self.text)
    }
}

impl ConfigFile {
    /// Reads a file with options of a command. A value with a mistake is left out.
    pub(crate) fn read(path: &Path, command: &Command) -> Self {
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(path, &text, command),
            Err(error) => {
                let text = format!("--config: cannot read {}: {error}", path.display());
                Self { path: path.to_owned(), options: BTreeMap::new(), mistakes: vec![Mistake::new(text)] }
            }
        }
    }

    pub(crate) fn parse(path: &Path, text: &str, command: &Command) -> Self {
        let mut text = text.to_owned();
        let mut mistakes = remove_lines_without_toml(&mut text);
        let (table, _) = DeTable::parse_recoverable(&text);
        let mut options = BTreeMap::new();
        // A table is a mistake. Its options are read, so that their mistakes are found, too.
        let mut unread = vec![table.get_ref()];
        while let Some(table) = unread.pop() {
            for (key, value) in table {
                let line = line_at(&text, key.span().start);
                match option(key.get_ref(), value.get_ref(), command) {
                    Ok((id, values)) => drop(options.entry(id).or_insert(FileOption { line, values })),
                    Err(mistake) => mistakes.entry(line).or_default().push(mistake),
                }
                unread.extend(tables(value.get_ref()));
            }
        }
        let at = |line, text| Mistake { place: Some((path.to_owned(), line)), text };
        let mistakes =
            mistakes.into_iter().flat_map(|(line, texts)| texts.into_iter().map(move |text| (line, text)));
        let mistakes = mistakes.map(|(line, text)| at(line, text)).collect();
        Self { path: path.to_owned(), options, mistakes }
    }

    /// Returns the command with the values of the file as its defaults.
    pub(crate) fn apply(&self, command: Command) -> Command {
        command.mut_args(|arg| match self.options.get(arg.get_id().as_str()) {
            Some(option) => arg.default_values(option.values.clone()),
            None => arg,
        })
    }

    /// Returns the file and the line that set an option.
    pub(crate) fn place(&self, id: &str) -> Option<(&Path, usize)> {
        self.options.get(id).map(|option| (&*self.path, option.line))
    }

    /// Returns a mistake at the place of the first of these options that the file sets.
    pub(crate) fn mistake(&self, ids: &[&str], text: String) -> Mistake {
        let place = ids.iter().find_map(|id| self.place(id));
        Mistake { place: place.map(|(path, line)| (path.to_owned(), line)), text }
    }
}

/// Replaces lines that are not TOML by empty ones, because the parser stops at some of them. Returns their numbers and
/// what is wrong.
fn remove_lines_without_toml(text: &mut String) -> BTreeMap<usize, Vec<String>> {
    let mut mistakes = BTreeMap::new();
    for _ in 0..MAX_REMOVALS {
        let found = mistakes.len();
        for error in DeTable::parse_recoverable(text).1 {
            let line = line_at(text, error.span().map_or(0, |span| span.start));
            mistakes.entry(line).or_insert_with(|| vec![error.message().to_owned()]);
        }
        if mistakes.len() == found {
            break;
        }
        let lines = (1..).zip(text.split('\n'));
        let kept = lines.map(|(number, line)| if mistakes.contains_key(&number) { "" } else { line });
        *text = kept.collect::<Vec<_>>().join("\n");
    }
    mistakes
}

/// Returns the number of the line with this byte.
fn line_at(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}

/// Returns the table that a value is, or the tables of `[[name]]`.
fn tables<'a>(value: &'a DeValue<'a>) -> impl Iterator<Item = &'a DeTable<'a>> {
    let items = value.as_array().into_iter().flat_map(|items| items.iter().map(Spanned::get_ref));
    std::iter::once(value).chain(items).filter_map(DeValue::as_table)
}

/// Returns the options that a file can set.
pub(crate) fn options(command: &Command) -> impl Iterator<Item = (&str, &Arg)> {
    let options = command.get_arguments().filter_map(|arg| Some((arg.get_long()?, arg)));
    options.filter(|(name, _)| !NOT_IN_FILES.contains(name))
}

/// Returns the name of the known ones that is most similar to an unknown one.
pub(crate) fn nearest<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let scored = known.into_iter().map(|name| (strsim::jaro(unknown, name), name));
    let best = scored.max_by(|(a, _), (b, _)| a.total_cmp(b));
    best.filter(|(similarity, _)| *similarity > MIN_SIMILARITY).map(|(_, name)| name)
}

/// Returns the id and the values of an option.
fn option(key: &str, value: &DeValue<'_>, command: &Command) -> Result<(String, Vec<String>), String> {
    let Some((name, arg)) = options(command).find(|(name, _)| *name == key) else {
        let key_ = key.escape_debug();
        if tables(value).next().is_some() {
            return Err(format!(
                "unknown table `{key_}`: write each option at the top level, as in `listen = \"...\"`"
            ));
        }
        let names = options(command).map(|(name, _)| name);
        return Err(match nearest(&key.replace('_', "-"), names) {
            Some(name) => format!("unknown option `{key_}`; did you mean `{name}`?"),
            None => format!("unknown option `{key_}`"),
        });
    };
    let texts = texts(arg, value).map_err(|problem| format!("{name}: {problem}"))?;
    check(name, arg, &texts).map_err(|problem| format!("{name}: {problem}"))?;
    Ok((arg.get_id().to_string(), texts))
}

/// Returns the values of an option as texts, as they would be on the command line.
fn texts(arg: &Arg, value: &DeValue<'_>) -> Result<Vec<String>, String> {
    let has_several = matches!(arg.get_action(), ArgAction::Append);
    match value {
        DeValue::Boolean(is_set) if is_flag(arg) => Ok(vec![is_set.to_string()]),
        _ if is_flag(arg) => Err("expected true or false".to_owned()),
        DeValue::Array(items) if has_several => {
            items.iter().map(|item| text(item.get_ref())).collect::<Result<Vec<_>, _>>()
        }
        DeValue::Array(_) => Err("expected one value instead of a list".to_owned()),
        value => text(value).map(|text| vec![text]),
    }
}

fn text(value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str().to_owned()),
        other => Err(format!("expected a string or an integer instead of this {}", other.type_str())),
    }
}

/// Returns true for an option without a value.
pub(crate) fn is_flag(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::SetTrue)
}

/// Checks the values with the parser of the option.
fn check(name: &str, arg: &Arg, values: &[String]) -> Result<(), String> {
    if is_flag(arg) {
        return Ok(());
    }
    // An argument without the relations of the real one to others.
    let plain = Arg::new("value")
        .long(name.to_owned())
        .value_name("VALUE")
        .action(arg.get_action().clone())
        .value_parser(arg.get_value_parser().clone());
    let plain = match arg.get_value_delimiter() {
        Some(delimiter) => plain.value_delimiter(delimiter),
        None => plain,
    };
    let shown = format!(" for '--{name} <VALUE>'");
    let words = values.iter().map(|value| format!("--{name}={value}"));
    let parsed = Command::new("file").no_binary_name(true).arg(plain).try_get_matches_from(words);
    parsed.map(drop).map_err(|error| crate::load::first_paragraph(&error.to_string()).replace(&shown, ""))
}

#[cfg(test)]
mod tests {
    use chat_core::UpgradeMode;

    use super::*;

    fn parse(text: &str) -> ConfigFile {
        ConfigFile::parse(Path::new("chatd.toml"), text, &command())
    }

    fn command() -> Command {
        crate::load::command("chatd", &[UpgradeMode::Hijack, UpgradeMode::Framework])
    }

    fn mistakes(text: &str) -> Vec<String> {
        parse(text).mistakes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_mistake_is_reported_with_its_line_and_the_nearest_name() {
        let text =
            "listen = \"127.0.0.1:0\"\nmax-conections = 5\nmax-connections = 0\necho = \"yes\"\n\n[limits]\n";
        assert_eq!(
            mistakes(text),
            [
                "chatd.toml:2: unknown option `max-conections`; did you mean `max-connections`?",
                "chatd.toml:3: max-connections: invalid value '0': 0 is not in 1..=10000000",
                "chatd.toml:4: echo: expected true or false",
                "chatd.toml:6: unknown table `limits`: write each option at the top level, as in `listen = \"...\"`",
            ]
        );
        for (text, mistake) in [
            ("config = \"other\"", "unknown option `config`"),
            ("max_connections = 1", "unknown option `max_connections`; did you mean `max-connections`?"),
            ("xyzzy = 1", "unknown option `xyzzy`"),
            ("listen = [\"a\"]", "listen: expected one value instead of a list"),
            ("listen = 1.5", "listen: expected a string or an integer instead of this float"),
            (
                "max-connections = 0x10",
                "max-connections: expected a string or an integer instead of this integer",
            ),
            ("log-format = \"xml\"", "log-format: invalid value 'xml' [possible values: text, json]"),
            ("retain = [\"30d\", \"soon\"]", "retain: invalid value 'soon': a limit is an age like"),
        ] {
            let found = mistakes(text);
            assert!(
                found.len() == 1 && found[0].starts_with(&format!("chatd.toml:1: {mistake}")),
                "{found:?}"
            );
        }
    }

    #[test]
    fn the_mistakes_in_a_table_are_reported_too() {
        let text = "max-connections = 0\n[tls]\ntls-crt = \"a\"\nlog-rate = \"all\"\n[tls.more]\necho = 1\n[[users]]\nguests = 1\n";
        let table = |name| {
            format!("unknown table `{name}`: write each option at the top level, as in `listen = \"...\"`")
        };
        assert_eq!(
            mistakes(text),
            [
                "chatd.toml:1: max-connections: invalid value '0': 0 is not in 1..=10000000",
                &format!("chatd.toml:2: {}", table("tls")),
                "chatd.toml:3: unknown option `tls-crt`; did you mean `tls-cert`?",
                "chatd.toml:4: log-rate: invalid value 'all': invalid digit found in string",
                &format!("chatd.toml:5: {}", table("more")),
                "chatd.toml:6: echo: expected true or false",
                &format!("chatd.toml:7: {}", table("users")),
                "chatd.toml:8: guests: expected true or false",
            ]
        );
    }

    #[test]
    fn a_line_that_is_not_toml_and_a_repeated_option_are_mistakes() {
        for (text, lines) in [
            ("listen\nlog-rate = \"a\"\nmemory = \"64M\necho = 1\n", vec![1, 2, 3, 4]),
            ("log-rate = 1\nlog-rate = 2\n", vec![2]),
            ("listen = \n", vec![1]),
        ] {
            let found = mistakes(text);
            for line in lines {
                let place = format!("chatd.toml:{line}: ");
                assert!(found.iter().any(|mistake| mistake.starts_with(&place)), "{text}: {found:?}");
            }
        }
    }

    /// The example has each option with its default, as a comment.
    #[test]
    #[cfg_attr(not(all(feature = "cluster", feature = "otlp")), ignore = "the example has their options too")]
    fn the_example_file_has_each_option_and_its_default() {
        let example = include_str!("../../../docs/chatd.toml");
        let is_option =
            |line: &&str| line.starts_with(|c: char| c.is_ascii_lowercase()) && line.contains(" = ");
        let set: Vec<_> =
            example.lines().filter_map(|line| line.strip_prefix('#')).filter(is_option).collect();
        let file = parse(&set.join("\n"));
        assert_eq!(file.mistakes, []);
        let command = command();
        let expected: Vec<_> = options(&command).map(|(_, arg)| arg.get_id().to_string()).collect();
        let missing: Vec<_> = expected.iter().filter(|id| !file.options.contains_key(*id)).collect();
        assert!(missing.is_empty(), "docs/chatd.toml lacks {missing:?}");
        for (name, arg) in options(&command) {
            let default: Vec<_> =
                arg.get_default_values().iter().filter_map(|value| value.to_str()).collect();
            let shown = &file.options[arg.get_id().as_str()].values;
            assert!(default.is_empty() || default == *shown, "{name}: {default:?} is shown as {shown:?}");
        }
        assert_eq!(parse(example).mistakes, []);
    }
}
