//! From the runtime and the stores to a server.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use admission::Admission;
use admission::exchange::{Circuit, CircuitLimits, ExchangeSigner};
use admission::ports::{Cause, Clock};
use backends::http::{Client, ClientConfig};
use backends::tls::ClientTls;
use config::{Config, Transport};
use evidence::{AuditKey, Fsync, Shipper, Spool, SpoolConfig};
use tokio_util::sync::CancellationToken;

use super::StartError;
use super::ground::Ground;
use super::own;
use super::timed::TimedSts;
use super::world::World;
use crate::account::Accounts;
use crate::clock;
use crate::front::Front;
use crate::ingress::capacity::{Capacity, CapacityLimits};
use crate::ingress::connection::{Context, Shutdown};
use crate::ingress::listener::{Acceptor, Listener, Speaks};
use crate::ingress::pace::PaceLimits;
use crate::ingress::tls;
use crate::operator::probe::{self, Health, Probe, State};
use crate::operator::ready::Readiness;
use crate::operator::{ListenerRole, Operator};
use crate::process::{EndTimes, Server};
use crate::proxy::{CrossingTimes, Proxy, SpoolRooms};
use crate::telemetry::Figures;
use crate::telemetry::figures::{CapacityFigures, FigureSource, KeyFigures};
use crate::upstream::Upstream;

/// The operator's own listener has places of its own: it answers when the public one is full.
const OPERATOR_CAPACITY: CapacityLimits = CapacityLimits {
    connections: 64,
    per_source: 64,
    requests: 64,
};
/// How soon a group `fsync` follows a record (`AUDIT_FSYNC=interval`).
const GROUP_COMMIT: Duration = Duration::from_millis(50);
/// How often the STS is asked for its health at most.
const STS_HEALTH_LIFE: Duration = Duration::from_secs(5);

/// Binds the listeners and builds the server.
pub(super) async fn assemble(ground: Ground, world: World) -> Result<Server, StartError> {
    let public = &ground.config.listener;
    let bind_public = if public.address_is_default {
        Listener::bind_default
    } else {
        Listener::bind
    };
    let listener = bind(public.address, bind_public)?;
    let operator_listener = ground
        .config
        .operator
        .address
        .map(|address| bind(address, Listener::bind))
        .transpose()?;
    let spool = open_spool(&ground, &world)?;
    let circuit = Circuit::new(CircuitLimits {
        max_inflight: ground.config.sts.max_inflight.get() as usize,
    });
    let capacity = Capacity::new(ground.limits);
    let streams = CancellationToken::new();

    let listeners = [
        Some(listener.address()),
        operator_listener.as_ref().map(Listener::address),
    ];
    let also_own = listeners.into_iter().flatten().flat_map(own::listener);
    let mut egress = ground.config.egress.policy(also_own);
    egress
        .own_endpoints
        .extend(own::resolved(&egress.own_endpoints, &*ground.resolver).await);

    let admission = Admission {
        limits: ground.config.gates.limits.clone(),
        egress,
        dialect: ground.config.sts.dialect,
        on_replay_outage: ground.config.gates.on_replay_outage,
        signer: ExchangeSigner::new(ground.config.signing.exchange.as_bytes(), ground.sts.prefix()),
        clock: Arc::clone(&ground.clock),
        keys: Arc::new(ground.keys.clone()),
        revocations: Arc::clone(&world.revocations),
        bindings: Arc::clone(&world.bindings),
        resolver: Arc::clone(&ground.resolver) as _,
        circuit: Arc::clone(&circuit),
        replay: Arc::clone(&world.replay),
        sts: Arc::new(TimedSts {
            sts: ground.sts.clone(),
            metrics: Arc::clone(&ground.metrics),
        }),
        evidence: Arc::new(SpoolRooms(spool.clone())),
    };
    let proxy = Arc::new(Proxy {
        admission,
        upstream: upstream(&ground)?,
        accounts: Arc::new(Accounts {
            metrics: Arc::clone(&ground.metrics),
            lines: Arc::clone(&ground.lines),
            spool: spool.clone(),
        }),
        trusted_proxies: forwarding::TrustedProxies::new(ground.config.listener.trusted_proxies.clone()),
        times: CrossingTimes {
            read: ground.config.timeouts.read,
            write: ground.config.timeouts.write,
            stream_idle: ground.config.timeouts.stream_idle,
        },
        closing: streams.clone(),
    });
    let operator = Arc::new(operator(
        &ground,
        world,
        &spool,
        &circuit,
        &capacity,
        operator_listener.is_some(),
    ));

    let shutdown = Shutdown {
        drain: CancellationToken::new(),
        streams,
        cut: CancellationToken::new(),
    };
    let speaks = match &ground.config.listener.transport {
        Transport::Tls(identity) => Speaks::Tls(tls::acceptor(Arc::clone(identity.certified_key()))?),
        Transport::Plain(_dev_only) => Speaks::Plain,
    };
    let acceptor = |proxy, role, speaks, capacity: &Arc<Capacity>| Acceptor {
        speaks,
        capacity: Arc::clone(capacity),
        context: Context {
            front: Arc::new(Front {
                proxy,
                operator: Arc::clone(&operator),
                role,
                capacity: Arc::clone(capacity),
            }),
            pace: pace_limits(&ground.config),
            shutdown: shutdown.clone(),
            connections: ground.supervisor.inbound().clone(),
        },
    };
    let operator_acceptor = operator_listener.map(|listener| {
        // The operator's own listener faces the inside: it is plain, like every metrics endpoint.
        let capacity = Capacity::new(OPERATOR_CAPACITY);
        let role = ListenerRole::Operator;
        (listener, acceptor(None, role, Speaks::Plain, &capacity))
    });
    Ok(Server {
        listener,
        acceptor: acceptor(Some(proxy), ListenerRole::Public, speaks, &capacity),
        operator_listener: operator_acceptor,
        operator,
        supervisor: ground.supervisor,
        shutdown,
        draining: ground.draining,
        times: EndTimes {
            drain_delay: ground.config.life_cycle.drain_delay,
            grace: ground.config.life_cycle.shutdown_grace,
        },
    })
}

fn bind(
    address: SocketAddr,
    bind: impl FnOnce(SocketAddr) -> io::Result<Listener>,
) -> Result<Listener, StartError> {
    bind(address).map_err(|source| StartError::Bind { address, source })
}

fn open_spool(ground: &Ground, world: &World) -> Result<Spool, StartError> {
    let config = &ground.config.evidence;
    let (spool, flusher) = Spool::open(SpoolConfig {
        dir: config.directory.clone(),
        max_bytes: config.max_bytes,
        fsync: match config.fsync {
            config::Fsync::Interval => Fsync::Interval(GROUP_COMMIT),
            config::Fsync::Always => Fsync::Always,
        },
        denials_per_second: config.denials_per_second.get(),
        clock: Arc::new(clock::unix_micros),
    })?;
    let key = AuditKey::new(ground.config.signing.audit.as_bytes())?;
    let shipper = Shipper::new(&spool, Some(key));
    let sink = Arc::clone(&world.sink);
    ground
        .supervisor
        .background("evidence flusher", |stop| flusher.run(stop.cancelled_owned()));
    ground.supervisor.background("evidence shipper", |stop| {
        shipper.run(sink, stop.cancelled_owned())
    });
    Ok(spool)
}

fn upstream(ground: &Ground) -> Result<Upstream, StartError> {
    let tls = backends::tls::http_client_config(&ClientTls::default())?;
    let config = ClientConfig {
        tls: Arc::new(tls),
        limits: ground.pool,
    };
    let client = Client::new(
        config,
        Arc::clone(&ground.clock),
        ground.supervisor.outbound().clone(),
    );
    let sweeping = client.clone();
    ground.supervisor.background("upstream connections", |stop| {
        sweeping.run(stop.cancelled_owned())
    });
    Ok(Upstream::new(client, ground.config.timeouts.upstream))
}

fn operator(
    ground: &Ground,
    world: World,
    spool: &Spool,
    circuit: &Arc<Circuit>,
    capacity: &Arc<Capacity>,
    own_listener: bool,
) -> Operator {
    let draining = ground.draining.clone();
    Operator {
        metrics: Arc::clone(&ground.metrics),
        figures: figures(ground, world.figures, spool, circuit, capacity),
        metrics_access: ground.config.operator.metrics.clone(),
        admin_token: ground.config.operator.admin_token.clone(),
        own_listener,
        readiness: Readiness {
            bindings: world.bindings_probe,
            redis: world.redis_probe,
            revocations: world.revocations_probe,
            audit: audit_probe(spool.clone()),
            sts: sts_probe(ground),
            draining: Box::new(move || draining.is_cancelled()),
        },
        reload: world.reload,
    }
}

fn audit_probe(spool: Spool) -> Probe {
    probe::known(move || {
        // Whether the next request's evidence would find room: the room is given back at once.
        let state = if spool.reserve().is_ok() {
            State::Ok
        } else {
            State::Failing
        };
        Health { state, age: None }
    })
}

fn sts_probe(ground: &Ground) -> Probe {
    let sts = ground.sts.clone();
    let ask: Probe = Box::new(move || {
        let sts = sts.clone();
        Box::pin(async move {
            let state = if sts.health().await.is_ok() {
                State::Ok
            } else {
                State::Failing
            };
            Health { state, age: None }
        })
    });
    probe::cached(STS_HEALTH_LIFE, Arc::clone(&ground.clock), ask)
}

fn figures(
    ground: &Ground,
    stores: Box<dyn Fn() -> super::world::StoreFigures + Send + Sync>,
    spool: &Spool,
    circuit: &Arc<Circuit>,
    capacity: &Arc<Capacity>,
) -> FigureSource {
    let (clock, keys, lines) = (
        Arc::clone(&ground.clock),
        ground.keys.clone(),
        Arc::clone(&ground.lines),
    );
    let (spool, circuit, capacity) = (spool.clone(), Arc::clone(circuit), Arc::clone(capacity));
    let expires = match &ground.config.listener.transport {
        Transport::Tls(identity) => Some(unix_seconds(identity.not_after())),
        Transport::Plain(_) => None,
    };
    Box::new(move || {
        let now = clock.now();
        let stores = stores();
        let (connections, requests) = capacity.held();
        let key_stats = keys.stats();
        Figures {
            circuit: circuit.figures(now),
            evidence: spool.stats(),
            revocation: stores.revocation,
            bindings: stores.bindings,
            keys: KeyFigures {
                zones: key_stats.zones as u64,
                fetches: key_stats.fetched,
                fetch_errors: key_stats.failed,
            },
            replay: stores.replay,
            database: stores.database,
            capacity: CapacityFigures {
                connections: connections as u64,
                requests: requests as u64,
            },
            certificate_seconds_left: expires
                .map(|at| at - i64::try_from(now.unix.as_secs()).unwrap_or(i64::MAX)),
            log_lines_dropped: lines.dropped(),
        }
    })
}

fn unix_seconds(at: std::time::SystemTime) -> i64 {
    match at.duration_since(std::time::UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_secs()).unwrap_or(i64::MAX),
    }
}

fn pace_limits(config: &Config) -> PaceLimits {
    PaceLimits {
        head: config.timeouts.read_header,
        idle: config.timeouts.idle,
        write: config.timeouts.write,
    }
}

/// Waits until a store is up.
///
/// # Errors
/// It is not within the time.
pub(super) async fn come_up(
    what: &'static str,
    within: Duration,
    clock: &dyn Clock,
    mut standing: impl FnMut() -> Result<(), Cause>,
) -> Result<(), StartError> {
    let deadline = clock.now().monotonic + within;
    loop {
        match standing() {
            Ok(()) => return Ok(()),
            Err(cause) if clock.now().monotonic >= deadline => {
                return Err(StartError::Dependency {
                    what,
                    seconds: within.as_secs(),
                    cause,
                });
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}
