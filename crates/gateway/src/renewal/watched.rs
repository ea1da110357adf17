//! One set of files, and what is done when it changes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use admission::mode::Mode;
use config::{Contents, EXPIRES_SOON_DAYS, Identity, Renewable};

use super::{Shown, seconds_left};

const SECONDS_A_DAY: i64 = 86_400;

/// What is known of all sets.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// When the first of the certificates expires that callers are shown.
    pub(super) served_until: Option<SystemTime>,
    /// The same for those that servers are shown.
    pub(super) shown_until: Option<SystemTime>,
    /// Sets of files that cannot be used as they are.
    pub(super) refused: usize,
    /// The monotonic time of the last look; none where there are no files.
    pub(super) looked: Option<Duration>,
    /// Whether a certificate in use has expired.
    pub(super) expired: bool,
}

/// What became of a look: a change was put to use, or refused for the first time in these words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Looked {
    pub(super) renewed: bool,
    pub(super) refused: bool,
}

/// A set of files of any kind.
pub(super) trait Watch: Send {
    /// Whether there is anything to look at; else it is made anew only when that is asked for.
    fn has_files(&self) -> bool;

    /// Looks at the files once. A change counts when two looks found the same, or at once when it is asked for.
    fn look(&mut self, mode: Mode, now: SystemTime, asked: bool) -> Looked;

    /// Adds what is known of it, and warns of a certificate that expires soon.
    fn sum(&mut self, now: SystemTime, seen: &mut Seen);
}

/// Puts a renewed set to use, or says why it cannot be.
pub(super) type Apply<T> = Box<dyn FnMut(&T) -> Result<(), String> + Send>;

pub(super) struct Watched<T> {
    shown: Shown,
    in_use: T,
    /// What `in_use` was made of.
    made_of: Contents,
    /// What the last look found instead.
    found: Option<Contents>,
    /// Why that is not in use.
    refused: Option<String>,
    apply: Apply<T>,
    /// It could not be put to use when it was tried last.
    is_pending: bool,
    /// By certificate, the days left that were told last.
    warned: BTreeMap<PathBuf, i64>,
}

impl<T: Renewable> Watched<T> {
    /// Whoever loaded it has warned of a certificate that expires soon.
    pub(super) fn new(shown: Shown, in_use: T, now: SystemTime, apply: Apply<T>) -> Self {
        Self {
            shown,
            made_of: in_use.made_of(),
            found: None,
            refused: None,
            apply,
            is_pending: false,
            warned: in_use
                .identities()
                .into_iter()
                .map(|shown| expiry(shown, now))
                .collect(),
            in_use,
        }
    }

    /// Judges what was found, and puts to use what can be. What was refused is judged again at each look: a certificate may
    /// not be valid yet, or the process may lack something.
    fn renew(&mut self, found: Contents, mode: Mode, now: SystemTime, asked: bool) -> Looked {
        let (renewed, violations) = self.in_use.renewed(&found, mode, now);
        let mut cause = violations.map(|violations| violations.in_one_line());
        let made_of = renewed.made_of();
        let is_new = self.made_of != made_of;
        let mut looked = Looked::default();
        if is_new || asked || self.is_pending {
            let applied = (self.apply)(&renewed);
            self.is_pending = applied.is_err();
            match applied {
                Ok(()) => {
                    (self.in_use, self.made_of) = (renewed, made_of);
                    looked.renewed = is_new;
                }
                Err(why) => cause = Some(cause.map_or(why.clone(), |cause| format!("{cause}; {why}"))),
            }
        }
        if looked.renewed {
            let first = first_to_expire(&self.in_use);
            let file = first.map(|first| first.certificate_file().display());
            let days = first.map(|first| days_left(first, now));
            tracing::info!(file = ?file, days, "a certificate, key or authority that changed on disk is in use");
        }
        self.found = cause.is_some().then_some(found);
        if let Some(cause) = &cause
            && self.refused.as_ref() != Some(cause)
        {
            looked.refused = true;
            tracing::error!(
                %cause,
                "a certificate, key or authority on disk cannot be used; what was in use before stays"
            );
        }
        self.refused = cause;
        looked
    }
}

impl<T: Renewable + Send> Watch for Watched<T> {
    fn has_files(&self) -> bool {
        self.made_of != Contents::default()
    }

    fn look(&mut self, mode: Mode, now: SystemTime, asked: bool) -> Looked {
        let found = self.in_use.look();
        // Whoever asks has written everything, and means also what is not in these files: the system's authorities.
        if asked || self.found.as_ref().is_some_and(|before| *before == found) {
            return self.renew(found, mode, now, asked);
        }
        if found == self.made_of {
            self.found = None;
            if self.refused.take().is_some() {
                tracing::info!("the files hold again what is in use");
            }
        } else {
            // Perhaps half written, or one file of two: what the next look finds, too, is whole.
            self.found = Some(found);
        }
        Looked::default()
    }

    fn sum(&mut self, now: SystemTime, seen: &mut Seen) {
        seen.refused += usize::from(self.refused.is_some());
        let Some(first) = first_to_expire(&self.in_use) else {
            return;
        };
        let until = first.not_after();
        let earliest = match self.shown {
            Shown::ToCallers => &mut seen.served_until,
            Shown::ToServers => &mut seen.shown_until,
        };
        *earliest = Some(earliest.map_or(until, |known| known.min(until)));
        seen.expired |= until <= now;
        let left: BTreeMap<_, _> = self
            .in_use
            .identities()
            .into_iter()
            .map(|shown| expiry(shown, now))
            .collect();
        for (file, days) in &left {
            if *days < i64::from(EXPIRES_SOON_DAYS) && self.warned.get(file) != Some(days) {
                let file = file.display();
                tracing::warn!(%file, days, "a certificate in use expires soon, or has expired; renew it");
            }
        }
        self.warned = left;
    }
}

fn first_to_expire(in_use: &impl Renewable) -> Option<&Identity> {
    in_use
        .identities()
        .into_iter()
        .min_by_key(|identity| identity.not_after())
}

/// Its file, and the whole days until it expires.
fn expiry(identity: &Identity, now: SystemTime) -> (PathBuf, i64) {
    (identity.certificate_file().to_owned(), days_left(identity, now))
}

/// Whole days until it expires, negative once it has.
fn days_left(identity: &Identity, now: SystemTime) -> i64 {
    seconds_left(identity.not_after(), now).div_euclid(SECONDS_A_DAY)
}
