//! Misuse of an upgrade that does not compile.

#[test]
fn answering_twice_and_sessions_without_an_upgrade_do_not_compile() {
    trybuild::TestCases::new().compile_fail("ui/*.rs");
}
