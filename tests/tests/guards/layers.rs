use anyhow::Result;

use crate::sources::{ADAPTERS, dependencies};

#[test]
fn no_crate_depends_on_a_higher_layer() -> Result<()> {
    let order = ["chat-proto", "chat-core", "chat-websocket", "chat-adapter"];
    for (height, name) in order.iter().enumerate() {
        let dependencies = dependencies(name)?;
        let higher = dependencies
            .iter()
            .filter(|d| d.starts_with("chat"))
            .find(|d| !order[..height].contains(&d.as_str()));
        assert_eq!(higher, None, "{name} depends on a higher layer");
    }
    for name in ADAPTERS {
        let dependencies = dependencies(name)?;
        assert!(
            !dependencies.iter().any(|d| d == "chat-proto"
                || d == "chatd"
                || d == "chat-embed"
                || ADAPTERS.contains(&d.as_str())),
            "{name}"
        );
    }
    Ok(())
}
