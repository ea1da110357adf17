//! `serve`: the gateway, configured by the environment alone.

use config::{Config, ProcessEnv};

use super::shared::{complain, now, serve_until_signalled};
use crate::process::{self, CONFIG, INTERNAL};
use crate::wiring;

pub(super) async fn run() -> i32 {
    let (config, warnings) = match Config::load(&ProcessEnv, now()) {
        Ok(loaded) => loaded,
        Err(violations) => {
            complain(violations);
            return CONFIG;
        }
    };
    // From here on: a supervisor may send it before everything stands.
    let hangup = match process::hangup() {
        Ok(hangup) => hangup,
        Err(error) => {
            complain(format_args!("gateway: no signal handlers: {error}"));
            return INTERNAL;
        }
    };
    match wiring::external(config, &warnings).await {
        Ok(server) => {
            server.reload_on(hangup);
            serve_until_signalled(server).await
        }
        Err(error) => {
            complain(format_args!("gateway: {error}"));
            error.code()
        }
    }
}
