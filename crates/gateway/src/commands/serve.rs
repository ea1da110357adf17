//! `serve`: the gateway, configured by the environment alone.

use config::{Config, ProcessEnv};

use super::shared::{complain, now};
use crate::process::{self, CONFIG, INTERNAL, LOG_FLUSH_TIMEOUT, Stop};
use crate::telemetry::log;
use crate::wiring::{self, StartError};

pub(super) async fn run() -> i32 {
    let (config, warnings) = match Config::load(&ProcessEnv, now()) {
        Ok(loaded) => loaded,
        Err(violations) => {
            complain(violations);
            return CONFIG;
        }
    };
    // From here on: a supervisor may send it before everything stands.
    let signals = process::hangup().and_then(|hangup| Ok((hangup, Stop::signals()?)));
    let (hangup, mut stop) = match signals {
        Ok(signals) => signals,
        Err(error) => {
            complain(format_args!("gateway: no signal handlers: {error}"));
            return INTERNAL;
        }
    };
    match wiring::external(config, &warnings, &mut stop).await {
        Ok(server) => {
            server.reload_on(hangup);
            server.run(stop).await
        }
        Err(StartError::Stopped) => {
            tracing::info!("stopped");
            // Nobody may read it.
            let _ = log::flush(LOG_FLUSH_TIMEOUT);
            process::OK
        }
        Err(error) => {
            complain(format_args!("gateway: {error}"));
            error.code()
        }
    }
}
