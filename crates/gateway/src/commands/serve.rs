//! `serve`: the gateway, configured by the environment alone.

use config::{Config, ProcessEnv};

use super::{complain, now};
use crate::process::{CONFIG, INTERNAL, Stop};
use crate::wiring;

pub(super) async fn run() -> i32 {
    let (config, warnings) = match Config::load(&ProcessEnv, now()) {
        Ok(loaded) => loaded,
        Err(violations) => {
            complain(violations);
            return CONFIG;
        }
    };
    // Before anything is started, so that no signal is missed.
    let stop = match Stop::signals() {
        Ok(stop) => stop,
        Err(error) => {
            complain(format_args!("gateway: no signal handlers: {error}"));
            return INTERNAL;
        }
    };
    match wiring::real(config, &warnings).await {
        Ok(house) => house.run(stop).await,
        Err(error) => {
            complain(format_args!("gateway: {error}"));
            INTERNAL
        }
    }
}
