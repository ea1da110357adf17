//! What proves the gateway's right to the upstream, and where it travels.
//!
//! In every mode the caller's own `Authorization` stays behind, and so does the caller's value of the
//! header that the directive names.

use std::fmt;

use http::header::{HeaderName, HeaderValue};
use percent_encoding::utf8_percent_encode;

use crate::names;
use crate::percent::{NOT_UNRESERVED, is_unreserved};
use crate::scan;

/// The upstream's credential, in the form in which it is sent. Its `Debug` shows where it goes,
/// never what it is.
#[derive(Clone)]
pub struct Credential {
    place: Place,
    reserved_header: HeaderName,
    identity: Option<HeaderValue>,
}

#[derive(Clone)]
enum Place {
    None,
    Header(HeaderValue),
    Query(QueryKey),
}

/// A credential that travels as a query parameter.
#[derive(Clone)]
pub struct QueryKey {
    name: Box<str>,
    value: String,
}

impl QueryKey {
    /// The parameter's name: unreserved characters, so that it is its own percent-encoding.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key, percent-encoded.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.value
    }
}

/// Why a credential cannot be carried. Names no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// The header frames or routes the message, or is stated by the gateway.
    #[error("the header is reserved and may not carry a credential")]
    ReservedHeader,
    /// The parameter name is empty or has characters outside `A-Za-z0-9._~-`.
    #[error("the query parameter name is missing or malformed")]
    ParameterName,
    /// The scheme is not a letter followed by letters, digits and `-`.
    #[error("the scheme is malformed")]
    Scheme,
    /// The token is empty, or has characters that cannot be sent.
    #[error("the token cannot be sent")]
    Token,
}

impl Credential {
    fn new(place: Place, reserved_header: HeaderName) -> Result<Self, CredentialError> {
        if !names::may_carry_credential(&reserved_header) {
            return Err(CredentialError::ReservedHeader);
        }
        Ok(Self {
            place,
            reserved_header,
            identity: None,
        })
    }

    /// No credential: the caller's is removed and nothing takes its place.
    ///
    /// # Errors
    /// [`CredentialError::ReservedHeader`].
    pub fn none(reserved_header: HeaderName) -> Result<Self, CredentialError> {
        Self::new(Place::None, reserved_header)
    }

    /// `name: [scheme ]token`. An empty scheme means the bare token.
    ///
    /// # Errors
    /// [`CredentialError::ReservedHeader`], [`CredentialError::Scheme`], [`CredentialError::Token`].
    pub fn header(name: HeaderName, scheme: &str, token: &str) -> Result<Self, CredentialError> {
        check_scheme(scheme)?;
        Self::new(Place::Header(header_value(scheme, token)?), name)
    }

    /// The query parameter `name=token`, the token percent-encoded.
    ///
    /// # Errors
    /// [`CredentialError::ReservedHeader`], [`CredentialError::ParameterName`], [`CredentialError::Token`].
    pub fn query_parameter(
        name: &str,
        token: &str,
        reserved_header: HeaderName,
    ) -> Result<Self, CredentialError> {
        if name.is_empty() || !name.bytes().all(is_unreserved) {
            return Err(CredentialError::ParameterName);
        }
        let key = QueryKey {
            name: name.into(),
            value: utf8_percent_encode(printable(token)?, NOT_UNRESERVED).to_string(),
        };
        Self::new(Place::Query(key), reserved_header)
    }

    /// Also sends the resource mandate in `X-Caracal-Identity`.
    ///
    /// # Errors
    /// [`CredentialError::Token`].
    pub fn with_identity(mut self, mandate: &str) -> Result<Self, CredentialError> {
        self.identity = Some(header_value("", mandate)?);
        Ok(self)
    }

    /// The header that the directive names, whether or not the credential travels in it: a caller's
    /// own value of it must not cross.
    #[must_use]
    pub fn reserved_header(&self) -> &HeaderName {
        &self.reserved_header
    }

    /// The credential, where it travels in [`Self::reserved_header`].
    #[must_use]
    pub fn header_value(&self) -> Option<&HeaderValue> {
        match &self.place {
            Place::Header(value) => Some(value),
            Place::None | Place::Query(_) => None,
        }
    }

    /// The credential, where it travels as a query parameter, which replaces every spelling of it
    /// that the caller sent and must not come back to the caller.
    #[must_use]
    pub fn query(&self) -> Option<&QueryKey> {
        match &self.place {
            Place::Query(key) => Some(key),
            Place::None | Place::Header(_) => None,
        }
    }

    /// The resource mandate for `X-Caracal-Identity`, when the provider asks for it.
    #[must_use]
    pub fn identity(&self) -> Option<&HeaderValue> {
        self.identity.as_ref()
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match &self.place {
            Place::None => "none",
            Place::Header(_) => "header",
            Place::Query(_) => "query",
        };
        f.debug_struct("Credential")
            .field("place", &place)
            .field("reserved_header", &self.reserved_header)
            .field("parameter", &self.query().map(QueryKey::name))
            .field("identity", &self.identity.is_some())
            .finish_non_exhaustive()
    }
}

/// A letter, then letters, digits and `-`; or nothing.
pub(crate) fn check_scheme(scheme: &str) -> Result<(), CredentialError> {
    let is_word = scheme
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if is_word && !scheme.starts_with(|first: char| !first.is_ascii_alphabetic()) {
        Ok(())
    } else {
        Err(CredentialError::Scheme)
    }
}

/// `[scheme ]token`, marked as sensitive.
fn header_value(scheme: &str, token: &str) -> Result<HeaderValue, CredentialError> {
    let token = printable(token)?;
    if token.trim_ascii() != token {
        return Err(CredentialError::Token);
    }
    let text = if scheme.is_empty() {
        token.to_owned()
    } else {
        format!("{scheme} {token}")
    };
    let mut value = HeaderValue::try_from(text).map_err(|_| CredentialError::Token)?;
    value.set_sensitive(true);
    Ok(value)
}

fn printable(token: &str) -> Result<&str, CredentialError> {
    if !token.is_empty() && scan::all(token.as_bytes(), |byte| matches!(byte, 0x20..=0x7e)) {
        Ok(token)
    } else {
        Err(CredentialError::Token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::AUTHORIZATION;

    fn header(scheme: &str, token: &str) -> Result<Credential, CredentialError> {
        Credential::header(AUTHORIZATION, scheme, token)
    }

    fn query(name: &str, token: &str) -> Result<Credential, CredentialError> {
        Credential::query_parameter(name, token, AUTHORIZATION)
    }

    #[test]
    fn credential_in_a_header_has_its_scheme_and_is_sensitive() {
        for (scheme, expect) in [
            ("Bearer", "Bearer t0ken"),
            ("", "t0ken"),
            ("X-My2", "X-My2 t0ken"),
        ] {
            let credential = header(scheme, "t0ken").unwrap();
            let value = credential.header_value().unwrap();
            assert_eq!(value, expect);
            assert!(value.is_sensitive());
        }
    }

    #[test]
    fn credential_identity_travels_beside_any_mode() {
        for credential in [
            Credential::none(AUTHORIZATION),
            header("", "k"),
            query("key", "k"),
        ] {
            let credential = credential.unwrap().with_identity("mandate").unwrap();
            assert_eq!(credential.identity().unwrap(), "mandate");
            assert!(credential.identity().unwrap().is_sensitive());
        }
    }

    #[test]
    fn credential_in_the_query_is_percent_encoded() {
        let credential = query("key", "a b+c&d=e~").unwrap();
        assert_eq!(credential.query().unwrap().expose(), "a%20b%2Bc%26d%3De~");
    }

    #[test]
    fn credential_that_could_inject_is_refused() {
        let none = || Credential::none(AUTHORIZATION).unwrap();
        for token in ["", "a\r\nX: y", "a\0", " a", "a ", "ü", "\u{7f}"] {
            assert_eq!(
                header("", token).unwrap_err(),
                CredentialError::Token,
                "{token:?}"
            );
            let identity = none().with_identity(token);
            assert_eq!(identity.unwrap_err(), CredentialError::Token, "{token:?}");
        }
        for scheme in ["Be arer", "2x", "-x", "ü"] {
            assert_eq!(header(scheme, "t").unwrap_err(), CredentialError::Scheme);
        }
        let reserved = HeaderName::from_static("x_forwarded_for");
        for credential in [
            Credential::none(reserved.clone()),
            Credential::header(reserved.clone(), "", "t"),
            Credential::query_parameter("k", "t", reserved),
        ] {
            assert_eq!(credential.unwrap_err(), CredentialError::ReservedHeader);
        }
        for name in ["", "a b", "k&x", "k=", "%6b"] {
            assert_eq!(
                query(name, "t").unwrap_err(),
                CredentialError::ParameterName,
                "{name:?}"
            );
        }
        for token in ["", "é", "\n"] {
            assert_eq!(query("k", token).unwrap_err(), CredentialError::Token);
        }
    }

    #[test]
    fn credential_debug_shows_no_secret() {
        for credential in [
            header("Bearer", "s3cret")
                .unwrap()
                .with_identity("s3cret")
                .unwrap(),
            query("key", "s3cret").unwrap(),
        ] {
            let shown = (credential.header_value(), credential.identity());
            let text = format!("{credential:?} {shown:?}");
            assert!(!text.contains("s3cret"), "{text}");
        }
    }
}
