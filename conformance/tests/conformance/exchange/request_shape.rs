//! One request that both generations of the STS accept.

use crate::report::Report;
use crate::world::{MANDATE, Seen, Wiretap, World, hmac_sha256_hex};
use std::collections::{BTreeMap, BTreeSet};
use testkit::clock::real_unix_seconds;

/// The form in Go's canonical encoding: names sorted, spaces as `+`, everything but `A-Z a-z 0-9 - _ . ~` escaped.
fn canonical(form: &BTreeMap<String, String>) -> String {
    let escape = |text: &str| -> String {
        text.bytes()
            .map(|byte| match byte {
                b' ' => "+".to_owned(),
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                    char::from(byte).to_string()
                }
                _ => format!("%{byte:02X}"),
            })
            .collect()
    };
    let fields: Vec<String> = form
        .iter()
        .map(|(name, value)| format!("{}={}", escape(name), escape(value)))
        .collect();
    fields.join("&")
}

fn parse(body: &str) -> BTreeMap<String, String> {
    let unescape = |text: &str| {
        let mut bytes = Vec::new();
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            bytes.push(match byte {
                b'+' => b' ',
                b'%' => {
                    let digits: Vec<u8> = rest.by_ref().take(2).collect();
                    let digits = std::str::from_utf8(&digits).expect("two digits");
                    u8::from_str_radix(digits, 16).expect("two digits")
                }
                byte => byte,
            });
        }
        String::from_utf8(bytes).expect("a value in UTF-8")
    };
    let fields = body
        .split('&')
        .map(|field| field.split_once('=').expect("a field"));
    fields
        .map(|(name, value)| (unescape(name), unescape(value)))
        .collect()
}

#[tokio::test]
async fn exchange_request_satisfies_both_generations_of_the_sts() {
    let mut tap = None;
    let world = World::builder()
        .start_with(async |stack, mut variables| {
            let target = stack.sts_url()["http://".len()..].parse().expect("an address");
            let started = Wiretap::start(target).await;
            variables.insert("STS_URL".to_owned(), format!("http://{}/", started.addr()));
            tap = Some(started);
            variables
        })
        .await;
    let tap = tap.expect("a wiretap");
    let mut report = Report::default();
    let token = world.token(MANDATE);
    let bearer = format!("Bearer {token}");
    let path = "/a%20b/~c/*(d)!'+%25/%C3%A9?secret=query";
    for _ in 0..2 {
        // The same client id twice: the exchanges must still differ.
        let own;
        let authorization = if tap.requests().iter().any(|seen| seen.line.starts_with("POST")) {
            own = format!("Bearer {}", world.token(MANDATE));
            own.as_str()
        } else {
            bearer.as_str()
        };
        let headers = [
            ("Authorization", authorization),
            ("X-Caracal-Resource", MANDATE),
            ("X-Request-Id", "of-the-client"),
            ("X-Caracal-Client-ID", "app-evil"),
            ("Cookie", "session=1"),
        ];
        let response = testkit::http::request(world.addr(), "PUT", path, &headers, b"body").await;
        report.status("allowed", &response, 200);
    }
    let exchanges: Vec<Seen> = tap
        .requests()
        .into_iter()
        .filter(|seen| seen.line.starts_with("POST"))
        .collect();
    report.equal("exchanges", exchanges.len(), 2);
    let seen = exchanges.first().expect("an exchange");
    report.equal("line", seen.line.as_str(), "POST /oauth/2/token HTTP/1.1");
    let body = String::from_utf8(seen.body.clone()).expect("a form");
    let form = parse(&body);
    report.equal("canonical form", body, canonical(&form));

    let header = |name: &str| seen.headers.get(name).unwrap_or_default().to_owned();
    let id = header("x-request-id");
    let expect = BTreeMap::from(
        [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("zone_id", "zone-dev"),
            ("application_id", "app-dev"),
            ("subject_token", token.as_str()),
            (
                "subject_token_type",
                "urn:ietf:params:oauth:token-type:access_token",
            ),
            ("resource", MANDATE),
            ("request_method", "PUT"),
            ("request_path", "/a b/~c/*(d)!'+%/é"),
            ("gateway_request_id", id.as_str()),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    report.equal("fields", form, expect);
    report.equal(
        "content type",
        header("content-type").as_str(),
        "application/x-www-form-urlencoded",
    );
    report.equal("accept", header("accept").as_str(), "application/json");
    // The older generation wants the nonce to be the request id, the newer one that it is unique.
    report.equal("nonce", header("x-caracal-gateway-request"), id.clone());
    report.holds(
        "an id of the gateway's own",
        id != "of-the-client" && !id.is_empty(),
    );
    let ids: BTreeSet<_> = exchanges
        .iter()
        .map(|seen| seen.headers.get("x-request-id"))
        .collect();
    report.equal("ids differ", ids.len(), 2);

    let timestamp = header("x-caracal-gateway-timestamp");
    let signed_at: u64 = timestamp.parse().expect("seconds");
    report.holds("timestamp", signed_at.abs_diff(real_unix_seconds()) <= 30);
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &seen.body);
    let digest: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let text = format!("{timestamp}\n{id}\nPOST\n/oauth/2/token\n{digest}");
    let key = world.variable("GATEWAY_STS_HMAC_KEY");
    report.equal(
        "signature",
        header("x-caracal-gateway-signature"),
        hmac_sha256_hex(key, text.as_bytes()),
    );
    let allowed = [
        "host",
        "content-type",
        "content-length",
        "accept",
        "user-agent",
        "x-request-id",
        "x-caracal-gateway-timestamp",
        "x-caracal-gateway-request",
        "x-caracal-gateway-signature",
    ];
    let foreign: Vec<_> = seen
        .headers
        .0
        .iter()
        .filter(|(name, _)| !allowed.contains(&name.to_lowercase().as_str()))
        .collect();
    report.equal("nothing of the client's", foreign.len(), 0);
    report.finish();
}
