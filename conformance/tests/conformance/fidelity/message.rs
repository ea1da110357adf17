//! A request or an answer as one side of a connection sees it, whatever protocol it came over.

use std::fmt::Write as _;

/// Fields in order, names as they came.
pub(super) type Fields = Vec<(String, Vec<u8>)>;

/// How the end of a body is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none.
    #[default]
    None,
    /// HTTP/1.1: by its length.
    Length,
    /// HTTP/1.1: in chunks, with or without extensions.
    Chunks { extended: bool },
    /// HTTP/1.1: by the end of the connection.
    Close,
    /// HTTP/2: by the end of the stream.
    Stream,
}

/// What there is to see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    /// What is no field: method, target, host and version of a request, status and reason of an answer.
    pub(super) line: Vec<(&'static str, Vec<u8>)>,
    /// Statuses of interim answers.
    pub(super) interim: Vec<u16>,
    pub(super) fields: Fields,
    pub(super) framing: Framing,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Fields,
}

impl Message {
    pub(super) fn request(method: &[u8], target: &[u8], host: &[u8]) -> Self {
        let line = vec![
            ("method", method.to_vec()),
            ("target", target.to_vec()),
            ("host", host.to_vec()),
        ];
        Self {
            line,
            ..Self::default()
        }
    }

    pub(super) fn answer(status: &[u8], reason: &[u8]) -> Self {
        Self {
            line: vec![("status", status.to_vec()), ("reason", reason.to_vec())],
            ..Self::default()
        }
    }

    /// A part of the line.
    pub(super) fn part(&mut self, name: &str) -> &mut Vec<u8> {
        let part = self.line.iter_mut().find(|(known, _)| *known == name);
        &mut part.expect("a part of the line").1
    }

    /// Whether a field is there, in any case.
    pub(super) fn has(&self, name: &str) -> bool {
        self.values(name).next().is_some()
    }

    /// The values of a field, in order.
    pub(super) fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let named = move |field: &&'a (String, Vec<u8>)| field.0.eq_ignore_ascii_case(name);
        self.fields
            .iter()
            .filter(named)
            .map(|(_, value)| value.as_slice())
    }

    /// Removes what fits, by its name in lower case.
    pub(super) fn remove(&mut self, fits: impl Fn(&str) -> bool) {
        self.fields.retain(|(name, _)| !fits(&name.to_ascii_lowercase()));
    }

    pub(super) fn add(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.fields.push((name.to_owned(), value.as_ref().to_vec()));
    }

    /// Replaces the values of a field that is there by a word, where they are as they should be.
    pub(super) fn mark(&mut self, name: &str, word: &str, fits: impl Fn(&str) -> bool) {
        for (known, value) in &mut self.fields {
            if known.eq_ignore_ascii_case(name) && std::str::from_utf8(value).is_ok_and(&fits) {
                *value = word.into();
            }
        }
    }

    /// With fields of different names in the order of their names, and those of one name in their own.
    pub(super) fn sorted(mut self) -> Self {
        self.fields.sort_by(|one, other| one.0.cmp(&other.0));
        self.trailers.sort_by(|one, other| one.0.cmp(&other.0));
        self
    }

    /// What differs; nothing where nothing does.
    pub(super) fn difference(&self, expect: &Self) -> String {
        let (got, expect) = (self.facts(), expect.facts());
        let mut text = String::new();
        for fact in got.iter().filter(|fact| !expect.contains(fact)) {
            let _ = write!(text, "\n    got      {fact}");
        }
        for fact in expect.iter().filter(|fact| !got.contains(fact)) {
            let _ = write!(text, "\n    expected {fact}");
        }
        if text.is_empty() && got != expect {
            let _ = write!(text, "\n    got {got:?}\n    expected {expect:?}");
        }
        text
    }

    fn facts(&self) -> Vec<String> {
        let mut facts: Vec<String> = Vec::new();
        for (name, value) in &self.line {
            facts.push(format!("{name} {}", value.escape_ascii()));
        }
        facts.extend(self.interim.iter().map(|status| format!("interim {status}")));
        for (kind, fields) in [("field", &self.fields), ("trailer", &self.trailers)] {
            facts.extend(fields.iter().map(|(name, value)| match value.len() {
                0..200 => format!("{kind} {name}: {}", value.escape_ascii()),
                length => format!("{kind} {name}: {length} bytes, {:x}", sum(value)),
            }));
        }
        facts.push(format!("framing {:?}", self.framing));
        facts.push(match self.body.len() {
            0..200 => format!("body {}", self.body.escape_ascii()),
            length => format!("body of {length} bytes, {:x}", sum(&self.body)),
        });
        facts
    }
}

/// Tells long values apart.
fn sum(bytes: &[u8]) -> u64 {
    let step = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}
