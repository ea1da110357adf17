//! Reading a request's body and showing the whole request as JSON.

use std::time::Duration;

use aws_lc_rs::digest;
use bytes::Bytes;
use data_encoding::HEXLOWER;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde::Serialize;

use super::record::{BodySeen, fields, method_and_target};
use crate::server::Dropped;

/// The longest body shown as text, in bytes.
const MAX_TEXT: usize = 4096;
/// How long a body may pause.
const FRAME_TIMEOUT: Duration = Duration::from_secs(120);

/// Reads a body to its end, in constant memory.
pub(super) async fn read(mut body: Incoming) -> Result<BodySeen, Dropped> {
    let mut sha256 = digest::Context::new(&digest::SHA256);
    let mut length = 0;
    let mut text = Some(Vec::new());
    while let Some(frame) = tokio::time::timeout(FRAME_TIMEOUT, body.frame())
        .await
        .map_err(|_| Dropped)?
    {
        let Ok(data) = frame.map_err(|_| Dropped)?.into_data() else {
            continue;
        };
        sha256.update(&data);
        length += data.len() as u64;
        text = text.filter(|text: &Vec<u8>| text.len() + data.len() <= MAX_TEXT);
        if let Some(text) = &mut text {
            text.extend_from_slice(&data);
        }
    }
    let text = text.and_then(|text| String::from_utf8(text).ok());
    Ok(BodySeen {
        length,
        sha256: HEXLOWER.encode(sha256.finish().as_ref()),
        text,
    })
}

#[derive(Serialize)]
struct Shown<'a> {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body_len: u64,
    body_sha256: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
}

/// What arrived, as JSON.
pub(super) fn show(head: &Bytes, body: &BodySeen) -> Result<Vec<u8>, Dropped> {
    let (method, target) = method_and_target(head);
    serde_json::to_vec(&Shown {
        method,
        target,
        headers: fields(head).collect(),
        body_len: body.length,
        body_sha256: &body.sha256,
        body: body.text.as_deref(),
    })
    .map_err(|_| Dropped)
}
