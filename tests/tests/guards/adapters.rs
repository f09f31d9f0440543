use anyhow::Result;
use syn::visit::{self, Visit};

use crate::sources::{ADAPTERS, sources};

#[test]
fn adapters_hold_no_policy() -> Result<()> {
    for name in ADAPTERS {
        for (path, source) in sources(name)? {
            assert_eq!(policies(&source)?, Vec::<String>::new(), "{}", path.display());
        }
    }
    Ok(())
}

#[test]
fn a_number_a_duration_a_close_code_json_or_a_room_in_an_adapter_is_found() -> Result<()> {
    for broken in [
        "const SIZE: usize = 64 * 1024;",
        "fn f() { wait(15); }",
        "fn f() -> Duration { Duration::from_secs(1) }",
        "const WAIT: std::time::Duration = std::time::Duration::new(1, 0);",
        "fn f() { tokio::time::sleep(x); }",
        "fn f() { close(4000); }",
        "fn f() -> CloseCode { CloseCode::Normal }",
        "fn f() { serde_json::json!({}); }",
        "use chat_core::RoomName;",
        "const BODY: &str = \"{\\\"error\\\":1}\";",
    ] {
        assert_ne!(policies(broken)?, Vec::<String>::new(), "{broken}");
    }
    assert_eq!(policies("fn f(x: &[u8]) -> bool { x.len() > 1 }")?, Vec::<String>::new());
    Ok(())
}

fn policies(source: &str) -> Result<Vec<String>> {
    let mut policy = Policy(Vec::new());
    policy.visit_file(&syn::parse_str(source)?);
    Ok(policy.0)
}

/// Finds decisions that an adapter must not make.
struct Policy(Vec<String>);

impl<'ast> Visit<'ast> for Policy {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        let is_test = module.attrs.iter().any(|attribute| attribute.path().is_ident("cfg"));
        if !is_test {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_ident(&mut self, ident: &'ast syn::Ident) {
        let name = ident.to_string();
        let decided_elsewhere =
            ["Instant", "sleep", "timeout", "interval", "json", "serde_json", "RoomName", "Event"];
        if decided_elsewhere.contains(&name.as_str()) {
            self.0.push(name);
        }
    }

    fn visit_expr_path(&mut self, path: &'ast syn::ExprPath) {
        let names: Vec<_> = path.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if names.iter().any(|name| name == "Duration") && !names.iter().any(|name| name == "ZERO") {
            self.0.push(names.join("::"));
        }
        if names.len() > 1 && names.iter().any(|name| name == "CloseCode") {
            self.0.push(names.join("::"));
        }
        visit::visit_expr_path(self, path);
    }

    fn visit_attribute(&mut self, _: &'ast syn::Attribute) {
        // Numbers and durations in documentation are no policy.
    }

    fn visit_lit_int(&mut self, literal: &'ast syn::LitInt) {
        if !matches!(literal.base10_digits(), "0" | "1") {
            self.0.push(literal.to_string());
        }
    }

    fn visit_lit_str(&mut self, literal: &'ast syn::LitStr) {
        if literal.value().trim_start().starts_with(['{', '[']) {
            self.0.push(literal.value());
        }
    }
}
