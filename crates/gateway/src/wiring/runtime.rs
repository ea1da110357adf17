//! What every gateway runs on, whatever its stores: configuration, clock, supervisor, log, metrics, names, the STS.

use std::sync::Arc;
use std::time::Duration;

use admission::ports::{Cause, Clock};
use backends::component::{Component, Stage};
use backends::dns::DnsResolver;
use backends::http::PoolLimits;
use backends::jwks::KeyStore;
use backends::sts::{StsClient, StsConfig, Transport};
use backends::tls::ClientTls;
use config::{Config, StsTransport, Warning};
use evidence::Spool;

use super::StartError;
use crate::clock::SystemClock;
use crate::ingress::capacity::{Capacity, CapacityLimits};
use crate::process;
use crate::record::Recorder;
use crate::renewal::{Renewal, Shown};
use crate::supervisor::Supervisor;
use crate::telemetry::{About, LineSink, Metrics, log};

/// How long the stores may take to come up at start.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How often they are asked meanwhile.
const START_POLL: Duration = Duration::from_millis(10);
/// Most idle connections to all upstreams, and to the STS.
const MAX_IDLE: usize = 1000;

/// What every gateway runs on, and the components added so far.
pub(super) struct Runtime {
    pub(super) config: Config,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) supervisor: Supervisor,
    pub(super) lines: Arc<LineSink>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) limits: CapacityLimits,
    /// Bounds of idle connections to one origin and to all.
    pub(super) pool: PoolLimits,
    pub(super) resolver: Arc<DnsResolver>,
    pub(super) sts: StsClient,
    pub(super) keys: KeyStore,
    pub(super) components: Component<()>,
    /// The files that are read again when they change.
    pub(super) renewal: Renewal,
}

impl Runtime {
    /// Sets up the log and what the components need. No task runs yet.
    pub(super) fn new(config: Config, warnings: &[Warning]) -> Result<Self, StartError> {
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
        let limits = capacity_limits(&config).within(open_files);
        let pool = PoolLimits {
            per_origin: 100,
            total: limits.idle_connections(open_files, MAX_IDLE),
            idle: Duration::from_secs(90),
        };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let supervisor = Supervisor::new();
        let mut components = Component::new(());

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
        let keys = components.add(KeyStore::component(sts.clone(), Arc::clone(&clock)));
        let mut renewal = Renewal::new(config.mode, Arc::clone(&clock));
        let renewed = sts.clone();
        renewal.watch(Shown::ToServers, config.sts.tls.clone(), move |tls| {
            let renewed = renewed.renew_tls(&client_tls(tls));
            renewed.map_err(|error| format!("STS: {error}"))
        });
        Ok(Self {
            config,
            clock,
            supervisor,
            lines,
            metrics,
            limits,
            pool,
            resolver,
            sts,
            keys,
            components,
            renewal,
        })
    }

    /// Adds a component, whose port is returned. `/ready` lists the checks in the order in which they are added.
    pub(super) fn add<P>(&mut self, component: Component<P>) -> P {
        self.components.add(component)
    }

    /// Spawns the tasks of all components, and waits until every store that is awaited has come up.
    ///
    /// # Errors
    /// One did not come up in time: the first in the order of `/ready`.
    pub(super) async fn start(&mut self) -> Result<(), StartError> {
        for task in self.components.tasks.drain(..) {
            match task.stage {
                Stage::Background => self.supervisor.background(task.name, task.run),
                Stage::Delivery => self.supervisor.delivery(task.name, task.run),
                Stage::Foundation => self.supervisor.foundation(task.name, task.run),
            }
        }
        let deadline = self.clock.now().monotonic + START_TIMEOUT;
        while let Some((what, cause)) = self.first_missing().await {
            if self.clock.now().monotonic >= deadline {
                let seconds = START_TIMEOUT.as_secs();
                return Err(StartError::Dependency { what, seconds, cause });
            }
            tokio::time::sleep(START_POLL).await;
        }
        Ok(())
    }

    async fn first_missing(&self) -> Option<(&'static str, Cause)> {
        for check in &self.components.checks {
            // A fault of this process does not end with waiting, and does not keep every request from being served.
            if let Some(what) = check.awaited
                && let Some(cause) = (check.probe)().await.fault
                && !cause.is_local()
            {
                return Some((what, cause));
            }
        }
        None
    }

    /// Who keeps the records of requests.
    pub(super) fn recorder(&self, spool: Spool, capacity: Arc<Capacity>) -> Arc<Recorder> {
        Arc::new(Recorder {
            metrics: Arc::clone(&self.metrics),
            lines: Arc::clone(&self.lines),
            spool,
            capacity,
        })
    }
}

fn capacity_limits(config: &Config) -> CapacityLimits {
    CapacityLimits {
        connections: config.capacity.connections.get() as usize,
        per_source: config.capacity.connections_per_source.get() as usize,
        requests: config.capacity.inflight_requests.get() as usize,
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
        tls: client_tls(&config.sts.tls),
        pool,
    }
}

/// What the files hold, for connections over HTTP.
pub(super) fn client_tls(tls: &config::ClientTls) -> ClientTls {
    let (authorities, identity) = (tls.authorities.as_ref(), tls.identity.as_ref());
    ClientTls {
        authorities: authorities.map(|authorities| authorities.certificates.clone()),
        identity: identity.map(|identity| Arc::clone(identity.certified_key())),
    }
}
