//! Where events come from: the audit stream, a spool, an export.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use admission::ports::Cause;
use backends::audit_reader::{AuditEntry, AuditReader};
use backends::component::Stage;
use config::{EvidenceAccess, ProcessEnv};
use evidence::{AuditKey, SpoolPart, Stored, read_spool};
use serde::{Deserialize, Serialize};

use crate::cli::SourceArgs;
use crate::commands::shared::now;
use crate::supervisor::Supervisor;
use crate::wiring;

/// The longest line of an export, in bytes: several times the greatest event, each byte escaped.
const MAX_LINE_BYTES: u64 = 256 * 1024;

/// Why events cannot be read, or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum SourceError {
    #[error("{0}")]
    Settings(String),
    #[error("the audit stream cannot be read: {0}; is REDIS_URL right, and may its user read the stream?")]
    Unavailable(Cause),
    #[error("--spool {}: {error}; is it the directory that AUDIT_REPLAY_DIR names, and may this user read it?", dir.display())]
    Spool { dir: PathBuf, error: io::Error },
    #[error("--file {}: {error}; give a file that `evidence export` wrote and this user may read", file.display())]
    File { file: PathBuf, error: io::Error },
    #[error("--anchors {}: {error}; give a file with what the anchor got and this user may read", file.display())]
    Anchors { file: PathBuf, error: io::Error },
    #[error("line {0} {1}")]
    Line(u64, &'static str),
    #[error("the output cannot be written: {0}")]
    Reader(io::Error),
}

/// An event, wherever it comes from.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: String,
    pub(super) data: Vec<u8>,
    pub(super) sig: Option<String>,
    /// Whether the request has ended: a spool also knows those that are under way.
    pub(super) is_finished: bool,
}

/// One line of an export.
#[derive(Serialize, Deserialize)]
struct Line {
    id: String,
    data: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sig: Option<String>,
}

impl Entry {
    /// The line of an export.
    pub(super) fn line(&self) -> String {
        let line = Line {
            id: self.id.clone(),
            // No event of ours has anything but UTF-8, and what is replaced in another one does not verify.
            data: String::from_utf8_lossy(&self.data).into_owned(),
            sig: self.sig.clone(),
        };
        // Text alone, so that it can always be written.
        let mut line = serde_json::to_string(&line).unwrap_or_default();
        line.push('\n');
        line
    }
}

impl From<AuditEntry> for Entry {
    fn from(entry: AuditEntry) -> Self {
        let AuditEntry { id, data, sig, .. } = entry;
        let is_finished = true;
        Self {
            id,
            data,
            sig,
            is_finished,
        }
    }
}

/// Where events come from, with the settings for it.
pub(super) struct Source {
    pub(super) access: EvidenceAccess,
    from: Origin,
}

enum Origin {
    Stream,
    Spool(PathBuf),
    File(PathBuf),
}

impl Source {
    /// Judges the settings. Nothing is read yet.
    pub(super) fn open(arguments: SourceArgs) -> Result<Self, SourceError> {
        let SourceArgs { spool, file } = arguments;
        let from = match (spool, file) {
            (Some(dir), _) => Origin::Spool(dir),
            (None, Some(file)) => Origin::File(file),
            (None, None) => Origin::Stream,
        };
        let access = EvidenceAccess::load(&ProcessEnv, now(), matches!(from, Origin::Stream));
        let access = access.map_err(|violations| SourceError::Settings(violations.to_string()))?;
        Ok(Self { access, from })
    }

    /// The key of signatures, where it is set. Events in a spool are not signed yet.
    pub(super) fn audit_key(&self) -> Result<Option<AuditKey>, SourceError> {
        let key = self
            .access
            .audit_key
            .as_ref()
            .filter(|_| !matches!(self.from, Origin::Spool(_)));
        let key = key.map(|key| AuditKey::new(key.as_bytes())).transpose();
        key.map_err(|error| SourceError::Settings(format!("AUDIT_HMAC_KEY: {error}")))
    }

    /// The spool to be read, if it is one.
    pub(super) fn spool(&self) -> Option<&Path> {
        match &self.from {
            Origin::Spool(dir) => Some(dir),
            Origin::Stream | Origin::File(_) => None,
        }
    }

    /// Gives every event that there is to `take`, oldest first as far as the source has an order, and of each line of an export
    /// that is none what is wrong with it.
    pub(super) async fn each(
        &mut self,
        mut take: impl FnMut(Result<Entry, SourceError>) -> Result<(), SourceError>,
    ) -> Result<(), SourceError> {
        match &self.from {
            Origin::Spool(dir) => spool(dir, |entry| take(Ok(entry))).map(drop),
            Origin::File(file) if file.as_os_str() == "-" => lines(file, io::stdin().lock(), take),
            Origin::File(file) => match File::open(file) {
                Ok(opened) => lines(file, BufReader::new(opened), take),
                Err(error) => Err(SourceError::File {
                    file: file.clone(),
                    error,
                }),
            },
            Origin::Stream => {
                let mut stream = Stream::connect(&self.access).await?;
                let mut after = AuditReader::START.to_owned();
                loop {
                    let entries = stream
                        .reader
                        .after(&after)
                        .await
                        .map_err(SourceError::Unavailable)?;
                    let Some(last) = entries.last() else { return Ok(()) };
                    after.clone_from(&last.entry);
                    entries.into_iter().try_for_each(|entry| take(Ok(entry.into())))?;
                }
            }
        }
    }
}

/// The audit stream, with what must run for its connection.
pub(super) struct Stream {
    pub(super) reader: AuditReader,
    _supervisor: Supervisor,
}

impl Stream {
    pub(super) async fn connect(access: &EvidenceAccess) -> Result<Self, SourceError> {
        let Some(redis) = &access.redis else {
            return Err(SourceError::Settings("REDIS_URL is required".to_owned()));
        };
        let component = wiring::redis(redis).map_err(|error| SourceError::Settings(error.to_string()))?;
        let supervisor = Supervisor::new();
        for task in component.tasks {
            match task.stage {
                Stage::Background | Stage::Delivery => supervisor.background(task.name, task.run),
                Stage::Foundation => supervisor.foundation(task.name, task.run),
            }
        }
        let connected = AuditReader::connect(&component.port, redis.dial_timeout + redis.read_timeout).await;
        Ok(Self {
            reader: connected.map_err(SourceError::Unavailable)?,
            _supervisor: supervisor,
        })
    }
}

/// Gives every event of a spool to `take`, and says what there is of each process.
pub(super) fn spool(
    dir: &Path,
    mut take: impl FnMut(Entry) -> Result<(), SourceError>,
) -> Result<Vec<SpoolPart>, SourceError> {
    let mut taken = Ok(());
    let read = read_spool(dir, &mut |stored| {
        let Stored {
            id,
            data,
            is_finished,
        } = stored;
        if taken.is_ok() {
            taken = take(Entry {
                id: id.to_string(),
                data,
                sig: None,
                is_finished,
            });
        }
    });
    let dir = dir.to_owned();
    let parts = read.map_err(|error| SourceError::Spool { dir, error })?;
    taken.map(|()| parts)
}

/// Gives every checkpoint that the anchor got to `take`: the lines as they are.
pub(super) fn anchored(file: &Path, mut take: impl FnMut(&[u8])) -> Result<(), SourceError> {
    let failed = |error| SourceError::Anchors {
        file: file.to_owned(),
        error,
    };
    let mut lines = BufReader::new(File::open(file).map_err(failed)?);
    let mut text = Vec::new();
    while next_line(&mut lines, &mut text).map_err(failed)? {
        let line = text.trim_ascii_end();
        if !line.is_empty() {
            take(line);
        }
    }
    Ok(())
}

/// Reads a line, or says that there is none. One that is too long is read as far as it may go, and the rest is skipped.
fn next_line(lines: &mut impl BufRead, text: &mut Vec<u8>) -> io::Result<bool> {
    text.clear();
    let read = lines.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', text)?;
    if read as u64 == MAX_LINE_BYTES && !text.ends_with(b"\n") {
        lines.skip_until(b'\n')?;
    }
    Ok(read > 0)
}

fn lines(
    file: &Path,
    mut lines: impl BufRead,
    mut take: impl FnMut(Result<Entry, SourceError>) -> Result<(), SourceError>,
) -> Result<(), SourceError> {
    let mut text = Vec::new();
    for number in 1.. {
        let is_line = next_line(&mut lines, &mut text).map_err(|error| SourceError::File {
            file: file.to_owned(),
            error,
        })?;
        if !is_line {
            break;
        }
        take(read_line(&text).map_err(|why| SourceError::Line(number, why)))?;
    }
    Ok(())
}

/// The event in a line of an export, or what is wrong with the line.
fn read_line(text: &[u8]) -> Result<Entry, &'static str> {
    if text.trim_ascii().is_empty() {
        return Err("is empty");
    }
    let line: Result<Line, _> = serde_json::from_slice(text);
    let Line { id, data, sig } = line.map_err(|error| match error.is_eof() {
        true => "ends in the middle",
        false => "is no line of an export",
    })?;
    Ok(Entry {
        id,
        data: data.into_bytes(),
        sig,
        is_finished: true,
    })
}
