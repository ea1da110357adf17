//! What could not be written yet.

use std::collections::VecDeque;
use std::io;

use crate::spool::disk::is_full;
use crate::spool::record::{self, Record};

use super::write::Need;
use super::{Fault, Log};

/// The most bytes of refusals that are kept in memory while the disk fails.
const MAX_PARKED_REFUSALS: u64 = 256 * 1024;

/// Records in memory, oldest first.
#[derive(Debug, Default)]
pub(super) struct Parked {
    records: VecDeque<Vec<u8>>,
    bytes: u64,
}

impl Parked {
    pub(super) fn push(&mut self, record: &Record<'_>) {
        self.bytes += record.bytes.len() as u64;
        self.records.push_back(record.bytes.to_vec());
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}

impl Log {
    /// Appends the outcome of a request, after which no byte of it may leave. Its place was promised: what cannot be
    /// written now is kept and written later.
    pub(crate) fn conclude(&mut self, record: &Record<'_>) {
        if self.append_for(Need::Due, record).is_err() {
            self.bar(record.id);
            self.owed.push(record);
        }
    }

    /// Appends the event of a refusal. One that cannot be written now is kept and written later, as far as there is
    /// memory for it; false where there is none.
    pub(crate) fn note(&mut self, event: &Record<'_>) -> bool {
        if self.append(event).is_ok() {
            return true;
        }
        let fits = !self.closed && self.refusals.bytes() < MAX_PARKED_REFUSALS;
        if fits {
            self.refusals.push(event);
        }
        fits
    }

    /// Whether the disk answers, as far as it is known.
    pub(crate) const fn answers(&mut self, answers: bool) {
        self.stuck = !answers;
    }

    /// Whether anything is kept in memory alone.
    pub(crate) fn has_parked(&self) -> bool {
        !self.owed.is_empty() || !self.refusals.is_empty()
    }

    /// Tries to write what could not be written: first what was promised, then refusals. Where there is nothing, an
    /// acknowledgement is written to see whether the disk is back.
    pub(crate) fn repair(&mut self, now: i64) -> io::Result<()> {
        let is_probe = self.owed.is_empty() && self.refusals.is_empty();
        let tried = if is_probe {
            let mut buffer = Vec::new();
            self.quietly(|log| log.write(&record::ack(&mut buffer, log.shipped, now)))
        } else {
            self.write_parked(Need::Due, |log| &mut log.owed)
                .and_then(|()| self.write_parked(Need::New, |log| &mut log.refusals))
        };
        self.fault = tried.as_ref().err().map(Fault::of);
        tried
    }

    /// Writes these records. One for which there is no space holds up none that is smaller.
    fn write_parked(&mut self, need: Need, of: fn(&mut Self) -> &mut Parked) -> io::Result<()> {
        let (mut tried, mut shorter_than) = (Ok(()), usize::MAX);
        for bytes in std::mem::take(of(self)).records {
            let Ok(record) = record::decode(&bytes) else {
                continue;
            };
            if bytes.len() < shorter_than {
                let Err(error) = self.write_for(need, &record) else {
                    continue;
                };
                shorter_than = if is_full(&error) { bytes.len() } else { 0 };
                tried = Err(error);
            }
            of(self).push(&record);
        }
        tried
    }

    /// Whether what is known of a request is in memory alone.
    #[cfg(test)]
    pub(crate) fn owes(&self, id: uuid::Uuid) -> bool {
        let parked = self.owed.records.iter().chain(&self.refusals.records);
        parked
            .filter_map(|bytes| record::decode(bytes).ok())
            .any(|record| record.id == id)
    }

    /// Whether there is a place in what is kept back for an outcome that is in memory alone.
    #[cfg(test)]
    pub(crate) fn owes_what_fits(&self) -> bool {
        self.owed
            .records
            .iter()
            .any(|bytes| self.has_place_for(bytes.len() as u64))
    }
}
