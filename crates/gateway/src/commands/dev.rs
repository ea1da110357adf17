//! `dev`: everything embedded on loopback, until Ctrl-C.

mod guide;

use std::io::{self, IsTerminal as _};
use std::net::{Ipv4Addr, TcpListener};

use config::{MapEnv, ProcessEnv};
use devstack::StackConfig;

use super::local::{Local, LocalError};
use super::shared::{complain, print};
use crate::cli::DevArgs;
use guide::Guide;

/// The port of production, which examples use.
const PORT: u16 = 8081;
/// How many ports from [`PORT`] on are tried before any free one is taken.
const TRIES: u16 = 100;

pub(super) async fn run(arguments: DevArgs) -> i32 {
    match start(arguments.port.unwrap_or_else(free_port)).await {
        Ok((local, guide)) => {
            // The gateway serves on, also when nobody reads the guide.
            let _ = print(&guide.render(io::stdout().is_terminal()));
            local.run().await
        }
        Err(error) => {
            complain(&error);
            error.code()
        }
    }
}

async fn start(port: u16) -> Result<(Local, Guide), LocalError> {
    let local = Local::start(StackConfig::standard()?, port, &ProcessEnv, MapEnv::new()).await?;
    let program = std::env::current_exe()?;
    let guide = Guide::new(&local.gateway_url(), &local.stack, &program)?;
    Ok((local, guide))
}

/// The first port from [`PORT`] on that nobody listens on.
fn free_port() -> u16 {
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    (PORT..PORT + TRIES).find(free).unwrap_or(0)
}
