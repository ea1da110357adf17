//! The `caracal-gateway` binary.

use std::io::Write as _;
use std::num::NonZeroUsize;
use std::process::ExitCode;

use clap::Parser as _;
use gateway::cli::Cli;
use gateway::{commands, process};
use mimalloc::MiMalloc;
use tokio::runtime::Builder;

/// Costs a request less than the system's, and gives part of a burst's memory back. Does not ask for huge pages, of which
/// a process that idles would hold some 10 MiB more.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let workers = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let code = match Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()
    {
        Ok(runtime) => {
            let code = runtime.block_on(commands::run(cli));
            // Everything that must be finished is; a name that is still being looked up is not worth waiting for.
            runtime.shutdown_background();
            code
        }
        Err(error) => {
            // Nowhere is left to complain about a closed standard error.
            let _ = writeln!(std::io::stderr(), "gateway: no runtime: {error}");
            process::INTERNAL
        }
    };
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}
