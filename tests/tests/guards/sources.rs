use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

/// The adapters.
pub(crate) const ADAPTERS: [&str; 4] = ["chat-actix", "chat-axum", "chat-tungstenite", "chat-warp"];

/// Returns the dependencies of a crate of this workspace, without those of its tests.
pub(crate) fn dependencies(name: &str) -> Result<Vec<String>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()?;
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().context("no packages")?;
    let package = packages.iter().find(|package| package["name"] == name).context("no such package")?;
    let dependencies = package["dependencies"].as_array().context("no dependencies")?;
    Ok(dependencies
        .iter()
        .filter(|dependency| dependency["kind"].is_null())
        .filter_map(|dependency| dependency["name"].as_str().map(ToOwned::to_owned))
        .collect())
}

/// Returns the folder of the sources of a crate.
pub(crate) fn crate_folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates").join(name).join("src")
}

/// Returns the Rust files of a crate, without its tests.
pub(crate) fn sources(name: &str) -> Result<Vec<(PathBuf, String)>> {
    let sources = rust_files(&crate_folder(name))?;
    assert!(!sources.is_empty(), "{name} has no sources");
    Ok(sources)
}

/// Returns the Rust files of a directory and of those below it.
pub(crate) fn rust_files(folder: &Path) -> Result<Vec<(PathBuf, String)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push((path.clone(), fs::read_to_string(&path)?));
        }
    }
    files.sort();
    Ok(files)
}
