//! Gateway, STS and upstream in one process, on loopback: what `dev` and `demo` run.

use std::io;
use std::sync::Arc;

use admission::mode::{Mode, UnknownMode};
use backends::embedded::MemoryStream;
use config::{Config, Env, Layered, MapEnv, Violations};
use devstack::{Devstack, Secret, StackConfig};
use tempfile::TempDir;

use super::shared::{now, serve_until_signalled};
use crate::process::{CONFIG, INTERNAL, Server};
use crate::wiring::{self, StartError};

/// Everything, bound and not serving yet.
pub(super) struct Local {
    pub(super) stack: Devstack,
    pub(super) server: Server,
    /// What the gateway ships its evidence to.
    pub(super) audit: Arc<MemoryStream>,
    /// The spool; dropping it removes the directory.
    pub(super) spool: TempDir,
}

/// Why the local stack did not start.
#[derive(Debug, thiserror::Error)]
pub(super) enum LocalError {
    #[error("gateway: no temporary directory for the audit spool: {0}")]
    Directory(#[from] io::Error),
    #[error("gateway: {0}")]
    Mode(#[from] UnknownMode),
    #[error("gateway: {0}")]
    Stack(#[from] devstack::Error),
    #[error(transparent)]
    Config(#[from] Violations),
    #[error("gateway: {0}")]
    Start(#[from] StartError),
    #[error("gateway: the STS did not mint: {0}")]
    Mint(#[from] devstack::Refusal),
    #[error("gateway: the STS did not revoke: {0}")]
    Revoke(#[from] devstack::RevokeError),
}

impl LocalError {
    /// The exit status.
    pub(super) fn code(&self) -> i32 {
        match self {
            Self::Config(_) | Self::Mode(_) => CONFIG,
            Self::Directory(_) | Self::Stack(_) | Self::Start(_) | Self::Mint(_) | Self::Revoke(_) => {
                INTERNAL
            }
        }
    }
}

impl Local {
    /// Starts the stack and binds the gateway to a port of 127.0.0.1; 0 takes a free one. What the
    /// stack dictates cannot be overridden; the rest may come from `env`, then from `defaults`.
    pub(super) async fn start(
        stack: StackConfig,
        port: u16,
        env: &dyn Env,
        defaults: MapEnv,
    ) -> Result<Self, LocalError> {
        let Mode::Dev(proof) = Mode::parse("dev")? else {
            return Err(UnknownMode::Env.into());
        };
        let spool = tempfile::Builder::new().prefix("caracal-gateway-").tempdir()?;
        let stack = Devstack::start(proof, stack).await?;
        let dictated = MapEnv::new()
            .with("BIND_ADDR", "127.0.0.1")
            .with("PORT", port.to_string())
            .with("INSECURE_HTTP", "true")
            .with("ALLOW_PRIVATE_UPSTREAMS", "true")
            .with("STS_URL", stack.sts_url())
            .with("GATEWAY_STS_HMAC_KEY", stack.gateway_hmac_key().expose())
            .with("STREAMS_HMAC_KEY", Secret::random()?.expose())
            .with("AUDIT_HMAC_KEY", Secret::random()?.expose())
            .with("AUDIT_REPLAY_DIR", spool.path());
        // A default only: where the environment says production, these commands are refused.
        let defaults = defaults.with("CARACAL_ENV", "dev");
        let chosen = Layered {
            first: env,
            then: &defaults,
        };
        let all = Layered {
            first: &dictated,
            then: &chosen,
        };
        let (config, warnings) = Config::load_embedded(&all, now())?;
        let (server, audit) = wiring::embedded(config, &warnings, &stack).await?;
        Ok(Self {
            stack,
            server,
            audit,
            spool,
        })
    }

    /// `http://127.0.0.1:<port>` of the gateway.
    pub(super) fn gateway_url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// Serves until SIGTERM or SIGINT, and returns the exit status.
    pub(super) async fn run(self) -> i32 {
        let code = serve_until_signalled(self.server).await;
        self.stack.shutdown().await;
        code
    }
}
