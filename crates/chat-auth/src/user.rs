use chat_core::{InvalidUser, User};

/// Characters of a user's name.
const MAX_NAME_CHARS: usize = 32;

/// The name of a user whose name and id cannot be shown.
const UNNAMED: &str = "user";

/// Returns a user with the id of another system. A name that the chat does not allow is shortened, or replaced by the
/// id, so that no user is locked out because of a name.
pub(crate) fn named(id: &str, name: Option<&str>) -> Result<User, InvalidUser> {
    let shorten =
        |name: &str| name.trim().chars().take(MAX_NAME_CHARS).collect::<String>().trim_end().to_owned();
    let names = name.into_iter().chain([id]).map(shorten).chain([UNNAMED.to_owned()]);
    let mut result = Err(InvalidUser::Id);
    for name in names {
        result = User::new(id, &name);
        if !matches!(result, Err(InvalidUser::Name(_))) {
            break;
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_not_allowed_is_shortened_or_replaced() {
        let long = "A name with more than thirty-two characters";
        for (id, name, expected) in [
            ("7", Some("Ann"), "Ann"),
            ("7", Some(long), "A name with more than thirty-two"),
            ("7", Some("\u{202e}nnA"), "7"),
            ("7", None, "7"),
            ("\u{ad}7", Some(""), "user"),
        ] {
            assert_eq!(
                named(id, name).map(|user| user.name().to_owned()).as_deref(),
                Ok(expected),
                "{name:?}"
            );
        }
        assert_eq!(named("", Some("Ann")), Err(InvalidUser::Id));
    }
}
