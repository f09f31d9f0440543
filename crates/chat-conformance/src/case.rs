use std::fmt;
use std::pin::Pin;

use chat_core::Limits;

use crate::{Failure, Stage};

/// What a case comes to.
pub type Verdict = Result<(), Failure>;

/// A running case. It stays on the thread that started it.
pub type Running = Pin<Box<dyn Future<Output = Verdict>>>;

/// One sentence of the contract, and how it is shown.
pub struct Case {
    /// What the case is about, as in `close::client_close_is_echoed`.
    pub group: &'static str,
    /// The case, as a sentence.
    pub name: &'static str,
    /// What a server does that passes.
    pub statement: &'static str,
    /// Where that is written: sections of PROTOCOL.md and of RFCs.
    pub source: &'static str,
    /// What it needs besides an address.
    pub needs: Needs,
    /// Where in the code to look when it fails.
    pub look: &'static str,
    /// Why what is said in it differs from run to run, if it does.
    pub race: Option<&'static str>,
    limits: fn(&mut Limits),
    run: Box<dyn Fn(Stage) -> Running + Send + Sync>,
}

/// What a case needs of a server besides its address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Needs {
    /// Nothing.
    #[default]
    Address,
    /// A server of its own: with short times where they can be set, with the protocol's otherwise.
    Fresh,
    /// A server of its own that can be told to drain.
    Drain,
    /// A server of its own with these very limits.
    Limits,
}

/// Cases of one subject.
pub(crate) struct Group {
    pub(crate) name: &'static str,
    pub(crate) look: &'static str,
    pub(crate) cases: Vec<Case>,
}

impl Group {
    /// The cases, each with what it shares with the others.
    pub(crate) fn into_cases(self) -> impl Iterator<Item = Case> {
        let Self { name, look, cases } = self;
        cases.into_iter().map(move |case| case.of(name, look))
    }
}

/// A case that needs nothing but an address.
pub(crate) fn case<F>(
    name: &'static str,
    statement: &'static str,
    source: &'static str,
    run: impl Fn(Stage) -> F + Send + Sync + 'static,
) -> Case
where
    F: Future<Output = Verdict> + 'static,
{
    let run = Box::new(move |stage| Box::pin(run(stage)) as Running);
    Case {
        group: "",
        name,
        statement,
        source,
        needs: Needs::Address,
        look: "",
        race: None,
        limits: |_| {},
        run,
    }
}

impl Case {
    /// Group and name.
    pub fn path(&self) -> String {
        format!("{}::{}", self.group, self.name)
    }

    /// The limits of a server that is started for this case.
    pub fn limits(&self) -> Limits {
        // Some mechanisms hold a broken connection for as long as a close may take.
        let mut limits = Limits::default().with(|limits| {
            limits.connection.close_timeout = std::time::Duration::from_millis(400);
        });
        (self.limits)(&mut limits);
        limits
    }

    /// Starts the case.
    pub fn run(&self, stage: Stage) -> Running {
        (self.run)(stage)
    }

    /// The case as one of a group.
    pub(crate) fn of(self, group: &'static str, look: &'static str) -> Self {
        Self { group, look, ..self }
    }

    pub(crate) fn needs(mut self, needs: Needs) -> Self {
        self.needs = needs;
        self
    }

    /// What is said in it is not the same each time, for this reason.
    pub(crate) fn race(mut self, reason: &'static str) -> Self {
        self.race = Some(reason);
        self
    }

    /// Runs on a server of its own, with other limits where they can be set.
    pub(crate) fn with(mut self, limits: fn(&mut Limits)) -> Self {
        self.limits = limits;
        self.needs = self.needs.max(Needs::Fresh);
        self
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case").field("path", &self.path()).field("needs", &self.needs).finish_non_exhaustive()
    }
}
