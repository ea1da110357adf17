//! The forms of an answer to the operator.

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS,
};
use http::{Method, Response, StatusCode};
use serde::Serialize;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// 200 without a body.
pub(super) fn empty() -> Response<Bytes> {
    Response::new(Bytes::new())
}

pub(super) fn text(status: StatusCode, words: &'static str) -> Response<Bytes> {
    page(status, TEXT, Bytes::from_static(words.as_bytes()))
}

/// One JSON object on a line.
pub(super) fn json(status: StatusCode, object: &impl Serialize) -> Response<Bytes> {
    // The answers are structs of booleans, numbers and constant strings: they always have a JSON form.
    let mut body = serde_json::to_vec(object).unwrap_or_default();
    body.push(b'\n');
    page(status, JSON, body.into())
}

pub(super) fn page(status: StatusCode, content_type: HeaderValue, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// What every answer carries. That to a HEAD loses its body and keeps its length (RFC 9110 §9.3.2).
pub(super) fn finish(
    mut response: Response<Bytes>,
    method: &Method,
    request_id: &HeaderValue,
) -> Response<Bytes> {
    let length = HeaderValue::from(response.body().len());
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, request_id.clone());
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_LENGTH, length);
    if method == Method::HEAD {
        *response.body_mut() = Bytes::new();
    }
    response
}
