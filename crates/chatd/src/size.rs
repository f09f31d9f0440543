//! Numbers of bytes in options.

/// Bytes of data that a store needs at least, for its log.
const MIN_DISK_BYTES: u64 = 32 << 20;

/// Bytes of memory with which a server can serve the longest messages to slow readers.
const MIN_MEMORY_BYTES: usize = 1 << 20;

/// Bytes per second above which a rate limits nothing that a network can carry.
const MAX_RATE: u32 = 1_000 << 20;

/// Parses a limit of the data.
pub(crate) fn disk_bytes(text: &str) -> Result<u64, &'static str> {
    bytes(text)
        .filter(|bytes| *bytes >= MIN_DISK_BYTES)
        .ok_or("a size is a number of bytes, like 500M or 20G, of at least 32M")
}

/// Parses a rate in bytes per second.
pub(crate) fn rate_of_bytes(text: &str) -> Result<u32, &'static str> {
    bytes(text)
        .and_then(|bytes| u32::try_from(bytes).ok())
        .filter(|bytes| *bytes <= MAX_RATE)
        .ok_or("a rate is a number of bytes per second, like 64K or 1M, of at most 1000M")
}

/// Parses an amount of memory in bytes.
pub(crate) fn memory_bytes(text: &str) -> Result<usize, &'static str> {
    bytes(text)
        .and_then(|bytes| usize::try_from(bytes).ok())
        .filter(|bytes| *bytes == 0 || *bytes >= MIN_MEMORY_BYTES)
        .ok_or("an amount of memory is a number of bytes, like 64M or 1G, of at least 1M, or 0")
}

/// Parses a number of bytes, perhaps with a unit.
fn bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit: u64 = match unit {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        "T" => 1 << 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, expected) in
            [("33554432", 32 << 20), ("500M", 500 << 20), (" 20G", 20 << 30), ("1T", 1 << 40)]
        {
            assert_eq!(disk_bytes(text), Ok(expected), "{text}");
        }
        for text in ["", "0", "31M", "M", "-1G", "1.5G", "20GB", "20g", "99999999999T"] {
            assert!(disk_bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rates_have_units_and_an_upper_bound() {
        for (text, expected) in [("0", 0), ("64K", 64 << 10), ("1000M", 1_000 << 20)] {
            assert_eq!(rate_of_bytes(text), Ok(expected), "{text}");
        }
        for text in ["", "-1", "K", "1001M", "4G", "fast"] {
            assert!(rate_of_bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn memory_has_units_and_a_lower_bound() {
        for (text, expected) in [("0", 0), ("1M", 1 << 20), ("2G", 2 << 30)] {
            assert_eq!(memory_bytes(text), Ok(expected), "{text}");
        }
        for text in ["", "-1", "1", "1023K", "99999999999T"] {
            assert!(memory_bytes(text).is_err(), "{text}");
        }
    }
}
