use std::collections::BTreeSet;
use std::fmt;
use std::pin::Pin;

use crate::Failure;

/// The result of a case.
pub type Verdict = Result<(), Failure>;

/// A running case. It stays on the thread that started it.
pub type Running = Pin<Box<dyn Future<Output = Verdict>>>;

/// A value that a case takes as a parameter: a client that is connected, or a room that is open.
pub trait FromStage<S>: Sized {
    /// Makes the value. `name` is the name of the parameter.
    ///
    /// # Errors
    ///
    /// The failure of the case.
    fn from_stage(stage: &S, name: &str) -> impl Future<Output = Result<Self, Failure>>;
}

/// One rule of a contract, and the function that shows it.
///
/// `S` is the stage: the value that a case works with. `C` is the suite's own type for the conditions of a case.
pub struct Case<S, C = ()> {
    /// The subject of the case: `close` in `close::a_client_close_is_echoed`.
    pub group: &'static str,
    /// The name of the function.
    pub name: &'static str,
    /// The rule: the doc comment of the function.
    pub statement: String,
    /// The place where the rule is written, for example a section of a specification.
    pub source: &'static str,
    /// The conditions under which the case runs.
    pub conditions: C,
    run: fn(S) -> Running,
}

impl<S, C> Case<S, C> {
    /// A case without a group. The macro [`cases!`](crate::cases) calls this for each function.
    pub fn new(
        name: &'static str,
        doc: &str,
        source: &'static str,
        conditions: fn(C) -> C,
        run: fn(S) -> Running,
    ) -> Self
    where
        C: Default,
    {
        let conditions = conditions(C::default());
        Self { group: "", name, statement: doc.trim().to_owned(), source, conditions, run }
    }

    /// The case as one of a group.
    #[must_use]
    pub fn in_group(self, group: &'static str) -> Self {
        Self { group, ..self }
    }

    /// Returns group and name: `close::a_client_close_is_echoed`.
    pub fn path(&self) -> String {
        format!("{}::{}", self.group, self.name)
    }

    /// Starts the case.
    pub fn run(&self, stage: S) -> Running {
        (self.run)(stage)
    }

    /// Describes a failure to a reader who does not know the case: the rule, what was expected, where that is written,
    /// and what happened instead.
    pub fn explain(&self, failure: &Failure) -> String {
        let Failure { expected, actual, .. } = failure;
        format!(
            "{}\n  expected  {expected}\n  source    {}\n  actual    {actual}",
            self.statement, self.source
        )
    }
}

impl<S, C: fmt::Debug> fmt::Debug for Case<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case")
            .field("path", &self.path())
            .field("conditions", &self.conditions)
            .finish_non_exhaustive()
    }
}

/// Checks that each case has a path of its own, a statement that is a sentence, and a source.
///
/// # Panics
///
/// If one does not. A suite calls this in a test.
pub fn assert_well_formed<S, C>(cases: &[Case<S, C>]) {
    let mut paths = BTreeSet::new();
    for case in cases {
        let path = case.path();
        assert!(case.statement.ends_with('.'), "{path}: the statement is not a sentence: {}", case.statement);
        assert!(
            !case.source.is_empty() && !case.group.is_empty(),
            "{path}: the source or the group is missing"
        );
        assert!(paths.insert(path.clone()), "two cases have the path {path}");
    }
}

/// Declares the cases of one file, and a function `cases` that returns them.
///
/// Each item is an `async fn` from the stage to a [`Verdict`]. Its doc comment is the statement of the case. The
/// attribute `#[source = ".."]` follows; without it, the source is empty until the suite sets it. Each attribute
/// `#[with(method(value))]` calls that method on the conditions. Each parameter after the stage is made from the stage
/// by [`FromStage`], in order, before the body starts.
///
/// The macro uses the name `Case`, which must be the suite's alias of [`Case`] where the macro is called. In
/// parentheses, not in braces, the functions are formatted by `rustfmt`.
#[macro_export]
macro_rules! cases {
    ($(
        $(#[doc = $statement:literal])+
        $(#[source = $source:literal])?
        $(#[with($condition:ident($($value:tt)*))])*
        async fn $name:ident($stage:tt: $type:ty $(, $($parameters:tt)+)?) -> $verdict:ty $body:block
    )*) => {
        $(
            $(#[doc = $statement])+
            async fn $name($stage: $type) -> $verdict {
                $($crate::parameters!($stage; $($parameters)+);)?
                $body
            }
        )*

        /// The cases of this file, in their order.
        pub(super) fn cases() -> Vec<Case> {
            vec![$(Case::new(
                stringify!($name),
                concat!($($statement),+),
                concat!($($source)?),
                |conditions| conditions$(.$condition($($value)*))*,
                |stage| Box::pin($name(stage)),
            )),*]
        }
    };
}

/// Binds the parameters of a case after the stage.
#[doc(hidden)]
#[macro_export]
macro_rules! parameters {
    ($stage:tt; mut $name:ident: $type:ty $(, $($rest:tt)+)?) => {
        let mut $name = <$type as $crate::FromStage<_>>::from_stage(&$stage, stringify!($name)).await?;
        $($crate::parameters!($stage; $($rest)+);)?
    };
    ($stage:tt; $name:ident: $type:ty $(, $($rest:tt)+)?) => {
        let $name = <$type as $crate::FromStage<_>>::from_stage(&$stage, stringify!($name)).await?;
        $($crate::parameters!($stage; $($rest)+);)?
    };
}

#[cfg(test)]
mod tests {
    use crate::{Failure, FromStage, check};

    type Verdict = super::Verdict;
    type Case = super::Case<u32, Factor>;

    struct Half(u32);

    impl FromStage<u32> for Half {
        async fn from_stage(number: &u32, name: &str) -> Result<Self, Failure> {
            check(number.is_multiple_of(2), format!("an even number for `{name}`"), number)?;
            Ok(Self(number / 2))
        }
    }

    #[derive(Debug, Default)]
    struct Factor(u32);

    impl Factor {
        fn factor(self, factor: u32) -> Self {
            Self(self.0 + factor)
        }
    }

    mod parity {
        use super::*;

        crate::cases!(
            /// An even number
            /// is accepted.
            #[source = "section 1"]
            #[with(factor(2))]
            #[with(factor(3))]
            async fn an_even_number_is_accepted(number: u32) -> Verdict {
                check(number.is_multiple_of(2), "an even number", number)
            }

            /// A number is accepted.
            async fn a_number_is_accepted(_: u32) -> Verdict {
                Ok(())
            }

            /// A number has halves.
            async fn a_number_has_halves(number: u32, half: Half, mut other: Half) -> Verdict {
                other.0 += half.0;
                check(other.0 == number, number, other.0)
            }
        );
    }

    #[test]
    fn a_function_becomes_a_case_with_its_doc_comment_as_statement() {
        let [even, any, _] = &parity::cases()[..] else { panic!("three cases") };
        assert_eq!(
            (even.name, &*even.statement),
            ("an_even_number_is_accepted", "An even number is accepted.")
        );
        assert_eq!((even.source, any.source), ("section 1", ""));
        assert_eq!((even.conditions.0, any.conditions.0), (5, 0));
        let verdicts = [2, 3].map(|number| crate::block_on(even.run(number)).flatten());
        assert!(verdicts[0].is_ok());
        assert_eq!(verdicts[1].as_ref().unwrap_err().to_string(), "expected an even number, got 3");
    }

    #[test]
    fn a_parameter_is_made_from_the_stage_or_its_failure_is_the_verdict() {
        let [_, _, halves] = &parity::cases()[..] else { panic!("three cases") };
        let verdicts = [2, 3].map(|number| crate::block_on(halves.run(number)).flatten());
        assert!(verdicts[0].is_ok());
        assert_eq!(
            verdicts[1].as_ref().unwrap_err().to_string(),
            "expected an even number for `half`, got 3"
        );
    }

    #[test]
    #[should_panic(expected = "the source or the group is missing")]
    fn a_case_without_a_source_is_not_well_formed() {
        super::assert_well_formed(&parity::cases());
    }
}
