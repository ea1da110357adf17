//! What proves the gateway's right to the upstream, and where it travels.
//!
//! | Directive | Credential |
//! |---|---|
//! | `none` | [`Credential::none`] |
//! | `caracal_jwt` | [`Credential::header`] with the resource mandate |
//! | `provider_oauth`, `provider_apikey` in a header | [`Credential::header`] with the provider's token |
//! | `provider_apikey` in the query | [`Credential::query`] |
//!
//! In every mode the caller's own `Authorization` stays behind, and so does the caller's value of the header that the
//! directive names ([`Credential::claiming`]).

use std::fmt;

use http::header::{HeaderName, HeaderValue};

use crate::reserved;

/// The upstream's credential. Its `Debug` shows where it goes, never what it is.
#[derive(Clone)]
pub struct Credential {
    secret: Secret,
    /// A header that the directive names without using it.
    claimed: Option<HeaderName>,
    identity: Option<HeaderValue>,
}

#[derive(Clone)]
enum Secret {
    None,
    Header(HeaderName, HeaderValue),
    Query(QueryKey),
}

/// A credential that travels as a query parameter.
#[derive(Clone)]
pub(crate) struct QueryKey {
    /// Consists of unreserved characters, so that it is its own percent encoding.
    pub(crate) name: Box<str>,
    /// Percent-encoded.
    pub(crate) value: String,
}

/// Why a credential cannot be carried. Names no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// The header frames or routes the message, or is stated by the gateway.
    #[error("the header is reserved and may not carry a credential")]
    ReservedHeader,
    /// The parameter name is empty or has characters outside `A-Za-z0-9._~-`.
    #[error("the query parameter name is not valid")]
    ParameterName,
    /// The scheme is not a word of letters, digits and `-`.
    #[error("the scheme is not valid")]
    Scheme,
    /// The token is empty, or has characters that no header value can hold.
    #[error("the token cannot be carried")]
    Token,
}

impl Credential {
    fn new(secret: Secret) -> Self {
        Self {
            secret,
            claimed: None,
            identity: None,
        }
    }

    /// No credential: the caller's is removed and nothing takes its place.
    #[must_use]
    pub fn none() -> Self {
        Self::new(Secret::None)
    }

    /// `name: [scheme ]token`. An empty scheme means the bare token.
    ///
    /// # Errors
    /// When the header is reserved, or scheme or token cannot stand in a header value.
    pub fn header(name: HeaderName, scheme: &str, token: &str) -> Result<Self, CredentialError> {
        if !reserved::may_carry_credential(&name) {
            return Err(CredentialError::ReservedHeader);
        }
        if !scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        {
            return Err(CredentialError::Scheme);
        }
        let mut text = String::with_capacity(scheme.len() + 1 + token.len());
        if !scheme.is_empty() {
            text.push_str(scheme);
            text.push(' ');
        }
        text.push_str(printable(token)?);
        Ok(Self::new(Secret::Header(name, sensitive(text)?)))
    }

    /// The query parameter `name=token`, the token percent-encoded.
    ///
    /// # Errors
    /// When the name is empty or has characters outside `A-Za-z0-9._~-`, or the token is empty.
    pub fn query(name: &str, token: &str) -> Result<Self, CredentialError> {
        if name.is_empty() || !name.bytes().all(is_unreserved) {
            return Err(CredentialError::ParameterName);
        }
        if token.is_empty() {
            return Err(CredentialError::Token);
        }
        Ok(Self::new(Secret::Query(QueryKey {
            name: name.into(),
            value: percent_encoded(token),
        })))
    }

    /// Also removes the caller's value of a header that the directive names without using it, as `none` and a key in
    /// the query do. Has no effect on a credential that travels in a header of its own.
    #[must_use]
    pub fn claiming(mut self, header: HeaderName) -> Self {
        self.claimed = Some(header);
        self
    }

    /// Also sends the resource mandate in `X-Caracal-Identity`.
    ///
    /// # Errors
    /// When the mandate cannot stand in a header value.
    pub fn with_identity(mut self, mandate: &str) -> Result<Self, CredentialError> {
        self.identity = Some(sensitive(printable(mandate)?.to_owned())?);
        Ok(self)
    }

    /// The header whose caller's value must not cross.
    pub(crate) fn claimed_header(&self) -> Option<&HeaderName> {
        match &self.secret {
            Secret::Header(name, _) => Some(name),
            Secret::None | Secret::Query(_) => self.claimed.as_ref(),
        }
    }

    pub(crate) fn query_key(&self) -> Option<&QueryKey> {
        match &self.secret {
            Secret::Query(key) => Some(key),
            Secret::None | Secret::Header(..) => None,
        }
    }

    /// Puts the credential into a head from which the caller's has been removed. Returns the query parameter it travels
    /// in, which must not come back to the caller.
    pub(crate) fn state(self, headers: &mut http::HeaderMap) -> Option<Box<str>> {
        if let Some(identity) = self.identity {
            headers.insert(&reserved::X_CARACAL_IDENTITY, identity);
        }
        match self.secret {
            Secret::None => None,
            Secret::Header(name, value) => {
                headers.insert(name, value);
                None
            }
            Secret::Query(key) => Some(key.name),
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match &self.secret {
            Secret::None => "none",
            Secret::Header(..) => "header",
            Secret::Query(_) => "query",
        };
        f.debug_struct("Credential")
            .field("place", &place)
            .field("header", &self.claimed_header())
            .field("parameter", &self.query_key().map(|key| &key.name))
            .field("identity", &self.identity.is_some())
            .finish_non_exhaustive()
    }
}

fn printable(token: &str) -> Result<&str, CredentialError> {
    let fits = !token.is_empty()
        && token.trim_ascii() == token
        && token.bytes().all(|byte| matches!(byte, 0x20..=0x7e));
    if fits {
        Ok(token)
    } else {
        Err(CredentialError::Token)
    }
}

fn sensitive(text: String) -> Result<HeaderValue, CredentialError> {
    let mut value = HeaderValue::try_from(text).map_err(|_| CredentialError::Token)?;
    value.set_sensitive(true);
    Ok(value)
}

/// RFC 3986 §2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn percent_encoded(text: &str) -> String {
    const HEX: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F',
    ];
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if is_unreserved(byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.extend(
                [byte >> 4, byte & 15]
                    .iter()
                    .filter_map(|&digit| HEX.get(usize::from(digit))),
            );
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;
    use http::header::AUTHORIZATION;

    fn stated(credential: Credential) -> HeaderMap {
        let mut headers = HeaderMap::new();
        credential.state(&mut headers);
        headers
    }

    #[test]
    fn credential_in_a_header_has_its_scheme_and_is_sensitive() {
        for (scheme, expect) in [
            ("Bearer", "Bearer t0ken"),
            ("", "t0ken"),
            ("X-My2", "X-My2 t0ken"),
        ] {
            let headers = stated(Credential::header(AUTHORIZATION, scheme, "t0ken").unwrap());
            assert_eq!(headers[AUTHORIZATION], expect);
            assert!(headers[AUTHORIZATION].is_sensitive());
        }
    }

    #[test]
    fn credential_identity_travels_beside_any_mode() {
        let key = HeaderName::from_static("x-api-key");
        for credential in [
            Credential::none(),
            Credential::header(key, "", "k").unwrap(),
            Credential::query("key", "k").unwrap(),
        ] {
            let headers = stated(credential.with_identity("mandate").unwrap());
            assert_eq!(headers[&reserved::X_CARACAL_IDENTITY], "mandate");
            assert!(headers[&reserved::X_CARACAL_IDENTITY].is_sensitive());
        }
    }

    #[test]
    fn credential_in_the_query_is_percent_encoded() {
        let credential = Credential::query("key", "a b+c&d=é~").unwrap();
        assert_eq!(credential.query_key().unwrap().value, "a%20b%2Bc%26d%3D%C3%A9~");
    }

    #[test]
    fn credential_that_could_inject_is_refused() {
        for token in ["", "a\r\nX: y", "a\0", " a", "a ", "ü", "\u{7f}"] {
            assert_eq!(
                Credential::header(AUTHORIZATION, "", token).unwrap_err(),
                CredentialError::Token,
                "{token:?}"
            );
            assert_eq!(
                Credential::none().with_identity(token).unwrap_err(),
                CredentialError::Token,
                "{token:?}"
            );
        }
        assert_eq!(
            Credential::header(AUTHORIZATION, "Be arer", "t").unwrap_err(),
            CredentialError::Scheme
        );
        assert_eq!(
            Credential::header(HeaderName::from_static("x_forwarded_for"), "", "t").unwrap_err(),
            CredentialError::ReservedHeader
        );
        for name in ["", "a b", "k&x", "k=", "%6b"] {
            assert_eq!(
                Credential::query(name, "t").unwrap_err(),
                CredentialError::ParameterName,
                "{name:?}"
            );
        }
        assert_eq!(Credential::query("k", "").unwrap_err(), CredentialError::Token);
    }

    #[test]
    fn credential_debug_shows_no_secret() {
        for credential in [
            Credential::header(AUTHORIZATION, "Bearer", "s3cret")
                .unwrap()
                .with_identity("s3cret")
                .unwrap(),
            Credential::query("key", "s3cret").unwrap(),
        ] {
            let text = format!("{credential:?} {:?}", stated(credential.clone()));
            assert!(!text.contains("s3cret"), "{text}");
        }
    }
}
