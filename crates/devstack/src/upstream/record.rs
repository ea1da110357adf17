//! What the upstream received.

use std::collections::VecDeque;

use bytes::Bytes;

/// One request as it came over the wire.
#[derive(Clone, Debug)]
pub struct Recorded {
    number: u64,
    head: Bytes,
    body: Option<BodySeen>,
}

/// A body that arrived whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodySeen {
    /// Its length in bytes.
    pub length: u64,
    /// Its SHA-256 in lower-case hexadecimal.
    pub sha256: String,
    /// The body itself, when it is UTF-8 and at most 4 KiB long.
    pub text: Option<String>,
}

impl Recorded {
    /// The bytes of the head, up to and including the empty line.
    #[must_use]
    pub fn head(&self) -> &Bytes {
        &self.head
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> String {
        method_and_target(&self.head).0
    }

    /// The request target, byte for byte (ISO 8859-1).
    #[must_use]
    pub fn target(&self) -> String {
        method_and_target(&self.head).1
    }

    /// Every field in order, names in their spelling, values byte for byte (ISO 8859-1)
    /// without the space around them.
    #[must_use]
    pub fn headers(&self) -> Vec<(String, String)> {
        fields(&self.head).collect()
    }

    /// Every value of a field, whose name is compared without regard to case.
    #[must_use]
    pub fn header(&self, name: &str) -> Vec<String> {
        fields(&self.head)
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .collect()
    }

    /// The body, once it has been read to its end.
    #[must_use]
    pub fn body(&self) -> Option<&BodySeen> {
        self.body.as_ref()
    }
}

/// Method and target of a head.
pub(super) fn method_and_target(head: &[u8]) -> (String, String) {
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let mut words = line.trim_ascii_end().splitn(2, |byte| *byte == b' ');
    let method = words.next().unwrap_or_default();
    let rest = words.next().unwrap_or_default();
    let target_end = rest.iter().rposition(|byte| *byte == b' ').unwrap_or(rest.len());
    (latin1(method), latin1(rest.get(..target_end).unwrap_or_default()))
}

/// The fields of a head.
pub(super) fn fields(head: &[u8]) -> impl Iterator<Item = (String, String)> {
    head.split(|byte| *byte == b'\n').skip(1).filter_map(|line| {
        let colon = memchr::memchr(b':', line)?;
        let (name, value) = line.split_at_checked(colon)?;
        Some((latin1(name), latin1(value.get(1..)?.trim_ascii())))
    })
}

/// Every byte as the character of its number, so that nothing is lost.
fn latin1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// The last requests.
pub(super) struct Records {
    room: usize,
    next: u64,
    kept: VecDeque<Recorded>,
}

impl Records {
    pub(super) fn new(room: usize) -> Self {
        Self {
            room,
            next: 0,
            kept: VecDeque::new(),
        }
    }

    /// Keeps a head, dropping the oldest, and returns its number.
    pub(super) fn add(&mut self, head: &Bytes) -> u64 {
        let number = self.next;
        self.next += 1;
        if self.room > 0 {
            if self.kept.len() >= self.room {
                self.kept.pop_front();
            }
            self.kept.push_back(Recorded {
                number,
                head: head.clone(),
                body: None,
            });
        }
        number
    }

    /// Notes the body of a request that is still kept.
    pub(super) fn add_body(&mut self, number: u64, body: &BodySeen) {
        if let Some(kept) = self.kept.iter_mut().rev().find(|kept| kept.number == number) {
            kept.body = Some(body.clone());
        }
    }

    pub(super) fn all(&self) -> Vec<Recorded> {
        self.kept.iter().cloned().collect()
    }

    pub(super) fn last(&self) -> Option<Recorded> {
        self.kept.back().cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_byte_for_byte() {
        let head = b"GET /a b%2f\xe9?x#y HTTP/1.1\r\nX-One: 1\r\nx-ONE:  \xe9 \r\nnocolon\r\n\r\n";
        let record = Recorded {
            number: 0,
            head: Bytes::from_static(head),
            body: None,
        };
        assert_eq!(record.method(), "GET");
        assert_eq!(record.target(), "/a b%2f\u{e9}?x#y");
        let headers = [
            ("X-One".to_owned(), "1".to_owned()),
            ("x-ONE".to_owned(), "\u{e9}".to_owned()),
        ];
        assert_eq!(record.headers(), headers);
        assert_eq!(record.header("x-one"), ["1", "\u{e9}"]);
    }

    #[test]
    fn only_the_last_requests_are_kept() {
        let mut records = Records::new(2);
        let head = |n: u8| Bytes::from(vec![b'0' + n]);
        let seen = BodySeen {
            length: 0,
            sha256: String::new(),
            text: None,
        };
        assert_eq!(
            [
                records.add(&head(1)),
                records.add(&head(2)),
                records.add(&head(3))
            ],
            [0, 1, 2]
        );
        records.add_body(0, &seen);
        records.add_body(2, &seen);
        let kept: Vec<_> = records
            .all()
            .into_iter()
            .map(|r| (r.head, r.body.is_some()))
            .collect();
        assert_eq!(kept, [(head(2), false), (head(3), true)]);
        let mut none = Records::new(0);
        none.add(&head(1));
        assert!(none.last().is_none());
    }
}
