//! Where variables come from: the process, or a map that a test or an embedded command filled.

use std::collections::BTreeMap;
use std::ffi::OsString;

/// A source of environment variables.
pub trait Env {
    /// The value of `name`, if there is one. Empty values are the reader's business, not the source's.
    fn get(&self, name: &str) -> Option<OsString>;
}

/// The environment of this process. The only place in the product that reads it.
#[derive(Clone, Copy, Debug)]
pub struct ProcessEnv;

impl Env for ProcessEnv {
    #[expect(
        clippy::disallowed_methods,
        reason = "the only place that reads the process environment"
    )]
    fn get(&self, name: &str) -> Option<OsString> {
        std::env::var_os(name)
    }
}

/// Variables held in a map. No `Debug`: the values may be secrets.
#[derive(Clone, Default)]
pub struct MapEnv(BTreeMap<String, OsString>);

impl MapEnv {
    /// No variable at all.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `name`, replacing an earlier value.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }
}

impl Env for MapEnv {
    fn get(&self, name: &str) -> Option<OsString> {
        self.0.get(name).cloned()
    }
}

/// Two sources, one before the other: a variable that is missing or empty in `first` is taken from `then`.
#[derive(Clone, Copy)]
pub struct Layered<'a> {
    /// Asked first.
    pub first: &'a dyn Env,
    /// Asked when `first` has nothing.
    pub then: &'a dyn Env,
}

impl Env for Layered<'_> {
    fn get(&self, name: &str) -> Option<OsString> {
        self.first
            .get(name)
            .filter(|value| !value.is_empty())
            .or_else(|| self.then.get(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_layer_fills_what_is_missing_or_empty_in_the_first() {
        let first = MapEnv::new().with("A", "1").with("B", "");
        let then = MapEnv::new().with("A", "2").with("B", "2").with("C", "2");
        let env = Layered {
            first: &first,
            then: &then,
        };
        for (name, expect) in [("A", Some("1")), ("B", Some("2")), ("C", Some("2")), ("D", None)] {
            assert_eq!(env.get(name), expect.map(OsString::from), "{name}");
        }
    }
}
