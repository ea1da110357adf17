//! The traversal predicate: total, and never laxer than splitting what was decoded once.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|path: &[u8]| {
    let passes = admission::preflight::path::judge(path).is_ok();
    let leaves = path
        .split(|byte| *byte == b'/')
        .any(|part| matches!(part, b"." | b".."));
    assert!(!(passes && leaves), "a dot part passed");
});
