/// The cases that a subject is known to fail, each with the reason.
#[derive(Clone, Debug, Default)]
pub struct Deviations(Vec<(&'static str, &'static str)>);

impl Deviations {
    /// No deviations.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds the case `path`, for example `close::a_client_close_is_echoed`.
    pub fn add(&mut self, path: &'static str, reason: &'static str) {
        self.0.push((path, reason));
    }

    /// Returns the reason why this case is expected to fail, or `None` if it is expected to pass.
    pub fn reason(&self, path: &str) -> Option<&'static str> {
        self.0.iter().find(|(listed, _)| *listed == path).map(|(_, reason)| *reason)
    }

    /// Returns the problems of the list itself: for each entry that names no case or is listed twice, its path and the
    /// problem.
    pub fn problems(&self, paths: &[String]) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        for (index, (path, _)) in self.0.iter().enumerate() {
            if !paths.iter().any(|known| known == path) {
                let nearest = nearest(path, paths);
                problems.push((*path, format!("no case has this path: did you mean {nearest}?")));
            } else if self.0[..index].iter().any(|(earlier, _)| earlier == path) {
                problems.push((*path, "the deviation is listed twice: remove one".to_owned()));
            }
        }
        problems
    }
}

/// The known path that is most similar to `path`.
fn nearest<'a>(path: &str, paths: &'a [String]) -> &'a str {
    paths.iter().min_by_key(|known| strsim::levenshtein(path, known)).map_or("", String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deviation_that_names_no_case_or_is_listed_twice_is_a_problem() {
        let paths = ["close::a_client_close_is_echoed", "keys::a_key_is_kept"].map(str::to_owned);
        let mut deviations = Deviations::new();
        for path in ["close::client_close_echoed", "keys::a_key_is_kept", "keys::a_key_is_kept"] {
            deviations.add(path, "a reason");
        }
        let problems = deviations.problems(&paths);
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].1.contains("close::a_client_close_is_echoed"), "{problems:?}");
        assert!(problems[1].1.contains("twice"), "{problems:?}");
        assert_eq!(nearest("a_client_close_is_echoed", &paths), paths[0]);
    }
}
