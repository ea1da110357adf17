//! What is sent: one request and the answer to it, in the form of either protocol.

mod values;

use super::message::Fields;
use super::pairwise;
use std::fmt;
use values::{
    ANSWER_KINDS, DOWNLOADS, INTERIMS, KINDS, METHODS, PATHS, QUERIES, SMALL, STATUSES, TES, UPLOADS,
};

/// The protocol of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// How a request brings its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upload {
    None,
    /// Stated, and of no bytes.
    Empty,
    Length(usize),
    /// Of a length that nobody states.
    Chunks {
        length: usize,
        extended: bool,
    },
    /// With trailers behind it, which the head announces or not.
    Trailers {
        announced: bool,
    },
    /// After the server has said that it wants it; over HTTP/2 at once.
    Expect,
    /// The first half of it; the answer comes before the rest.
    Early,
    /// Of a stated length, and then the sending side is closed.
    HalfClosed,
}

/// How an answer brings its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Download {
    Length(usize),
    Chunks {
        length: usize,
        extended: bool,
    },
    /// Until the connection is closed; over HTTP/2 of a length that nobody states.
    Close,
    Trailers(&'static [Field], &'static str),
}

pub(super) type Field = (&'static str, &'static [u8]);

/// One request and its answer.
#[derive(Clone)]
pub(super) struct Case {
    pub(super) number: usize,
    pub(super) method: &'static str,
    path: &'static str,
    query: &'static str,
    kind: &'static [Field],
    pub(super) upload: Upload,
    te: &'static [Field],
    pub(super) status: u16,
    pub(super) reason: &'static [u8],
    answer_kind: &'static [Field],
    pub(super) download: Download,
    pub(super) interim: &'static [u16],
}

/// Every two choices of different kinds meet in one of them.
pub(super) fn all() -> Vec<Case> {
    let sizes = [
        METHODS.len(),
        PATHS.len(),
        QUERIES.len(),
        KINDS.len(),
        UPLOADS.len(),
        TES.len(),
        STATUSES.len(),
        ANSWER_KINDS.len(),
        DOWNLOADS.len(),
        INTERIMS.len(),
    ];
    let case = |(number, row): (usize, Vec<usize>)| Case {
        number,
        method: METHODS[row[0]],
        path: PATHS[row[1]],
        query: QUERIES[row[2]],
        kind: KINDS[row[3]],
        upload: UPLOADS[row[4]],
        te: TES[row[5]],
        status: STATUSES[row[6]].0,
        reason: STATUSES[row[6]].1,
        answer_kind: ANSWER_KINDS[row[7]],
        download: DOWNLOADS[row[8]],
        interim: INTERIMS[row[9]],
    };
    pairwise::rows(&sizes).into_iter().enumerate().map(case).collect()
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |fields: &[Field]| fields.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" ");
        write!(
            f,
            "case {}: {} {} [{} {}] {:?}; {} [{}] {:?} after {:?}",
            self.number,
            self.method,
            self.target(),
            names(self.kind),
            names(self.te),
            self.upload,
            self.status,
            names(self.answer_kind),
            self.download,
            self.interim
        )
    }
}

impl Case {
    pub(super) fn target(&self) -> String {
        format!("{}{}", self.path, self.query)
    }

    /// The fields of the request but for what only one protocol has.
    pub(super) fn fields(&self, protocol: Protocol) -> Fields {
        let mut fields = vec![("X-Case".to_owned(), self.number.to_string().into_bytes())];
        let te: &[Field] = match (protocol, self.te.is_empty()) {
            (Protocol::Http2, false) => TES[1],
            _ => self.te,
        };
        fields.extend(owned(self.kind, protocol));
        fields.extend(owned(te, protocol));
        let length = match self.upload {
            Upload::Empty => Some(0),
            Upload::Length(length) => Some(length),
            Upload::Expect | Upload::HalfClosed | Upload::Early => Some(SMALL),
            Upload::None | Upload::Chunks { .. } | Upload::Trailers { .. } => None,
        };
        if let Some(length) = length {
            fields.push(("Content-Length".into(), length.to_string().into_bytes()));
        }
        if self.upload == Upload::Expect {
            fields.push(("Expect".into(), b"100-continue".to_vec()));
        }
        if self.upload == (Upload::Trailers { announced: true }) {
            fields.push(("Trailer".into(), b"X-Up".to_vec()));
        }
        fields
    }

    /// The body of the request, as much of it as is sent.
    pub(super) fn upload_body(&self) -> Vec<u8> {
        match self.upload {
            Upload::None | Upload::Empty => Vec::new(),
            Upload::Length(length) | Upload::Chunks { length, .. } => bytes(length),
            Upload::Early => bytes(SMALL / 2),
            Upload::Trailers { .. } | Upload::Expect | Upload::HalfClosed => bytes(SMALL),
        }
    }

    pub(super) fn upload_trailers(&self) -> Fields {
        match self.upload {
            Upload::Trailers { .. } => vec![("X-Up".into(), b"1".to_vec())],
            _ => Vec::new(),
        }
    }

    /// Whether the caller says `TE: trailers`.
    pub(super) fn takes_trailers(&self) -> bool {
        !self.te.is_empty()
    }

    /// Whether it also says so to its connection, over HTTP/1.1.
    pub(super) fn lists_te(&self) -> bool {
        self.te.len() > 1
    }

    /// Whether the answer has no body, whatever its head says (RFC 9110 §6.4.1).
    pub(super) fn is_bodiless(&self) -> bool {
        self.method == "HEAD" || matches!(self.status, 204 | 304)
    }

    /// The fields of the answer to a request to this host, but for what only one protocol has.
    pub(super) fn answer_fields(&self, protocol: Protocol, host: &str) -> Fields {
        let mut fields: Fields = owned(self.answer_kind, protocol)
            .into_iter()
            .map(|(name, value)| match std::str::from_utf8(&value) {
                Ok(text) => (name, text.replace("{host}", host).into_bytes()),
                Err(_) => (name, value),
            })
            .collect();
        if let (Download::Length(length), true) = (self.download, self.status != 204) {
            fields.push(("Content-Length".into(), length.to_string().into_bytes()));
        }
        if let Download::Trailers(_, announced) = self.download
            && !announced.is_empty()
        {
            fields.push(("Trailer".into(), announced.into()));
        }
        fields
    }

    pub(super) fn answer_body(&self) -> Vec<u8> {
        match self.download {
            _ if self.is_bodiless() => Vec::new(),
            Download::Length(length) | Download::Chunks { length, .. } => bytes(length),
            Download::Close | Download::Trailers(..) => bytes(SMALL),
        }
    }

    pub(super) fn answer_trailers(&self) -> Fields {
        match self.download {
            Download::Trailers(trailers, _) if !self.is_bodiless() => owned(trailers, Protocol::Http1),
            _ => Vec::new(),
        }
    }
}

/// What a message of HTTP/2 must not hold is left out (RFC 9113 §8.2.2).
fn owned(fields: &[Field], protocol: Protocol) -> Fields {
    const OF_HTTP1: [&str; 4] = ["connection", "keep-alive", "proxy-connection", "upgrade"];
    fields
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.to_vec()))
        .filter(|(name, _)| {
            protocol == Protocol::Http1 || !OF_HTTP1.contains(&name.to_ascii_lowercase().as_str())
        })
        .collect()
}

/// Every byte is among them, the framing's own too.
fn bytes(length: usize) -> Vec<u8> {
    let start = b"\0\r\n0\r\n\r\n".iter().copied();
    start.chain((0..=255).rev()).cycle().take(length).collect()
}
