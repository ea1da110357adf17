//! Whether a request shows a bearer, compared in constant time.

use config::Secret;
use http::HeaderValue;
use http::header::GetAll;
use subtle::{Choice, ConstantTimeEq};

const SCHEME: &[u8] = b"Bearer ";

/// Whether the only `Authorization` is exactly `Bearer <token>`.
pub(super) fn shows(authorization: GetAll<'_, HeaderValue>, token: &Secret) -> bool {
    only(authorization).is_some_and(|value| is_bearer(value, token))
}

/// The same, with white space around it permitted.
pub(super) fn shows_trimmed(authorization: GetAll<'_, HeaderValue>, token: &Secret) -> bool {
    only(authorization).is_some_and(|value| is_bearer(value.trim_ascii(), token))
}

fn only(authorization: GetAll<'_, HeaderValue>) -> Option<&[u8]> {
    let mut values = authorization.into_iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Some(value.as_bytes()),
        _ => None,
    }
}

fn is_bearer(value: &[u8], token: &Secret) -> bool {
    // An empty secret is no secret. `config` has none; this does not depend on it.
    let token = token.expose().as_bytes();
    let Some((scheme, shown)) = value.split_at_checked(SCHEME.len()).filter(|_| !token.is_empty()) else {
        return false;
    };
    let same: Choice = scheme.ct_eq(SCHEME) & shown.ct_eq(token);
    same.into()
}
