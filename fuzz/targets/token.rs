//! The preflight and the token parser, fed with any header and any claims in the compact form.
#![no_main]

use std::time::Duration;

use admission::limits::{Limits, ReusableUses};
use admission::ports::Moment;
use admission::received::Head;
use admission::{preflight, token};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|parts: (&str, &str, &[u8])| {
    let (header, claims, signature) = parts;
    let bearer = [header.as_bytes(), claims.as_bytes(), signature]
        .map(|part| URL_SAFE_NO_PAD.encode(part))
        .join(".");
    let request = http::Request::get("/v1")
        .header("x-caracal-resource", "resource://fuzz")
        .header("authorization", format!("Bearer {bearer}"));
    let Ok(request) = request.body(()) else { return };
    let (head, ()) = request.into_parts();
    let limits = Limits {
        max_request_bytes: 1024,
        preflight_window: Duration::from_secs(35),
        reusable_uses: ReusableUses::new(["session".to_owned()]),
        upgrades: admission::Upgrades::default(),
    };
    let now = Moment {
        unix: Duration::from_secs(1_790_000_000),
        monotonic: Duration::ZERO,
    };
    let head = Head {
        parts: &head,
        exchange_id: "fuzz",
        own_place: &admission::OwnPlace::default(),
        subprotocols: &admission::subprotocols::NONE,
    };
    let mut scratch = token::Scratch::default();
    if let Ok(request) = preflight::check(head, &limits, |_| ()) {
        let _verdict = token::parse(request, &mut scratch, &limits, now);
    }
});
