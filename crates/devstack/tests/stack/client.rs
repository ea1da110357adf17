//! A small HTTP client, the gateway's side of an exchange, and a stack with a clock in hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use admission::mode::{DevOnly, Mode};
use aws_lc_rs::{digest, hmac};
use bytes::Bytes;
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use devstack::{Devstack, StackConfig};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

pub(crate) const NOW: u64 = 1_790_000_000;
pub(crate) const ZONE: &str = "zone-dev";
pub(crate) const APP: &str = "app-dev";
pub(crate) const MANDATE: &str = "resource://mandate";
pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) fn proof() -> DevOnly {
    let Ok(Mode::Dev(proof)) = Mode::parse("dev") else {
        panic!("dev is a mode")
    };
    proof
}

/// A stack whose clock stands still.
pub(crate) struct Fixed {
    pub(crate) stack: Devstack,
    now: Arc<AtomicU64>,
}

impl Fixed {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut StackConfig)) -> Self {
        let now = Arc::new(AtomicU64::new(NOW));
        let clock = Arc::clone(&now);
        let mut config = StackConfig::standard().unwrap();
        config.clock = Arc::new(move || clock.load(Ordering::Relaxed));
        change(&mut config);
        Self {
            stack: Devstack::start(proof(), config).await.unwrap(),
            now,
        }
    }

    pub(crate) fn set_time(&self, now: u64) {
        self.now.store(now, Ordering::Relaxed);
    }

    /// A fresh gateway mandate for a resource.
    pub(crate) fn mandate(&self, resource: &str) -> String {
        self.stack
            .mint(&self.stack.request_for(resource))
            .unwrap()
            .token
            .expose()
            .to_owned()
    }

    /// The exchange of a token for a resource, ready to be changed and sent.
    pub(crate) fn exchange(&self, token: &str, resource: &str) -> Exchange<'_> {
        let fields = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("zone_id", ZONE),
            ("application_id", APP),
            ("subject_token", token),
            (
                "subject_token_type",
                "urn:ietf:params:oauth:token-type:access_token",
            ),
            ("resource", resource),
            ("request_method", "GET"),
            ("request_path", "/"),
        ];
        let fields = fields
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec();
        Exchange {
            stack: self,
            fields,
            nonce: unique(),
            timestamp: None,
            request_id: None,
        }
    }

    pub(crate) async fn get(&self, target: &str) -> Answer {
        send(self.stack.sts_url(), "GET", target, &[], "").await.unwrap()
    }
}

pub(crate) fn unique() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// What the gateway sends.
pub(crate) struct Exchange<'s> {
    pub(crate) stack: &'s Fixed,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) nonce: String,
    pub(crate) timestamp: Option<u64>,
    /// `X-Request-Id`, when it differs from the form's.
    pub(crate) request_id: Option<String>,
}

impl Exchange<'_> {
    pub(crate) fn set(mut self, name: &str, value: &str) -> Self {
        self.fields.retain(|(known, _)| known != name);
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn add(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(known, _)| known != name);
        self
    }

    pub(crate) fn body(&self) -> String {
        let mut fields = self.fields.clone();
        fields.push(("gateway_request_id".into(), self.nonce.clone()));
        form(&fields)
    }

    /// The headers that sign a body.
    pub(crate) fn signed_headers(&self, body: &str) -> Vec<(&'static str, String)> {
        let key = unhex(self.stack.stack.gateway_hmac_key().expose());
        let timestamp = self.timestamp.unwrap_or(NOW);
        let sum = hex(digest::digest(&digest::SHA256, body.as_bytes()).as_ref());
        let text = format!("{timestamp}\n{}\nPOST\n/oauth/2/token\n{sum}", self.nonce);
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), text.as_bytes());
        vec![
            ("content-type", "application/x-www-form-urlencoded".to_owned()),
            ("x-caracal-gateway-timestamp", timestamp.to_string()),
            ("x-caracal-gateway-request", self.nonce.clone()),
            ("x-caracal-gateway-signature", hex(tag.as_ref())),
            (
                "x-request-id",
                self.request_id.clone().unwrap_or_else(|| self.nonce.clone()),
            ),
        ]
    }

    pub(crate) async fn try_send(&self) -> Option<Answer> {
        let body = self.body();
        let headers = self.signed_headers(&body);
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        send(
            self.stack.stack.sts_url(),
            "POST",
            "/oauth/2/token",
            &headers,
            &body,
        )
        .await
    }

    pub(crate) async fn send(&self) -> Answer {
        self.try_send().await.unwrap()
    }
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Status, `error` and `error_description` of a refusal, whose form is checked too.
    #[track_caller]
    pub(crate) fn refusal(&self) -> (u16, String, String) {
        assert_eq!(self.header("content-type"), "application/json");
        let json = self.json();
        assert_eq!(json.as_object().unwrap().len(), 3, "{json}");
        assert!(!json["requestId"].as_str().unwrap().is_empty());
        let text = |name: &str| json[name].as_str().unwrap().to_owned();
        (self.status, text("error"), text("error_description"))
    }

    pub(crate) fn upstream(&self, resource: &str) -> Value {
        self.json()["upstreams"][resource].clone()
    }
}

/// One request on a connection of its own; `None` when the connection breaks.
pub(crate) async fn send(
    base: &str,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Option<Answer> {
    let host = base.strip_prefix("http://").unwrap();
    let stream = TcpStream::connect(host).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let mut request = Request::builder().method(method).uri(target).header("host", host);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::from(body.to_owned()))).unwrap();
    let response = timeout(SOON, sender.send_request(request))
        .await
        .expect("no answer in time")
        .ok()?;
    let (parts, body) = response.into_parts();
    let body = timeout(SOON, body.collect())
        .await
        .expect("no body in time")
        .ok()?;
    let trailers = body.trailers().cloned();
    Some(Answer {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body: body.to_bytes(),
        trailers,
    })
}

pub(crate) fn form(fields: &[(String, String)]) -> String {
    let escape = |text: &str| {
        text.bytes().fold(String::new(), |mut escaped, byte| {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                    escaped.push(char::from(byte));
                }
                other => escaped.push_str(&format!("%{other:02X}")),
            }
            escaped
        })
    };
    let pairs: Vec<_> = fields
        .iter()
        .map(|(name, value)| format!("{}={}", escape(name), escape(value)))
        .collect();
    pairs.join("&")
}

/// The claims of a token, unverified.
pub(crate) fn claims(token: &str) -> Value {
    part(token, 1)
}

/// One JSON part of a token.
pub(crate) fn part(token: &str, at: usize) -> Value {
    let text = token.split('.').nth(at).unwrap();
    serde_json::from_slice(&BASE64URL_NOPAD.decode(text.as_bytes()).unwrap()).unwrap()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    HEXLOWER.decode(text.as_bytes()).unwrap()
}
