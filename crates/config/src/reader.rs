//! Reads variables one by one and remembers everything that is wrong with them.

use std::ffi::OsString;
use std::num::{NonZeroU32, NonZeroU64};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use admission::mode::{DevOnly, Mode};

use crate::env::Env;
use crate::file::read_file;
use crate::grammar;
use crate::keys::{Key, Kind};
use crate::secret::Secret;
use crate::violation::{Violation, Violations};
use crate::warning::{LaxFlag, Warning};

/// Proof that a violation was recorded: whoever holds one has no value, and needs no text of their own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reported(());

/// A value, or the knowledge that its absence is already on the list.
pub(crate) type Read<T> = Result<T, Reported>;

/// The environment, the time, and what was found so far.
pub(crate) struct Reader<'e> {
    env: &'e dyn Env,
    now: SystemTime,
    violations: Vec<Violation>,
    warnings: Vec<Warning>,
}

impl<'e> Reader<'e> {
    pub(crate) fn new(env: &'e dyn Env, now: SystemTime) -> Self {
        Self {
            env,
            now,
            violations: Vec::new(),
            warnings: Vec::new(),
        }
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.now
    }

    /// Ends the reading: the value with the warnings, or every violation.
    pub(crate) fn finish<T>(self, value: Read<T>) -> Result<(T, Vec<Warning>), Violations> {
        match value {
            Ok(value) if self.violations.is_empty() => Ok((value, self.warnings)),
            _ => Err(Violations::new(self.violations)),
        }
    }

    pub(crate) fn warn(&mut self, warning: Warning) {
        self.warnings.push(warning);
    }

    /// Records a rule's objection.
    pub(crate) fn judge<T>(&mut self, verdict: Result<T, Violation>) -> Read<T> {
        verdict.map_err(|violation| self.report(violation))
    }

    pub(crate) fn report(&mut self, violation: Violation) -> Reported {
        self.violations.push(violation);
        Reported(())
    }

    /// The text of a variable; `None` when it is unset or empty.
    pub(crate) fn text(&mut self, key: &Key) -> Read<Option<String>> {
        let text = self.raw(key.name).map(OsString::into_string).transpose();
        self.judge(
            text.map_err(|_| Violation::Variable(key.name, "is not valid UTF-8; set it to plain text")),
        )
    }

    /// The text of a variable or of its default; `None` when it has neither.
    fn text_or_default(&mut self, key: &Key) -> Read<Option<String>> {
        let text = self.text(key)?;
        Ok(text.or_else(|| key.default.text(false).map(str::to_owned)))
    }

    /// Whether the environment itself has a value, rather than the default.
    pub(crate) fn is_set(&self, key: &Key) -> bool {
        self.raw(key.name).is_some()
    }

    fn raw(&self, name: &str) -> Option<OsString> {
        self.env.get(name).filter(|value| !value.is_empty())
    }

    /// A value that `parse` makes of the text or the default; `expected` completes "use …".
    pub(crate) fn parsed<T>(
        &mut self,
        key: &Key,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Read<Option<T>> {
        let Some(text) = self.text_or_default(key)? else {
            return Ok(None);
        };
        let value = parse(&text).ok_or_else(|| Violation::invalid("value", key, &text, expected));
        self.judge(value).map(Some)
    }

    /// Like [`Reader::parsed`], for a variable that must have a value or a default.
    pub(crate) fn required<T>(
        &mut self,
        key: &Key,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Read<T> {
        let value = self.parsed(key, expected, parse)?;
        self.present(key, value, &format!("set it to {expected}"))
    }

    /// Demands a value; `fix` completes the sentence after "is required;".
    pub(crate) fn present<T>(&mut self, key: &Key, value: Option<T>, fix: &str) -> Read<T> {
        self.judge(value.ok_or_else(|| Violation::Missing(key.name, fix.to_owned())))
    }

    /// Whether a lax flag is on, and the proof where the mode permits it, which is remembered as a warning. Where the
    /// mode is unknown, that violation is enough.
    pub(crate) fn lax(
        &mut self,
        mode: Read<Mode>,
        key: &Key,
        flag: LaxFlag,
    ) -> Read<(bool, Option<DevOnly>)> {
        match (self.flag(key)?, mode) {
            (true, Ok(Mode::Production)) => Err(self.report(Violation::Variable(
                key.name,
                "is forbidden when CARACAL_ENV=production; unset it or set it to false",
            ))),
            (true, Ok(Mode::Dev(proof))) => {
                self.warn(Warning::Lax(flag));
                Ok((true, Some(proof)))
            }
            (on, _) => Ok((on, None)),
        }
    }

    pub(crate) fn flag(&mut self, key: &Key) -> Read<bool> {
        let text = self.text_or_default(key)?.unwrap_or_default();
        let value = grammar::boolean(&text);
        self.judge(value.ok_or_else(|| Violation::invalid("boolean", key, &text, "true or false")))
    }

    /// A positive integer that fits `T`, whose largest value is `max`.
    fn integer<T: TryFrom<NonZeroU64>>(&mut self, key: &Key, max: u64) -> Read<T> {
        let text = self.text_or_default(key)?.unwrap_or_default();
        let value = grammar::positive(&text).and_then(|value| T::try_from(value).ok());
        self.judge(value.ok_or_else(|| {
            Violation::invalid("integer", key, &text, format!("a whole number from 1 to {max}"))
        }))
    }

    pub(crate) fn bytes(&mut self, key: &Key) -> Read<u64> {
        self.integer(key, i64::MAX.unsigned_abs())
    }

    pub(crate) fn count(&mut self, key: &Key) -> Read<NonZeroU32> {
        self.integer(key, u64::from(u32::MAX))
    }

    pub(crate) fn count_or_zero(&mut self, key: &Key) -> Read<u32> {
        if self.text_or_default(key)?.as_deref() == Some("0") {
            return Ok(0);
        }
        self.count(key).map(NonZeroU32::get)
    }

    /// A positive number that may be left out.
    pub(crate) fn optional_number(&mut self, key: &Key) -> Read<Option<u64>> {
        let is_set = self.is_set(key);
        is_set.then(|| self.bytes(key)).transpose()
    }

    pub(crate) fn duration(&mut self, key: &Key) -> Read<Duration> {
        let text = self.text_or_default(key)?.unwrap_or_default();
        self.duration_of(key, &text)
    }

    /// A duration whose default depends on the mode. Where the mode is unknown, production's stands in.
    pub(crate) fn duration_per_mode(&mut self, key: &Key, mode: Read<Mode>) -> Read<Duration> {
        let text = self.text(key)?;
        let default = key.default.text(matches!(mode, Ok(Mode::Dev(_))));
        self.duration_of(key, text.as_deref().or(default).unwrap_or_default())
    }

    fn duration_of(&mut self, key: &Key, text: &str) -> Read<Duration> {
        let (least, expected) = match key.kind {
            Kind::DurationOrZero => (0, "0, or a duration such as 5s, 250ms or 1m30s"),
            _ => (1, "a duration greater than 0, such as 5s, 250ms or 1m30s"),
        };
        let value = grammar::nanoseconds(text)
            .filter(|&nanoseconds| nanoseconds >= least)
            .map(|nanoseconds| Duration::from_nanos(nanoseconds.unsigned_abs()));
        self.judge(value.ok_or_else(|| Violation::invalid("duration", key, text, expected)))
    }

    /// Judges variables that existing installations set and that have no effect here, and forgets their values.
    pub(crate) fn ignored(&mut self, keys: &[&Key]) -> Read<()> {
        let mut all = Ok(());
        for key in keys {
            let this = match key.kind {
                Kind::Count => self.count(key).map(drop),
                _ => self.duration(key).map(drop),
            };
            all = all.and(this);
        }
        all
    }

    /// The entries of a list; empty when the variable has neither value nor default.
    pub(crate) fn list(&mut self, key: &Key) -> Read<Vec<String>> {
        let text = self.text_or_default(key)?.unwrap_or_default();
        Ok(grammar::list(&text).collect())
    }

    /// The path of a file.
    pub(crate) fn file(&mut self, key: &Key) -> Option<PathBuf> {
        self.raw(key.name).map(PathBuf::from)
    }

    /// The path of a directory.
    pub(crate) fn directory(&mut self, key: &Key) -> Read<PathBuf> {
        let path = self.file(key).or(key.default.text(false).map(PathBuf::from));
        self.present(key, path, "set it to a directory")
    }

    /// A secret from `NAME` or from the file that `NAME_FILE` names, never from both.
    pub(crate) fn secret(&mut self, key: &Key) -> Read<Option<Secret>> {
        let name = key.name;
        let path = self.raw(&format!("{name}_FILE"));
        let text = self.text(key)?;
        match (text, path) {
            (None, None) => Ok(None),
            (Some(text), None) => Ok(Some(Secret::new(text))),
            (None, Some(path)) => {
                let secret = secret_file(Path::new(&path));
                self.judge(secret.map_err(|problem| Violation::SecretFile(name, problem)))
                    .map(Some)
            }
            (Some(_), Some(_)) => Err(self.report(Violation::SecretTwice(name))),
        }
    }
}

/// The content of a secret's file without trailing white space, or what is wrong with the file.
fn secret_file(path: &Path) -> Result<Secret, String> {
    let bytes = read_file(path).map_err(|error| format!("cannot be read: {}", error.kind()))?;
    let mut text = String::from_utf8(bytes).map_err(|_| "is not valid UTF-8".to_owned())?;
    text.truncate(text.trim_end().len());
    if text.is_empty() {
        Err("is empty".to_owned())
    } else {
        Ok(Secret::new(text))
    }
}
