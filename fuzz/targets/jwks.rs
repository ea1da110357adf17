//! A zone's key set, as an STS or somebody in its place sent it.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|document: &[u8]| {
    if let Ok(keys) = admission::token::jwks::parse(document) {
        assert!(!keys.is_empty(), "an empty set is an error");
    }
});
