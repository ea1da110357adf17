//! Header names that only one side may state, in every spelling that could be taken for them.
//!
//! CGI, WSGI and PHP upstreams turn a header name into a variable by replacing `-`, and some of them
//! every character that is no letter or digit, with `_`. `X_Forwarded_For` and `X.Forwarded.For` are
//! then the same variable as `X-Forwarded-For`. The comparisons here fold every such character first.

use http::HeaderName;

/// `X-Caracal-Resource`: names the resource.
pub static X_CARACAL_RESOURCE: HeaderName = HeaderName::from_static("x-caracal-resource");
/// `X-Caracal-Client-ID`: bound by configuration, ignored when a caller sends it.
pub static X_CARACAL_CLIENT_ID: HeaderName = HeaderName::from_static("x-caracal-client-id");
/// `X-Request-Id`: the id under which gateway, upstream, log and evidence know the request.
pub static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// `X-Caracal-Identity`: the caller's resource mandate beside a provider credential.
pub static X_CARACAL_IDENTITY: HeaderName = HeaderName::from_static("x-caracal-identity");
/// `X-Caracal-Token-Expires-In`: whole seconds until the caller's mandate expires.
pub static X_CARACAL_TOKEN_EXPIRES_IN: HeaderName = HeaderName::from_static("x-caracal-token-expires-in");
/// `X-Caracal-Revoked`: the trailer that ends an answer cut by a revocation.
pub static X_CARACAL_REVOKED: HeaderName = HeaderName::from_static("x-caracal-revoked");

/// Longer than any name and any prefix below, so that a name cut to this length cannot equal one of them.
const FOLD_WIDTH: usize = 40;

/// Whether only the gateway may state this name towards an upstream: `x-caracal-*`, `x-forwarded-*`,
/// `forwarded`, `x-real-ip`, `x-request-id`, in any spelling.
#[must_use]
pub fn is_reserved(name: &HeaderName) -> bool {
    folded(name, is_gateway_stated)
}

/// Whether two names are one and the same to an upstream that folds separators.
#[must_use]
pub fn is_same(a: &HeaderName, b: &HeaderName) -> bool {
    let (a, b) = (a.as_str(), b.as_str());
    a.len() == b.len() && a.bytes().zip(b.bytes()).all(|(a, b)| fold(a) == fold(b))
}

/// Whether a name written with `_` reads as a reserved or framing name with `-` (CVE-2025-64484), or as the one whose
/// subprotocols may hold a mandate.
pub(crate) fn is_alias(name: &HeaderName) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    name.as_str().contains('_')
        && name.as_str().bytes().all(plain)
        && folded(name, |name| {
            is_hop_by_hop(name)
                || is_gateway_stated(name)
                || name.starts_with(b"proxy-")
                || matches!(name, b"content-length" | b"sec-websocket-protocol")
        })
}

/// Whether a credential may be put into this header: not into one that frames, routes or is stated
/// by the gateway.
pub(crate) fn may_carry_credential(name: &HeaderName) -> bool {
    !folded(name, |name| {
        is_hop_by_hop(name)
            || is_gateway_stated(name)
            || name.starts_with(b"proxy-")
            || matches!(
                name,
                b"baggage"
                    | b"content-encoding"
                    | b"content-length"
                    | b"content-type"
                    | b"expect"
                    | b"host"
                    | b"proxy"
                    | b"traceparent"
                    | b"tracestate"
                    | b"via"
            )
    })
}

/// Fields that belong to one connection (RFC 9110 §7.6.1, RFC 7540 §3.2.1), whether or not
/// `Connection` names them. The name is folded.
#[must_use]
pub fn is_hop_by_hop(name: &[u8]) -> bool {
    matches!(
        name,
        b"connection"
            | b"http2-settings"
            | b"keep-alive"
            | b"proxy-authenticate"
            | b"proxy-authentication-info"
            | b"proxy-authorization"
            | b"proxy-connection"
            | b"te"
            | b"trailer"
            | b"transfer-encoding"
            | b"upgrade"
    )
}

/// [`is_reserved`] for a folded name.
#[must_use]
pub fn is_gateway_stated(name: &[u8]) -> bool {
    name.starts_with(b"x-caracal-")
        || name.starts_with(b"x-forwarded-")
        || matches!(
            name,
            b"forwarded" | b"x-forwarded" | b"x-real-ip" | b"x-request-id"
        )
}

/// Reads a name with every separator folded to `-`. Names without an unusual character, nearly all,
/// are not copied.
pub fn folded<R>(name: &HeaderName, read: impl FnOnce(&[u8]) -> R) -> R {
    let name = name.as_str().as_bytes();
    if name.iter().all(|&byte| fold(byte) == byte) {
        return read(name);
    }
    let mut buffer = [0; FOLD_WIDTH];
    let width = name.len().min(FOLD_WIDTH);
    for (slot, &byte) in buffer.iter_mut().zip(name) {
        *slot = fold(byte);
    }
    read(buffer.get(..width).unwrap_or_default())
}

fn fold(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte } else { b'-' }
}

#[cfg(test)]
mod tests;
