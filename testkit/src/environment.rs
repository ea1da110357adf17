//! What `scripts/test` tells the tests.

use std::ffi::OsString;
use std::path::PathBuf;

#[expect(
    clippy::disallowed_methods,
    reason = "the servers' addresses reach the tests through the environment"
)]
pub(crate) fn optional(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// A variable that `scripts/test` sets.
pub(crate) fn required(name: &str) -> String {
    let value = optional(name).unwrap_or_else(|| {
        panic!("{name} is not set: this test needs PostgreSQL or Redis, run it with scripts/test [-p CRATE] [FILTER]")
    });
    value
        .into_string()
        .unwrap_or_else(|_| panic!("{name} is not UTF-8"))
}

/// The user that runs the servers when the tests run as root, which PostgreSQL refuses.
pub(crate) fn server_user() -> Option<String> {
    optional("TEST_SERVER_USER").map(|user| user.into_string().expect("TEST_SERVER_USER in UTF-8"))
}

/// Where the shell looks for programs.
pub(crate) fn program_directories() -> Vec<PathBuf> {
    optional("PATH").map_or_else(Vec::new, |path| std::env::split_paths(&path).collect())
}

/// The gateway: `GATEWAY_UNDER_TEST`, split at white space, or the binary built beside the running test.
pub(crate) fn gateway_command() -> Vec<OsString> {
    if let Some(command) = optional("GATEWAY_UNDER_TEST") {
        let command = command.into_string().expect("GATEWAY_UNDER_TEST in UTF-8");
        return command.split_whitespace().map(OsString::from).collect();
    }
    let test = std::env::current_exe().expect("the path of the running test");
    // target/<profile>/deps/<test>-<hash>
    let binary: PathBuf = test
        .ancestors()
        .nth(2)
        .expect("a test inside a target directory")
        .join("caracal-gateway");
    assert!(
        binary.is_file(),
        "{} does not exist: run scripts/test, or build it with the profile of this test",
        binary.display()
    );
    vec![binary.into_os_string()]
}
