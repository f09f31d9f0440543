use sha2::{Digest, Sha256};

use super::RoomName;

/// The beginning of the names of direct rooms. Only the two users of such a room may be in a room of such a name.
const PREFIX: &str = "direct-";

/// The bytes of the digest in a name.
const DIGEST_BYTES: usize = 16;

impl RoomName {
    /// Returns the name of the direct room of two users, in any order. It is a digest of their ids, so each node finds
    /// the same name without a lookup, and the name has no text of a user.
    ///
    /// ```
    /// use chat_proto::RoomName;
    ///
    /// let room = RoomName::direct("ann", "bob");
    /// assert_eq!(room.as_str(), "direct-af9cd49a3223f7ef1e80052dd6e10aec");
    /// assert_eq!(room, RoomName::direct("bob", "ann"));
    /// assert!(room.is_direct());
    /// ```
    pub fn direct(one: &str, other: &str) -> Self {
        let (first, second) = if one <= other { (one, other) } else { (other, one) };
        let mut digest = Sha256::new();
        // The length in front says where the first id ends.
        digest.update((first.len() as u64).to_be_bytes());
        digest.update(first);
        digest.update(second);
        let digest = digest.finalize();
        let hexadecimal = digest.iter().take(DIGEST_BYTES).map(|byte| format!("{byte:02x}"));
        Self::trusted(&hexadecimal.fold(PREFIX.to_owned(), |name, byte| name + &byte))
    }

    /// Returns true if the name is reserved for a direct room. It says nothing about the existence of that room.
    pub fn is_direct(&self) -> bool {
        self.as_str().starts_with(PREFIX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pair_has_a_name_of_its_own() {
        let pairs = [("a", "bc"), ("ab", "c"), ("abc", ""), ("a", "a"), ("aa", ""), ("a", "b"), ("A", "b")];
        let names: std::collections::BTreeSet<_> =
            pairs.iter().map(|(one, other)| RoomName::direct(one, other)).collect();
        assert_eq!(names.len(), pairs.len());
    }

    #[test]
    fn a_name_obeys_the_rules_of_rooms() {
        for (one, other) in [("ann", "bob"), ("../x", "로비 *"), (&*"x".repeat(255), "Ann")] {
            let name = RoomName::direct(one, other);
            assert_eq!(name.as_str().parse(), Ok(name.clone()));
            assert_eq!((name.as_str().len(), name.is_direct()), (39, true));
        }
        let others = ["direct", "directory-7", "my-direct-7"];
        assert!(others.iter().all(|name| name.parse::<RoomName>().is_ok_and(|name| !name.is_direct())));
        assert!("direct-7".parse::<RoomName>().is_ok_and(|name| name.is_direct()));
    }
}
