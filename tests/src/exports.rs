use anyhow::{Context, Result};
use serde_json::Value;

/// Returns the lines of an export without the ages of keys, and without the checksum, which they change.
pub fn without_ages(export: &[u8]) -> Result<Vec<Value>> {
    let lines = serde_json::Deserializer::from_slice(export).into_iter::<Value>();
    let without_ages = lines.map(|line| {
        let mut line = line?;
        let fields = line.as_object_mut().context("a line that is no object")?;
        fields.remove("age_ms");
        fields.remove("crc32");
        Ok(line)
    });
    without_ages.collect()
}
