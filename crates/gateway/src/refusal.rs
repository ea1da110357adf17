//! A refusal's answer. It depends on the denial alone, or on the STS's own words.

use admission::{Denial, StsRefusal};
use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{Response, StatusCode, Version};

use crate::ids::REQUEST_ID;
use crate::relay::Body;

/// Seconds after which a refusal for lack of capacity or of a dependency may have passed.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("2");

#[derive(serde::Serialize)]
struct Words<'a> {
    error: &'a str,
    error_description: &'a str,
    #[serde(rename = "requestId")]
    request_id: &'a str,
}

/// The answer to a refused request.
#[must_use]
pub fn answer(
    denial: Denial,
    sts: Option<&StsRefusal>,
    request_id: &HeaderValue,
    version: Version,
) -> Response<Body> {
    let row = denial.row();
    let (status, error, description) = match sts {
        Some(sts) => (
            StatusCode::from_u16(sts.status).unwrap_or(row.status),
            sts.error.as_str(),
            sts.description.as_str(),
        ),
        None => (row.status, row.error, row.description),
    };
    let words = Words {
        error,
        error_description: description,
        request_id: request_id.to_str().unwrap_or_default(),
    };
    let mut body = serde_json::to_vec(&words).unwrap_or_default();
    body.push(b'\n');

    let mut response = Response::new(Body::full(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REQUEST_ID, request_id.clone());
    match status {
        StatusCode::UNAUTHORIZED => {
            headers.insert(WWW_AUTHENTICATE, challenge(error));
        }
        StatusCode::SERVICE_UNAVAILABLE => {
            headers.insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
        }
        StatusCode::METHOD_NOT_ALLOWED => {
            headers.insert(
                ALLOW,
                HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
            );
        }
        _ => {}
    }
    // What follows an untrustworthy message on the same connection is not a request.
    let untrustworthy = matches!(denial, Denial::BadTarget | Denial::AmbiguousHeaders);
    if untrustworthy && version <= Version::HTTP_11 {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// RFC 6750 §3. The STS's own `error` is passed on only where the quoted-string can carry it.
fn challenge(error: &str) -> HeaderValue {
    let plain = error
        .bytes()
        .all(|byte| (0x20..=0x7e).contains(&byte) && byte != b'"' && byte != b'\\');
    let error = if plain { error } else { "invalid_token" };
    HeaderValue::from_str(&format!("Bearer error=\"{error}\"")).unwrap_or(HeaderValue::from_static("Bearer"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: HeaderValue = HeaderValue::from_static("req-1");

    #[test]
    fn refusal_headers_follow_the_status() {
        for denial in Denial::ALL {
            let response = answer(denial, None, &ID, Version::HTTP_11);
            let headers = response.headers();
            assert_eq!(response.status(), denial.row().status);
            assert_eq!(headers.get(CACHE_CONTROL).unwrap(), "no-store");
            assert_eq!(headers.get(REQUEST_ID).unwrap(), "req-1");
            assert_eq!(
                headers.contains_key(WWW_AUTHENTICATE),
                response.status() == 401,
                "{denial:?}"
            );
            assert_eq!(
                headers.contains_key(RETRY_AFTER),
                response.status() == 503,
                "{denial:?}"
            );
        }
    }

    #[test]
    fn refusal_of_the_sts_cannot_inject_into_the_challenge() {
        let sts = StsRefusal {
            status: 401,
            error: "x\", realm=\"evil\r\n".into(),
            description: String::new(),
        };
        let response = answer(Denial::ExchangeRefused, Some(&sts), &ID, Version::HTTP_11);
        assert_eq!(
            response.headers().get(WWW_AUTHENTICATE).unwrap(),
            "Bearer error=\"invalid_token\""
        );
    }
}
