//! The short form of `scripts/soak crash`.

use std::path::Path;
use std::process::Command;

#[test]
fn crash_of_twenty_gateways_under_load_loses_no_event_and_invents_none() {
    let program = env!("CARGO_BIN_EXE_caracal-bench");
    let gateway = Path::new(program).with_file_name("caracal-gateway");
    assert!(
        gateway.is_file(),
        "{} does not exist: run scripts/test, or build it with the profile of this test",
        gateway.display()
    );
    // All settings at once, because most of the time goes by while gateways wait for their Redis to have come back.
    let output = Command::new(program)
        .args(["crash", "--kills", "20", "--seed", "1", "--at-once", "6"])
        .args(["--longest-ms", "700", "--callers", "8"])
        .output()
        .expect("the program beside this test");
    let [report, errors] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    println!("{report}");
    assert!(output.status.success(), "{report}{errors}");
}
