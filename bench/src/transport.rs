//! What lies around a request: the CPU of bulk bodies beside nginx without buffering, that of a new TLS connection beside
//! the TLS library alone, and the memory of an idle connection after one request.

mod bulk;
mod handshakes;
mod idle;

use std::ffi::OsString;

use clap::Args;

pub(crate) use handshakes::TlsAlone;

use crate::failure::Result;
use crate::servers::Servers;

/// What to measure, and how much of it.
#[derive(Args, Clone, Debug)]
pub(crate) struct Plan {
    /// Turns of each side; the ratios are of the medians.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=50))]
    rounds: u16,
    /// Length of a body in MiB, in each turn.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    mebibytes: u32,
    /// New TLS connections in each turn.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    handshakes: u32,
    /// Idle connections whose memory is measured.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    idle: u32,
}

/// Runs it all; the second value tells whether all is within its bounds.
pub(crate) async fn run(command: &[OsString], servers: &Servers, plan: &Plan) -> Result<(String, bool)> {
    let (idle, little) = idle::run(command, servers, plan).await?;
    let (handshakes, quick) = handshakes::run(command, servers, plan).await?;
    let (bulk, cheap) = bulk::run(command, servers, plan).await?;
    Ok((format!("{bulk}\n{handshakes}\n{idle}"), cheap && quick && little))
}
