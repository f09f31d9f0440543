//! The framework of the conformance suites: cases, deviations and a test harness.
//!
//! A **case** is a plain `async fn`. Its doc comment states one rule of a contract, and the function shows that the
//! rule holds. A **subject** is what the suite certifies: a mechanism of an adapter, or a kind of store. A
//! **deviation** is a case that a subject is known to fail. The case also runs. Its test fails if the case passes, so
//! that an outdated deviation is noticed.
//!
//! The suite decides what a case works with (the stage) and under which conditions a case runs, for example with which
//! limits. Both are type parameters.
//!
//! ```no_run
//! use chat_suite::{Deviations, Outcome, Subject, Verdict, certify, check};
//!
//! /// The conditions under which a case runs, as attributes set them.
//! #[derive(Default)]
//! struct Conditions {
//!     factor: u32,
//! }
//!
//! impl Conditions {
//!     fn factor(self, factor: u32) -> Self {
//!         Self { factor }
//!     }
//! }
//!
//! type Case = chat_suite::Case<u32, Conditions>;
//!
//! chat_suite::cases!(
//!     /// The number is even.
//!     #[source = "SPEC.md, section 1"]
//!     #[with(factor(3))]
//!     async fn the_number_is_even(number: u32) -> Verdict {
//!         check(number % 2 == 0, "an even number", number)
//!     }
//! );
//!
//! struct Number(u32);
//!
//! impl Subject for Number {
//!     type Stage = u32;
//!     type Conditions = Conditions;
//!
//!     fn name(&self) -> String {
//!         self.0.to_string()
//!     }
//!
//!     fn deviations(&self) -> &Deviations {
//!         const { &Deviations::new() }
//!     }
//!
//!     fn run(&self, case: &Case) -> Outcome {
//!         match chat_suite::block_on(case.run(self.0 * case.conditions.factor)).flatten() {
//!             Ok(()) => Outcome::Passed,
//!             Err(failure) => Outcome::Failed(case.explain(&failure)),
//!         }
//!     }
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     let cases = || cases().into_iter().map(|case| case.in_group("parity")).collect();
//!     certify(cases, [Number(2), Number(4)], None)
//! }
//! ```
//!
//! `cargo test` runs each case of each subject as a test of its own: `2::parity::the_number_is_even`. The test target
//! needs `harness = false`.

mod case;
mod deviations;
mod failure;
mod harness;
mod run;

pub use case::{Case, FromStage, Running, Verdict, assert_well_formed};
pub use deviations::Deviations;
pub use failure::{Failure, check, indented};
pub use harness::{Outcome, Subject, certify, trials};
pub use run::{block_on, panic_text, within};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
