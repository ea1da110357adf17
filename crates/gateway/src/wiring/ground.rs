//! What every wiring stands on: configuration, clock, supervisor, log, metrics, names, the STS.

use std::sync::Arc;
use std::time::Duration;

use admission::ports::Clock;
use backends::dns::DnsResolver;
use backends::http::PoolLimits;
use backends::jwks::KeyStore;
use backends::sts::{StsClient, StsConfig, Transport};
use backends::tls::ClientTls;
use config::{Config, StsTransport, Warning};
use tokio_util::sync::CancellationToken;

use super::StartError;
use crate::clock::SystemClock;
use crate::ingress::capacity::CapacityLimits;
use crate::process;
use crate::supervisor::Supervisor;
use crate::telemetry::{About, LineSink, Metrics, log};

/// Most idle connections to all upstreams, and to the STS.
const MAX_IDLE: usize = 1000;

/// The ground.
pub(super) struct Ground {
    pub(super) config: Config,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) supervisor: Supervisor,
    pub(super) lines: Arc<LineSink>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) draining: CancellationToken,
    pub(super) limits: CapacityLimits,
    /// Bounds of idle connections to one origin and to all.
    pub(super) pool: PoolLimits,
    pub(super) resolver: Arc<DnsResolver>,
    pub(super) sts: StsClient,
    pub(super) keys: KeyStore,
}

impl Ground {
    /// Lays the ground and starts what runs on it.
    pub(super) fn lay(config: Config, warnings: &[Warning]) -> Result<Self, StartError> {
        let about = About::this_process(config.mode);
        let lines = LineSink::stderr(&about, config.operator.log_level).map_err(StartError::Log)?;
        // A command that runs two gateways in one process keeps the first one's subscriber.
        let _installed = log::install(Arc::clone(&lines), config.operator.log_level);
        log::report_panics();
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        let lax = warnings.iter().filter_map(|warning| match warning {
            Warning::Lax(flag) => Some(*flag),
            _ => None,
        });
        let metrics = Metrics::new(about, lax.collect());
        let open_files = process::raise_open_files();
        let limits = CapacityLimits {
            connections: config.capacity.connections.get() as usize,
            per_source: config.capacity.connections_per_source.get() as usize,
            requests: config.capacity.inflight_requests.get() as usize,
        }
        .within(open_files);
        let pool = PoolLimits {
            per_origin: 100,
            total: limits.idle_connections(open_files, MAX_IDLE),
            idle: Duration::from_secs(90),
        };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let supervisor = Supervisor::new();

        let resolver = Arc::new(DnsResolver::system(Arc::clone(&clock)));
        if let Some(cause) = resolver.without_servers() {
            tracing::warn!(%cause, "only the hosts file is known to the resolver");
        }
        let sts = StsClient::new(
            sts_config(&config, pool),
            Arc::clone(&resolver) as _,
            Arc::clone(&clock),
            supervisor.outbound().clone(),
        )?;
        let (keys, refresher) = KeyStore::new(sts.clone(), Arc::clone(&clock));
        supervisor.background("signing keys", |stop| refresher.run(stop.cancelled_owned()));
        let sweeping = sts.clone();
        supervisor.background("sts connections", |stop| sweeping.run(stop.cancelled_owned()));
        let draining = CancellationToken::new();
        Ok(Self {
            config,
            clock,
            supervisor,
            lines,
            metrics,
            draining,
            limits,
            pool,
            resolver,
            sts,
            keys,
        })
    }
}

fn sts_config(config: &Config, pool: PoolLimits) -> StsConfig {
    StsConfig {
        url: config.sts.url.clone(),
        transport: match config.sts.transport {
            StsTransport::Https => Transport::Https,
            StsTransport::PlainLoopback => Transport::PlainLoopback,
            StsTransport::PlainSingleLabel => Transport::PlainPrivate,
            StsTransport::PlainAnywhere(proof) => Transport::PlainAnywhere(proof),
        },
        timeout: config.timeouts.sts,
        tls: ClientTls {
            authorities: config
                .sts
                .tls
                .authorities
                .as_ref()
                .map(|authorities| authorities.certificates.clone()),
            identity: config
                .sts
                .tls
                .identity
                .as_ref()
                .map(|identity| Arc::clone(identity.certified_key())),
        },
        pool,
    }
}
