//! The upstream's base: the URL under which a resource's paths lie, kept byte for byte.

use std::fmt;
use std::net::Ipv6Addr;

use http::header::HeaderValue;

use crate::forwarded::Scheme;

/// A parsed upstream URL. Path and query are the bytes that were registered.
///
/// The URL's query may hold a secret, so `Debug` shows the origin and the path only.
#[derive(Clone)]
pub struct Base {
    text: Box<str>,
    scheme: Scheme,
    port: u16,
    host_header: HeaderValue,
    /// Where the authority and the path begin, and where the path ends, in `text`.
    authority: usize,
    path: usize,
    path_end: usize,
}

/// Why a text is no upstream base. The egress guard refuses such URLs earlier and says more about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BaseError {
    /// A character that a URL cannot hold as itself: a control, a space, a backslash, or one outside ASCII.
    #[error("the upstream URL has a character that no URL can hold")]
    Character,
    /// Not `http://` or `https://`.
    #[error("the upstream URL is neither http nor https")]
    Scheme,
    /// User information, an empty or malformed host, or a bad port.
    #[error("the upstream URL has no usable host and port")]
    Authority,
    /// A fragment, which no server ever sees.
    #[error("the upstream URL has a fragment")]
    Fragment,
}

impl Base {
    /// Parses the raw text of an upstream URL without normalising any of it.
    ///
    /// # Errors
    /// When the text is not an absolute `http` or `https` URL without user information and fragment.
    pub fn parse(url: &str) -> Result<Self, BaseError> {
        if !url.bytes().all(is_url_byte) {
            return Err(BaseError::Character);
        }
        if url.contains('#') {
            return Err(BaseError::Fragment);
        }
        let absolute = Absolute::split(url).ok_or(BaseError::Scheme)?;
        let (_, port) = absolute.host_and_port().ok_or(BaseError::Authority)?;
        let path = url.len() - absolute.rest.len();
        let path_end = absolute.rest.find('?').map_or(url.len(), |at| path + at);
        Ok(Self {
            text: url.into(),
            scheme: absolute.scheme,
            port,
            host_header: HeaderValue::from_str(absolute.authority).map_err(|_| BaseError::Authority)?,
            authority: path - absolute.authority.len(),
            path,
            path_end,
        })
    }

    /// How the upstream is spoken to.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// `host[:port]` as written.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.text.get(self.authority..self.path).unwrap_or_default()
    }

    /// The port, the scheme's default when the URL has none.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The path as written; empty when the URL has none.
    #[must_use]
    pub fn path(&self) -> &str {
        self.text.get(self.path..self.path_end).unwrap_or_default()
    }

    /// The query as written, without its `?`; an empty one counts as none.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.text
            .get(self.path_end + 1..)
            .filter(|query| !query.is_empty())
    }

    /// The part of an absolute URL below this base: what its path has beyond the base's path, and its query and
    /// fragment as written. `None` when the URL has another origin or lies beside the base.
    pub(crate) fn below<'a>(&self, url: &'a str) -> Option<(&'a str, &'a str)> {
        let other = Absolute::split(url)?;
        let (host, port) = other.host_and_port()?;
        let (own_host, _) = split_port(self.authority())?;
        if other.scheme != self.scheme || port != self.port || !host.eq_ignore_ascii_case(own_host) {
            return None;
        }
        let (path, tail) = other
            .rest
            .split_at(other.rest.find(['?', '#']).unwrap_or(other.rest.len()));
        let own_path = self.path().strip_suffix('/').unwrap_or(self.path());
        let path = path.strip_prefix(own_path)?;
        (path.is_empty() || path.starts_with('/')).then_some((path, tail))
    }

    /// The authority as the value of `Host`.
    pub(crate) fn host_header(&self) -> HeaderValue {
        self.host_header.clone()
    }
}

impl fmt::Debug for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Base({}://{}{})",
            self.scheme.as_str(),
            self.authority(),
            self.path()
        )
    }
}

/// An absolute URL cut into pieces; `rest` begins with `/`, `?`, `#` or is empty.
struct Absolute<'a> {
    scheme: Scheme,
    authority: &'a str,
    rest: &'a str,
}

impl<'a> Absolute<'a> {
    fn split(url: &'a str) -> Option<Self> {
        let (scheme, after) = url.split_once("://")?;
        let (authority, rest) = after.split_at(after.find(['/', '?', '#']).unwrap_or(after.len()));
        Some(Self {
            scheme: Scheme::parse(scheme)?,
            authority,
            rest,
        })
    }

    fn host_and_port(&self) -> Option<(&'a str, u16)> {
        let (host, port) = split_port(self.authority)?;
        Some((host, port.unwrap_or(self.scheme.default_port())))
    }
}

/// Splits `host[:port]`. The host is a name, an IPv4 address or an IPv6 address in brackets, never empty.
fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let host_end = match authority.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at_checked(host_end)?;
    let port = match port.strip_prefix(':') {
        Some(digits) if digits.bytes().all(|digit| digit.is_ascii_digit()) => Some(digits.parse().ok()?),
        Some(_) => return None,
        None if port.is_empty() => None,
        None => return None,
    };
    (is_host(host) && port != Some(0)).then_some((host, port))
}

fn is_host(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
        }
    }
}

/// Printable ASCII other than the backslash, which some readers take for a slash.
pub(crate) fn is_url_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'\\'
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn base_keeps_every_byte() {
        for (url, scheme, authority, port, path, query) in [
            ("https://up.example", Scheme::Https, "up.example", 443, "", None),
            (
                "HTTP://Up.Example:8080/",
                Scheme::Http,
                "Up.Example:8080",
                8080,
                "/",
                None,
            ),
            (
                "http://[::1]/a//b%2Fc/",
                Scheme::Http,
                "[::1]",
                80,
                "/a//b%2Fc/",
                None,
            ),
            (
                "https://[2001:db8::1]:444/?a=%31&&b",
                Scheme::Https,
                "[2001:db8::1]:444",
                444,
                "/",
                Some("a=%31&&b"),
            ),
            (
                "https://up.example?x=a?b",
                Scheme::Https,
                "up.example",
                443,
                "",
                Some("x=a?b"),
            ),
            (
                "https://up.example/p?",
                Scheme::Https,
                "up.example",
                443,
                "/p",
                None,
            ),
            (
                "http://sts_1:80/@x:y",
                Scheme::Http,
                "sts_1:80",
                80,
                "/@x:y",
                None,
            ),
        ] {
            let base = Base::parse(url).unwrap();
            assert_eq!(base.scheme(), scheme, "{url}");
            assert_eq!(base.authority(), authority, "{url}");
            assert_eq!(base.port(), port, "{url}");
            assert_eq!(base.path(), path, "{url}");
            assert_eq!(base.query(), query, "{url}");
        }
    }

    #[test]
    fn base_that_is_no_plain_url_is_an_error() {
        for (url, error) in [
            ("", BaseError::Scheme),
            ("/relative", BaseError::Scheme),
            ("//up.example/", BaseError::Scheme),
            ("file:///etc/passwd", BaseError::Scheme),
            ("https:/up.example", BaseError::Scheme),
            ("https://", BaseError::Authority),
            ("https:///path", BaseError::Authority),
            ("https://user@up.example/", BaseError::Authority),
            ("https://user:pw@up.example/", BaseError::Authority),
            ("https://up.example:0/", BaseError::Authority),
            ("https://up.example:/", BaseError::Authority),
            ("https://up.example:65536/", BaseError::Authority),
            ("https://up.example:+80/", BaseError::Authority),
            ("https://[::1/", BaseError::Authority),
            ("https://[::1%25eth0]/", BaseError::Authority),
            ("https://[::1]x/", BaseError::Authority),
            ("https://up%2eexample/", BaseError::Authority),
            ("https://up.example/#f", BaseError::Fragment),
            ("https://ok.example\\@evil.example/", BaseError::Character),
            ("https://up.example/a b", BaseError::Character),
            ("https://up.example/a\tb", BaseError::Character),
            ("https://bücher.example/", BaseError::Character),
        ] {
            assert_eq!(
                Base::parse(url).map(|base| base.path().to_owned()),
                Err(error),
                "{url}"
            );
        }
    }

    #[test]
    fn base_debug_hides_the_query() {
        let base = Base::parse("https://up.example/p?sig=s3cret").unwrap();
        assert_eq!(format!("{base:?}"), "Base(https://up.example/p)");
    }

    proptest! {
        #[test]
        fn base_pieces_put_together_are_the_text(url in "https?://[a-z0-9.-]{1,12}(:[1-9][0-9]{0,3})?(/[!-~]{0,20})?(\\?[!-~]{1,20})?") {
            if let Ok(base) = Base::parse(&url) {
                let query = base.query().map_or(String::new(), |query| format!("?{query}"));
                let again = format!("{}://{}{}{query}", base.scheme().as_str(), base.authority(), base.path());
                prop_assert!(again == url || format!("{again}?") == url, "{} {}", again, url);
            } else {
                prop_assert!(url.contains(['#', '\\']));
            }
        }

        #[test]
        fn base_parsing_never_panics(url in "\\PC{0,40}", noise in "https?://[\\[\\]:@/?#.a-z0-9%-]{0,30}") {
            let _ = (Base::parse(&url).is_ok(), Base::parse(&noise).is_ok());
        }
    }
}
