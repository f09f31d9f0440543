//! Misuse of an upgrade does not compile.

#[test]
fn misuse_of_an_upgrade_does_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
