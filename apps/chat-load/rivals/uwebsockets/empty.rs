//! This package has no Rust code. See `Cargo.toml`.
