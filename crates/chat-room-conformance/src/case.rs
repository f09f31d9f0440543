use std::fmt;
use std::pin::Pin;

use chat_core::Limits;

use crate::Stage;
use crate::shown::number;

/// Characters that are shown of what was expected, and of what came.
const SHOWN: usize = 1_200;

/// What a case comes to.
pub type Verdict = Result<(), Failure>;

/// A running case.
pub type Running = Pin<Box<dyn Future<Output = Verdict>>>;

/// One sentence of what a room promises, and how it is shown.
pub struct Case {
    /// What the case is about, as in `keys::a_repeat_answers_the_first`.
    pub group: &'static str,
    /// Which part of the contract of [`Room`](chat_core::Room) it shows: the word that this begins with there.
    pub promise: &'static str,
    /// The case, as a sentence.
    pub name: &'static str,
    /// What a room does that passes.
    pub statement: &'static str,
    /// What it takes to pass that not every store has.
    pub needs: Vec<Ability>,
    limits: fn(&mut Limits),
    run: Box<dyn Fn(Stage) -> Running + Send + Sync>,
}

/// What a store may be without, if it says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ability {
    /// A room that is opened again is the same log, after a restart too.
    Lasting,
    /// Of more than [`RoomLimits::log_messages`] messages the oldest go, sooner or later.
    Retention,
    /// Of more than [`RoomLimits::log_keys`] keys the oldest are forgotten.
    KeyBound,
    /// A key is forgotten after [`RoomLimits::key_window`].
    KeyWindow,
    /// Messages can be searched for.
    Search,
}

impl Ability {
    /// Which limits of the case it is about.
    fn limits(self, limits: &Limits) -> Option<String> {
        Some(match self {
            Self::Lasting | Self::Search => return None,
            Self::Retention => format!(
                "RoomLimits::log_messages is {}, RoomLimits::log_bytes {}",
                number(limits.rooms.log_messages as u64),
                number(limits.rooms.log_bytes as u64)
            ),
            Self::KeyBound => format!("RoomLimits::log_keys is {}", number(limits.rooms.log_keys as u64)),
            Self::KeyWindow => format!("RoomLimits::key_window is {:?}", limits.rooms.key_window),
        })
    }
}

/// Why a case failed: what was expected, and what came instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What the room promises.
    pub expected: String,
    /// What it did.
    pub came: String,
}

/// Cases of one subject.
pub(crate) struct Group {
    pub(crate) name: &'static str,
    pub(crate) promise: &'static str,
    pub(crate) cases: Vec<Case>,
}

/// A case that every store is to pass.
pub(crate) fn case<F>(
    name: &'static str,
    statement: &'static str,
    run: impl Fn(Stage) -> F + Send + Sync + 'static,
) -> Case
where
    F: Future<Output = Verdict> + 'static,
{
    let run = Box::new(move |stage| Box::pin(run(stage)) as Running);
    Case { group: "", promise: "", name, statement, needs: Vec::new(), limits: |_| {}, run }
}

impl Group {
    /// The cases, each with the name of the group.
    pub(crate) fn into_cases(self) -> impl Iterator<Item = Case> {
        let Self { name, promise, cases } = self;
        cases.into_iter().map(move |case| Case { group: name, promise, ..case })
    }
}

impl Case {
    /// Group and name.
    pub fn path(&self) -> String {
        format!("{}::{}", self.group, self.name)
    }

    /// The limits of the rooms of this case.
    pub fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        (self.limits)(&mut limits);
        limits
    }

    /// Starts the case.
    pub fn run(&self, stage: Stage) -> Running {
        (self.run)(stage)
    }

    pub(crate) fn needs(mut self, ability: Ability) -> Self {
        self.needs.push(ability);
        self
    }

    pub(crate) fn with(mut self, limits: fn(&mut Limits)) -> Self {
        self.limits = limits;
        self
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case").field("path", &self.path()).field("needs", &self.needs).finish_non_exhaustive()
    }
}

impl Failure {
    /// What was expected, and what came.
    pub fn new(expected: impl fmt::Display, came: impl fmt::Display) -> Self {
        Self { expected: shortened(&expected.to_string()), came: shortened(&came.to_string()) }
    }

    /// The failure as somebody reads it who has never seen the case.
    pub fn explain(&self, case: &Case) -> String {
        let Case { statement, promise, .. } = case;
        let mut text = format!(
            "{statement}\n  expected  {}\n  as in     the contract of chat_core::Room, **{promise}**\n  came      {}",
            self.expected, self.came
        );
        for ability in &case.needs {
            if let Some(limits) = ability.limits(&case.limits()) {
                text.push_str(&format!("\n  limits    {limits}"));
            }
            text.push_str(&format!(
                "\n  unless    `without(Ability::{ability:?}, \"<why>\")`: the store is not to do this"
            ));
        }
        text
    }
}

/// Long lists of messages, and bodies of many bytes, say no more than their beginnings.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{} ... ({} bytes)", &text[..end], text.len()),
        None => text.to_owned(),
    }
}
