//! A refusal's answer. It depends on the denial alone, or on the STS's own words.

use admission::{Denial, StsRefusal};
use bytes::Bytes;
use forwarding::grpc;
use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{Response, StatusCode, Version, request};

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

/// What of a request decides the form in which it is refused.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    version: Version,
    is_grpc: bool,
}

impl Form {
    /// The form for the request with this head.
    #[must_use]
    pub fn of(head: &request::Parts) -> Self {
        Self {
            version: head.version,
            is_grpc: grpc::is_grpc(&head.headers),
        }
    }
}

/// The answer to a refused request. A gRPC client reads its head alone, and makes an error of its own of any body.
#[must_use]
pub fn answer(
    denial: Denial,
    sts: Option<&StsRefusal>,
    request_id: &HeaderValue,
    form: Form,
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
    let mut response = Response::new(match form.is_grpc {
        true => Body::full(Bytes::new()),
        false => json(error, description, request_id),
    });
    *response.status_mut() = status;
    let headers = response.headers_mut();
    match form.is_grpc {
        true if description.is_empty() => grpc::refuse(headers, status, error),
        true => grpc::refuse(headers, status, description),
        false => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
    }
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
    if untrustworthy && form.version <= Version::HTTP_11 {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn json(error: &str, description: &str, request_id: &HeaderValue) -> Body {
    let words = Words {
        error,
        error_description: description,
        request_id: request_id.to_str().unwrap_or_default(),
    };
    let mut body = serde_json::to_vec(&words).unwrap_or_default();
    body.push(b'\n');
    Body::full(Bytes::from(body))
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

    use http_body::Body as _;

    const ID: HeaderValue = HeaderValue::from_static("req-1");
    const JSON: Form = Form {
        version: Version::HTTP_11,
        is_grpc: false,
    };
    const GRPC: Form = Form {
        version: Version::HTTP_2,
        is_grpc: true,
    };

    #[test]
    fn refusal_headers_follow_the_status() {
        for (denial, form) in Denial::ALL
            .into_iter()
            .flat_map(|denial| [(denial, JSON), (denial, GRPC)])
        {
            let response = answer(denial, None, &ID, form);
            let headers = response.headers();
            assert_eq!(response.body().is_end_stream(), form.is_grpc, "{denial:?}");
            assert_eq!(headers.contains_key("grpc-status"), form.is_grpc, "{denial:?}");
            let message = headers.get("grpc-message").map(|text| text.to_str().unwrap());
            assert_eq!(message, form.is_grpc.then_some(denial.row().description));
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
        for form in [JSON, GRPC] {
            let response = answer(Denial::ExchangeRefused, Some(&sts), &ID, form);
            assert_eq!(
                response.headers().get(WWW_AUTHENTICATE).unwrap(),
                "Bearer error=\"invalid_token\""
            );
            let message = response.headers().get("grpc-message");
            assert_eq!(
                message.map(|text| text.to_str().unwrap()),
                form.is_grpc.then_some("x\", realm=\"evil%0D%0A")
            );
        }
    }
}
