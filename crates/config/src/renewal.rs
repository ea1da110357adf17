//! Certificates, keys and authorities that change on disk while the process runs.

use std::time::SystemTime;

use admission::mode::Mode;

use crate::env::MapEnv;
use crate::file::Contents;
use crate::identity::Identity;
use crate::reader::{Read, Reader};
use crate::violation::Violations;

/// A part of the configuration that is made of files, and can be made anew when they have changed.
pub trait Renewable: Sized {
    /// What was found in its files when it was made.
    fn made_of(&self) -> Contents;

    /// What is in its files now. Nothing is judged.
    fn look(&self) -> Contents {
        self.made_of().read_again()
    }

    /// The same made of what a look found, judged as at start: each pair, and each file of authorities, by itself. One that
    /// cannot be used stays as it is in `self`, and why is said beside.
    fn renewed(&self, contents: &Contents, mode: Mode, now: SystemTime) -> (Self, Option<Violations>);

    /// The certificates in it that others are shown.
    fn identities(&self) -> Vec<&Identity>;
}

/// Judges without variables. How long a certificate is still valid is said by whoever renews it.
pub(crate) fn judged<T>(now: SystemTime, read: impl FnOnce(&mut Reader<'_>) -> T) -> (T, Option<Violations>) {
    let no_variables = MapEnv::new();
    let mut reader = Reader::new(&no_variables, now);
    let value = read(&mut reader);
    let violations = reader.finish(Ok(())).err();
    (value, violations)
}

/// What was read anew, or else what there is.
pub(crate) fn or_kept<T: Clone>(read: Read<T>, kept: &T) -> T {
    read.unwrap_or_else(|_reported| kept.clone())
}
