//! The effective values of the options, for `config print` and for a reload.

use std::fmt::Write;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::config_file::{ConfigFile, is_flag, options};

/// The effective values of all options.
#[derive(Clone, Debug)]
pub(crate) struct Values(Vec<Value>);

#[derive(Clone, Debug)]
struct Value {
    /// The long name of the option.
    option: String,
    texts: Vec<String>,
    form: Form,
    source: String,
    /// The value that an option has if it is not set, as the help shows it.
    default: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Flag,
    One,
    Several,
    /// A value that is not shown.
    Secret,
}

impl Values {
    pub(crate) fn new(command: &Command, matches: &ArgMatches, file: Option<&ConfigFile>) -> Self {
        let value = |(name, arg): (&str, &Arg)| {
            let id = arg.get_id().as_str();
            let texts = matches.get_raw(id).into_iter().flatten();
            let form = match arg.get_action() {
                _ if arg.is_hide_env_values_set() => Form::Secret,
                _ if is_flag(arg) => Form::Flag,
                ArgAction::Append => Form::Several,
                _ => Form::One,
            };
            let source = match (matches.value_source(id), file.and_then(|file| file.place(id))) {
                (Some(ValueSource::CommandLine), _) => format!("--{name}"),
                (Some(ValueSource::EnvVariable), _) => {
                    arg.get_env().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
                }
                (_, Some((path, line))) => format!("{}:{line}", path.display()),
                (_, None) => "default".to_owned(),
            };
            let texts = texts.map(|text| text.to_string_lossy().into_owned()).collect();
            Value { option: name.to_owned(), texts, form, source, default: default(arg) }
        };
        Self(options(command).map(value).collect())
    }

    /// Returns the values as a configuration file, with the source of each. Secrets are left out.
    pub(crate) fn to_toml(&self) -> String {
        let mut text = String::new();
        for Value { option, texts, form, source, default } in &self.0 {
            let shown: Vec<_> = texts.iter().map(|text| toml_value(text, *form)).collect();
            let line = match (form, &*shown) {
                (_, []) => format!("# {option} is not set; default: {default}"),
                (Form::Secret, _) => format!("# {option} is hidden ({source})"),
                (Form::Several, several) => format!("{option} = [{}]  # {source}", several.join(", ")),
                (Form::Flag | Form::One, [value, ..]) => format!("{option} = {value}  # {source}"),
            };
            let _written = writeln!(text, "{line}");
        }
        text
    }

    /// Returns the options whose values differ.
    pub(crate) fn changed<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a str> {
        let pairs = self.0.iter().zip(&other.0);
        pairs.filter(|(one, other)| one.texts != other.texts).map(|(one, _)| &*one.option)
    }

    /// Takes over the values of the options that are accepted.
    pub(crate) fn accept(&mut self, other: &Self, is_accepted: impl Fn(&str) -> bool) {
        for (value, other) in self.0.iter_mut().zip(&other.0) {
            if is_accepted(&value.option) {
                value.clone_from(other);
            }
        }
    }
}

/// Returns the default that the help of an option names.
fn default(arg: &Arg) -> String {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let named = help.rsplit_once("[default: ").and_then(|(_, default)| default.strip_suffix(']'));
    named.unwrap_or("none").to_owned()
}

/// Returns a value in the form of TOML. The query of a URL may have a secret.
fn toml_value(text: &str, form: Form) -> String {
    let text = match text.split_once("://").and_then(|_| text.split_once('?')) {
        Some((url, _)) => url,
        None => text,
    };
    // A number with a sign or zeros in front of it is a text, because TOML has another form for it.
    if form == Form::Flag || text.parse::<u64>().is_ok_and(|number| number.to_string() == text) {
        return text.to_owned();
    }
    // A JSON string is also a TOML string, except that TOML escapes one more character.
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}
