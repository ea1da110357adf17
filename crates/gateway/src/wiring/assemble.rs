//! From the runtime and its stores to a server.

use std::sync::Arc;
use std::time::Duration;

use admission::Admission;
use admission::exchange::{Circuit, CircuitLimits, ExchangeSigner};
use admission::ports::{Bindings, Cause, ReplayMarks};
use admission::token::VerifiedOnce;
use backends::anchor::{self, AnchorConfig, AnchorSetupError, AnchorStats};
use backends::component::{Check, Component, Health, Stage};
use backends::http::{Client, ClientConfig, Http2Config};
use backends::revocation::RevocationState;
use backends::tls::{TlsClient, http_client_config, upstream_client_config};
use config::{AnchorTransport, Config};
use evidence::{AuditKey, CheckpointKey, Fsync, Shipper, Spool, SpoolConfig, StreamSink};
use tokio_util::sync::CancellationToken;

use super::StartError;
use super::listening::{HandedListeners, proxy_headers, speaks};
use super::own::{self, OwnEndpoints};
use super::runtime::{Runtime, client_tls};
use super::timed::TimedSts;
use crate::clock;
use crate::cors::Cors;
use crate::front::Front;
use crate::ingress::capacity::{Capacity, CapacityLimits};
use crate::ingress::connection::{ConnectionContext, Shutdown, TimeLimits};
use crate::ingress::listener::{Acceptor, Listener, Speaks};
use crate::ingress::overload::Overload;
use crate::operator::ready::Readiness;
use crate::operator::{ListenerRole, Operator};
use crate::process::{Server, Stop};
use crate::proxy::{CrossingTimes, Proxy};
use crate::renewal::Shown;
use crate::service_manager::ServiceManager;
use crate::telemetry::figures::{self, ProcessFigures};
use crate::telemetry::metrics::Page;
use crate::upstream::Upstream;

/// The operator's own listener has places of its own: it answers when the public one is full.
const OPERATOR_CAPACITY: CapacityLimits = CapacityLimits {
    connections: 64,
    per_source: 64,
    requests: 64,
};
/// How soon a group `fsync` follows a record (`AUDIT_FSYNC=interval`).
const GROUP_COMMIT_INTERVAL: Duration = Duration::from_millis(50);
/// How long what was started may take to end when the start fails.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// The stores behind the gates.
pub(super) struct Stores {
    pub(super) bindings: Arc<dyn Bindings>,
    /// Has the bindings read again.
    pub(super) reload_bindings: Arc<dyn Fn() + Send + Sync>,
    pub(super) replay: Arc<dyn ReplayMarks>,
    pub(super) revocations: RevocationState,
    pub(super) sink: Arc<dyn StreamSink>,
    /// Where the stores are reached now, as far as the configuration does not name it.
    pub(super) own_endpoints: own::Source,
}

/// Starts what runs in the background, waits for the stores, binds the listeners and builds the server. When that
/// fails, or is stopped, what was started ends as if it had been asked to, and the error is the only thing said.
pub(super) async fn start(
    runtime: Runtime,
    stores: Stores,
    handed: HandedListeners,
    stop: &mut Stop,
) -> Result<Server, StartError> {
    let supervisor = runtime.supervisor.clone();
    let server = tokio::select! {
        biased;
        server = assemble(runtime, stores, handed) => server,
        () = stop.asked() => Err(StartError::Stopped),
    };
    if server.is_err() {
        // What does not end in time ends with the process.
        let _late = tokio::time::timeout(STOP_TIMEOUT, supervisor.finish()).await;
    }
    server
}

async fn assemble(
    mut runtime: Runtime,
    stores: Stores,
    handed: HandedListeners,
) -> Result<Server, StartError> {
    let sink = anchored(&mut runtime, Arc::clone(&stores.sink))?;
    let sink = runtime.add(sink);
    let spool = runtime.add(spool(&runtime, sink)?);
    runtime.add(runtime.sts.clone().component());
    let upstream = upstream(&mut runtime)?;
    let upstream = runtime.add(upstream);
    let circuit = runtime.add(circuit(&runtime));
    let capacity = runtime.add(capacity(&runtime));
    let overload_delay = runtime.config.capacity.overload_delay;
    let overload = runtime.add(Overload::component(overload_delay, Arc::clone(&runtime.metrics)));
    let speaks = speaks(&mut runtime)?;
    let certificates = runtime.renewal.component();
    let renew_now = runtime.add(certificates);
    runtime.start().await?;

    let (listener, operator_listener) = handed.and_bound(&runtime.config)?;
    let listeners = [Some(&listener), operator_listener.as_ref()];
    let shutdown = Shutdown::default();
    let draining = CancellationToken::new();
    let proxy = Arc::new(Proxy {
        admission: admission(&runtime, &stores, circuit, listeners)?,
        overload,
        upstream,
        recorder: runtime.recorder(spool, Arc::clone(&capacity)),
        trusted_proxies: forwarding::TrustedProxies::new(runtime.config.listener.trusted_proxies.clone()),
        cors: Cors::new(&runtime.config.listener.cors_origins),
        early_hints: runtime.config.listener.early_hints,
        times: crossing_times(&runtime.config),
        closing: shutdown.streams.clone(),
    });
    let own_listener = operator_listener.is_some();
    let operator = operator(&mut runtime, stores.revocations, draining.clone(), own_listener);
    let operator = Arc::new(operator);
    let acceptor = |role, speaks, capacity, proxy_headers| Acceptor {
        speaks,
        proxy_headers,
        capacity,
        context: ConnectionContext {
            handler: Arc::new(Front {
                proxy: Arc::clone(&proxy),
                operator: Arc::clone(&operator),
                role,
            }),
            limits: time_limits(&runtime.config),
            shutdown: shutdown.clone(),
            connections: runtime.supervisor.inbound().clone(),
        },
    };
    Ok(Server {
        listener,
        acceptor: acceptor(
            ListenerRole::Public,
            speaks,
            capacity,
            proxy_headers(&runtime.config),
        ),
        operator_listener: operator_listener.map(|listener| {
            // It faces the inside: it is plain, like every metrics endpoint.
            let capacity = Capacity::new(OPERATOR_CAPACITY);
            let acceptor = acceptor(ListenerRole::Operator, Speaks::Plain, capacity, None);
            (listener, acceptor)
        }),
        operator,
        reload_bindings: stores.reload_bindings,
        renew_now,
        supervisor: runtime.supervisor.clone(),
        shutdown: shutdown.clone(),
        draining,
        times: runtime.config.life_cycle,
        manager: ServiceManager::new(&runtime.config.manager),
    })
}

fn admission(
    runtime: &Runtime,
    stores: &Stores,
    circuit: Arc<Circuit>,
    listeners: [Option<&Listener>; 2],
) -> Result<Admission, StartError> {
    let config = &runtime.config;
    let listeners = listeners.into_iter().flatten().map(Listener::address);
    let peers = Arc::clone(&stores.own_endpoints);
    let own = OwnEndpoints::new(config.egress.policy([]), listeners.collect(), peers);
    let own = own.map_err(StartError::Interfaces)?;
    let followed = Arc::clone(&own);
    runtime
        .supervisor
        .background("own endpoints", |stop| followed.run(stop));
    Ok(Admission {
        limits: config.gates.limits.clone(),
        egress: own,
        dialect: config.sts.dialect,
        on_replay_outage: config.gates.on_replay_outage,
        signer: ExchangeSigner::new(config.signing.exchange.as_bytes(), runtime.sts.prefix()),
        clock: Arc::clone(&runtime.clock),
        keys: Arc::new(runtime.keys.clone()),
        verified_once: VerifiedOnce::default(),
        revocations: Arc::new(stores.revocations.clone()),
        bindings: Arc::clone(&stores.bindings),
        resolver: Arc::clone(&runtime.resolver) as _,
        circuit,
        replay: Arc::clone(&stores.replay),
        sts: Arc::new(TimedSts {
            sts: runtime.sts.clone(),
            metrics: Arc::clone(&runtime.metrics),
        }),
    })
}

fn operator(
    runtime: &mut Runtime,
    state: RevocationState,
    draining: CancellationToken,
    own_listener: bool,
) -> Operator {
    let figures = std::mem::take(&mut runtime.components.figures);
    let metrics = Arc::clone(&runtime.metrics);
    Operator {
        metrics: Box::new(move || {
            let mut page = Page::default();
            metrics.write(&mut page);
            figures.iter().for_each(|write| write(&mut page));
            page
        }),
        metrics_access: runtime.config.operator.metrics.clone(),
        admin_token: runtime.config.operator.admin_token.clone(),
        own_listener,
        readiness: Readiness {
            checks: std::mem::take(&mut runtime.components.checks),
            draining,
        },
        reload: Box::new(move || {
            let state = state.clone();
            Box::pin(async move { state.reload().await.map(|anchors| anchors as u64) })
        }),
    }
}

/// The spool, with its flusher and the shipper to the audit stream.
fn spool(runtime: &Runtime, sink: Arc<dyn StreamSink>) -> Result<Component<Spool>, StartError> {
    let config = &runtime.config.evidence;
    let (spool, flusher) = Spool::open(SpoolConfig {
        dir: config.directory.clone(),
        max_bytes: config.max_bytes,
        fsync: match config.fsync {
            config::Fsync::Interval => Fsync::Interval(GROUP_COMMIT_INTERVAL),
            config::Fsync::Always => Fsync::Always,
        },
        fsync_timeout: config.fsync_timeout,
        denials_per_second: config.denials_per_second.get(),
        checkpoint_key: checkpoint_key(config)?,
        clock: Arc::new(clock::unix_micros),
        monotonic: Arc::new(clock::monotonic_micros),
    })?;
    let key = AuditKey::new(runtime.config.signing.audit.as_bytes())?;
    let shipper = Shipper::new(&spool, Some(key));
    let (room, stream, measured) = (spool.clone(), spool.clone(), spool.clone());
    Ok(Component::new(spool)
        .check(Check::known("audit", "audit_unavailable", move || {
            // Whether the next request's evidence would find room: the room is given back at once.
            let none = room.reserve().err();
            let none = none.map(|none| Cause::new(none.to_string()).labelled(none.label()));
            let little = || {
                let words = "less than a quarter of AUDIT_SPOOL_MAX_BYTES is left";
                Cause::new(words).labelled("spool_nearly_full")
            };
            let fault = none.or_else(|| room.is_nearly_full().then(little));
            Health { fault, age: None }
        }))
        .check(audit_stream(stream).advisory())
        .figures(move |out| figures::evidence(&measured.stats(), out))
        .task("evidence flusher", Stage::Background, |stop| {
            flusher.run(stop.cancelled_owned())
        })
        .task("evidence shipper", Stage::Delivery, |stop| {
            shipper.run(sink, stop.cancelled_owned())
        }))
}

/// The audit stream, whose checkpoints also go to the anchor, where there is one.
fn anchored(
    runtime: &mut Runtime,
    stream: Arc<dyn StreamSink>,
) -> Result<Component<Arc<dyn StreamSink>>, StartError> {
    let Some(anchor) = runtime.config.evidence.anchor.clone() else {
        let none = AnchorStats::default();
        return Ok(Component::new(stream).figures(move |out| none.samples(out)));
    };
    let files = config::ClientTls {
        authorities: anchor.authorities,
        identity: None,
    };
    let tls = http_client_config(&client_tls(&files)).map_err(AnchorSetupError::Tls)?;
    let tls = TlsClient::new(tls);
    let config = AnchorConfig {
        url: anchor.url.expose().clone(),
        transport: match anchor.transport {
            AnchorTransport::Https => anchor::Transport::Https,
            AnchorTransport::PlainLoopback(_dev_only) => anchor::Transport::PlainLoopback,
        },
        tls: tls.clone(),
    };
    runtime.renewal.watch(Shown::ToServers, files, move |files| {
        let config = http_client_config(&client_tls(files)).map_err(|error| format!("anchor: {error}"))?;
        tls.renew(config);
        Ok(())
    });
    let (resolver, clock) = (Arc::clone(&runtime.resolver) as _, Arc::clone(&runtime.clock));
    let connections = runtime.supervisor.outbound().clone();
    Ok(anchor::component(&config, stream, resolver, clock, connections)?)
}

fn checkpoint_key(config: &config::Evidence) -> Result<Option<CheckpointKey>, StartError> {
    let secret = config.checkpoint_key.as_ref();
    let key =
        secret.map(|secret| CheckpointKey::from_seed(*secret.expose()).ok_or(StartError::CheckpointKey));
    key.transpose()
}

/// Whether the audit stream takes events. While it does not, they wait in the spool.
fn audit_stream(spool: Spool) -> Check {
    Check::known("audit_stream", "audit_unavailable", move || {
        let stalled = || match spool.stats().stream_full {
            true => Cause::new("the audit stream is full (AUDIT_STREAM_MAX_LEN); events wait in the spool"),
            false => Cause::new("the audit stream does not take events; they wait in the spool"),
        };
        let fault = spool.is_stalled().then(stalled);
        Health { fault, age: None }
    })
}

/// The connections to upstreams.
fn upstream(runtime: &mut Runtime) -> Result<Component<Upstream>, StartError> {
    let files = runtime.config.upstream_tls.clone();
    let tls = TlsClient::new(upstream_client_config(&client_tls(&files))?);
    let renewed = tls.clone();
    runtime.renewal.watch(Shown::ToServers, files, move |files| {
        let config =
            upstream_client_config(&client_tls(files)).map_err(|error| format!("upstreams: {error}"))?;
        renewed.renew(config);
        Ok(())
    });
    let config = ClientConfig {
        tls,
        http2: Http2Config {
            cleartext_hosts: runtime.config.egress.h2c_hosts.clone(),
            ..Http2Config::default()
        },
        limits: runtime.pool,
    };
    let connections = runtime.supervisor.outbound().clone();
    let client = Client::new(config, Arc::clone(&runtime.clock), connections);
    let (measured, swept) = (client.clone(), client.clone());
    Ok(
        Component::new(Upstream::new(client, runtime.config.timeouts.upstream))
            .figures(move |out| figures::upstream_connections(&measured.stats(), out))
            .task("upstream connections", Stage::Background, |stop| swept.run(stop)),
    )
}

fn circuit(runtime: &Runtime) -> Component<Arc<Circuit>> {
    let circuit = Circuit::new(CircuitLimits {
        max_inflight: runtime.config.sts.max_inflight.get() as usize,
    });
    let (measured, clock) = (Arc::clone(&circuit), Arc::clone(&runtime.clock));
    let (watched, sts) = (Arc::clone(&circuit), runtime.sts.clone());
    Component::new(circuit)
        .figures(move |out| figures::circuit(measured.figures(clock.now()), out))
        .task("sts recovery", Stage::Background, |stop| {
            sts.watch_recovery(watched, stop)
        })
}

/// What the listeners take on, and the figures of the process.
fn capacity(runtime: &Runtime) -> Component<Arc<Capacity>> {
    let capacity = Capacity::new(runtime.limits);
    let (measured, lines) = (Arc::clone(&capacity), Arc::clone(&runtime.lines));
    Component::new(capacity).figures(move |out| {
        let (connections, requests) = measured.held();
        let process = ProcessFigures {
            connections,
            requests,
            refused: measured.refused.figures(),
            log_lines_dropped: lines.dropped(),
        };
        process.samples(out);
    })
}

fn crossing_times(config: &Config) -> CrossingTimes {
    CrossingTimes {
        read: config.timeouts.read,
        write: config.timeouts.write,
        stream_idle: config.timeouts.stream_idle,
        sse_keepalive: config.timeouts.sse_keepalive,
    }
}

fn time_limits(config: &Config) -> TimeLimits {
    TimeLimits {
        head: config.timeouts.read_header,
        idle: config.timeouts.idle,
        write: config.timeouts.write,
    }
}
