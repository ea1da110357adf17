//! `serve`: the gateway, configured by the environment alone.

use config::{Config, ProcessEnv};

use super::{complain, now, serve_until_signalled};
use crate::process::{CONFIG, INTERNAL};
use crate::wiring;

pub(super) async fn run() -> i32 {
    let (config, warnings) = match Config::load(&ProcessEnv, now()) {
        Ok(loaded) => loaded,
        Err(violations) => {
            complain(violations);
            return CONFIG;
        }
    };
    match wiring::external(config, &warnings).await {
        Ok(server) => serve_until_signalled(server).await,
        Err(error) => {
            complain(format_args!("gateway: {error}"));
            INTERNAL
        }
    }
}
