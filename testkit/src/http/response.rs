//! What a server said.

/// Header or trailer fields in the order of the wire, names as spelt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(pub Vec<(String, String)>);

impl Fields {
    /// The first value of `name`, in any case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(own, _)| own.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Every value of `name`, in any case.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(own, _)| own.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// The head of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The status line, whole.
    pub line: String,
    /// The status code.
    pub status: u16,
    /// The header fields.
    pub headers: Fields,
}

/// How a response ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The framing said so: `Content-Length` reached, last chunk seen, or a status without a body.
    Complete,
    /// No length and no chunks: the connection was closed, cleanly, and that was the end.
    Closed,
    /// The connection was closed, cleanly for TCP, before the framing was complete.
    Truncated,
    /// The connection was reset, or ended without the close that TLS demands.
    Reset,
}

/// A response, read to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The final head.
    pub head: Head,
    /// Interim heads (1xx) before it.
    pub interim: Vec<Head>,
    /// The body without framing, as far as it came.
    pub body: Vec<u8>,
    /// The size of each chunk, when it came in chunks.
    pub chunks: Vec<usize>,
    /// The fields after the last chunk.
    pub trailers: Fields,
    /// How it ended.
    pub ending: Ending,
}

impl Response {
    /// The status code.
    pub fn status(&self) -> u16 {
        self.head.status
    }

    /// The first header value of `name`, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is not.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.text()))
    }
}

/// One piece of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes: one chunk, or what one read brought.
    Data(Vec<u8>),
    /// There is no more.
    End(Ending, Fields),
}

/// What came after the last response within a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Nothing; the connection is open.
    Silence,
    /// Bytes.
    Bytes(Vec<u8>),
    /// The peer closed the connection.
    Closed,
    /// The peer reset it.
    Reset,
}
