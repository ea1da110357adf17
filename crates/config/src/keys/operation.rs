//! Evidence, the operator's endpoints, and the life cycle.

use super::declaration::{Key, Kind, Preset, Section};

pub(crate) const EVIDENCE: Section = Section {
    title: "Audit evidence",
    intro: "Nothing is forwarded before its intent is in the local spool; delivery to Redis follows in the background.",
    keys: &[
        AUDIT_HMAC_KEY,
        AUDIT_REPLAY_DIR,
        AUDIT_FSYNC,
        AUDIT_SPOOL_MAX_BYTES,
        AUDIT_DENIALS_PER_SECOND,
    ],
};

pub(crate) const AUDIT_HMAC_KEY: Key = Key::new(
    "AUDIT_HMAC_KEY",
    Kind::HmacKey,
    Preset::Required,
    "Signs every audit event. Shared with the audit service.",
);

pub(crate) const AUDIT_REPLAY_DIR: Key = Key::new(
    "AUDIT_REPLAY_DIR",
    Kind::Directory,
    Preset::Value("/var/lib/caracal/audit-replay"),
    "Where the spool lies. It must survive a restart, so use a volume of its own.",
);

pub(crate) const AUDIT_FSYNC: Key = Key::new(
    "AUDIT_FSYNC",
    Kind::Choice(&["interval", "always"]),
    Preset::Value("interval"),
    "`interval`: synced to disk every 50 ms; survives the process, not a power cut. \
     `always`: synced before the request is forwarded.",
);

pub(crate) const AUDIT_SPOOL_MAX_BYTES: Key = Key::new(
    "AUDIT_SPOOL_MAX_BYTES",
    Kind::Bytes,
    Preset::Value("1073741824"),
    "Size of the spool; when it is full, requests are refused. At least 1 MiB; the default is 1 GiB.",
)
.advice("Size it for the longest Redis outage that must not stop traffic, at two records for each request.");

pub(crate) const AUDIT_DENIALS_PER_SECOND: Key = Key::new(
    "AUDIT_DENIALS_PER_SECOND",
    Kind::Count,
    Preset::Value("100"),
    "Denial events written for each zone and reason; those beyond it are summed into one event a second.",
);

pub(crate) const OPERATOR: Section = Section {
    title: "Operator endpoints and logs",
    intro: "`/health` and `/ready` are open to everyone and say nothing secret.",
    keys: &[OPERATOR_ADDR, METRICS_BEARER, CARACAL_ADMIN_TOKEN, LOG_LEVEL],
};

pub(crate) const OPERATOR_ADDR: Key = Key::new(
    "OPERATOR_ADDR",
    Kind::SocketAddress,
    Preset::Unset("they share the public port"),
    "Moves metrics and the revocation reload to a second listener, off the public port.",
);

pub(crate) const METRICS_BEARER: Key = Key::new(
    "METRICS_BEARER",
    Kind::Secret,
    Preset::Unset("open in dev, 401 in production"),
    "The bearer that `/metrics` and `/metrics.json` demand.",
);

pub(crate) const CARACAL_ADMIN_TOKEN: Key = Key::new(
    "CARACAL_ADMIN_TOKEN",
    Kind::Secret,
    Preset::Unset("the reload answers 404"),
    "The bearer that `POST /internal/revocations/reload` demands.",
);

pub(crate) const LOG_LEVEL: Key = Key::new(
    "LOG_LEVEL",
    Kind::Choice(&["trace", "debug", "info", "warn", "error"]),
    Preset::Value("info"),
    "The least severe log line that is written. No level shows a secret.",
);

pub(crate) const LIFE_CYCLE: Section = Section {
    title: "Life cycle",
    intro: "On SIGTERM `/ready` answers `draining`, new requests are still served for a while, \
            then open ones are awaited and the evidence is flushed. A second signal exits at once. \
            SIGHUP reads revocations and bindings anew; SIGUSR1 and SIGUSR2 are ignored.",
    keys: &[DRAIN_DELAY, SHUTDOWN_GRACE],
};

pub(crate) const DRAIN_DELAY: Key = Key::new(
    "DRAIN_DELAY",
    Kind::DurationOrZero,
    Preset::PerMode {
        production: "2s",
        dev: "0s",
    },
    "How long the gateway keeps accepting after SIGTERM, so that load balancers notice.",
)
.advice("As long as a load balancer needs to see the failing `/ready`.");

pub(crate) const SHUTDOWN_GRACE: Key = Key::new(
    "SHUTDOWN_GRACE",
    Kind::Duration,
    Preset::Value("14s"),
    "How long open requests may take to finish.",
)
.advice("Keep `DRAIN_DELAY` plus this a few seconds below the time after which the orchestrator kills the process.");
