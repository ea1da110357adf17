//! Evidence, the operator's endpoints, logs, and the life cycle.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use admission::mode::{DevOnly, Mode};

use crate::anchor::Anchor;
use crate::keys::operation as keys;
use crate::reader::{Read, Reader};
use crate::secret::{CheckpointSecret, Secret};
use crate::violation::Violation;

/// The local spool of audit events. The signing key is in [`crate::SigningKeys`].
#[derive(Clone, Debug)]
pub struct Evidence {
    /// Where the spool lies (`AUDIT_REPLAY_DIR`).
    pub directory: PathBuf,
    /// The secret that signs checkpoints; none where each process makes one.
    pub checkpoint_key: Option<CheckpointSecret>,
    /// When a record counts as written.
    pub fsync: Fsync,
    /// How long an `fsync` may take (`AUDIT_FSYNC_TIMEOUT`).
    pub fsync_timeout: Duration,
    /// Largest size of the spool in bytes.
    pub max_bytes: u64,
    /// Entries in the audit stream above which nothing is shipped; 0 is no bound.
    pub stream_max_len: u32,
    /// Denial events a second for each zone and reason.
    pub denials_per_second: NonZeroU32,
    /// Where checkpoints are also sent; `None` where they are not.
    pub anchor: Option<Anchor>,
}

const CHECKPOINT_KEY_FORM: &str = "must have 64 hexadecimal digits; make it with `openssl rand -hex 32`";

/// The least size with which the spool can rotate its segments.
const MIN_SPOOL_BYTES: u64 = 1024 * 1024;

/// `AUDIT_FSYNC`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fsync {
    /// Synced in groups, 50 ms apart.
    Interval,
    /// Synced before the request is forwarded.
    Always,
}

impl Evidence {
    pub(crate) fn read(reader: &mut Reader<'_>, mode: Read<Mode>) -> Read<Self> {
        let directory = reader.directory(&keys::AUDIT_REPLAY_DIR);
        let checkpoint_key = Self::read_checkpoint_key(reader);
        let fsync = reader.required(&keys::AUDIT_FSYNC, "interval or always", |text| match text {
            "interval" => Some(Fsync::Interval),
            "always" => Some(Fsync::Always),
            _ => None,
        });
        let fsync_timeout = reader.duration(&keys::AUDIT_FSYNC_TIMEOUT);
        let max_bytes = reader.bytes(&keys::AUDIT_SPOOL_MAX_BYTES);
        let max_bytes = max_bytes.and_then(|bytes| match bytes {
            MIN_SPOOL_BYTES.. => Ok(bytes),
            _ => Err(reader.report(Violation::TooSmall(
                keys::AUDIT_SPOOL_MAX_BYTES.name,
                MIN_SPOOL_BYTES,
            ))),
        });
        let stream_max_len = reader.count_or_zero(&keys::AUDIT_STREAM_MAX_LEN);
        let denials_per_second = reader.count(&keys::AUDIT_DENIALS_PER_SECOND);
        let anchor = Anchor::read(reader, mode);
        Ok(Self {
            directory: directory?,
            checkpoint_key: checkpoint_key?,
            fsync: fsync?,
            fsync_timeout: fsync_timeout?,
            max_bytes: max_bytes?,
            stream_max_len: stream_max_len?,
            denials_per_second: denials_per_second?,
            anchor: anchor?,
        })
    }

    pub(crate) fn read_checkpoint_key(reader: &mut Reader<'_>) -> Read<Option<CheckpointSecret>> {
        let Some(text) = reader.secret(&keys::AUDIT_CHECKPOINT_KEY)? else {
            return Ok(None);
        };
        let key = CheckpointSecret::from_hex(&text);
        let malformed = Violation::Variable(keys::AUDIT_CHECKPOINT_KEY.name, CHECKPOINT_KEY_FORM);
        reader.judge(key.ok_or(malformed)).map(Some)
    }
}

/// The operator's endpoints and logs.
#[derive(Clone, Debug)]
pub struct Operator {
    /// A listener of their own for metrics and the reload; `None` leaves them on the public one.
    pub address: Option<SocketAddr>,
    /// Who may read metrics.
    pub metrics: MetricsAccess,
    /// The bearer of the revocation reload; `None` answers 404.
    pub admin_token: Option<Secret>,
    /// The least severe line that is logged.
    pub log_level: LogLevel,
}

/// Who may read metrics.
#[derive(Clone, Debug)]
pub enum MetricsAccess {
    /// Whoever presents this bearer.
    Bearer(Secret),
    /// Everybody. Development only, hence the proof.
    Open(DevOnly),
    /// Nobody.
    Closed,
}

/// `LOG_LEVEL`, from the most lines to the fewest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Everything.
    Trace,
    /// What helps to find a fault.
    Debug,
    /// One line for each request and for each change of state.
    Info,
    /// What needs attention.
    Warn,
    /// What has failed.
    Error,
}

impl Operator {
    pub(crate) fn read(reader: &mut Reader<'_>, mode: Read<Mode>, public: Option<SocketAddr>) -> Read<Self> {
        let address = reader.parsed(
            &keys::OPERATOR_ADDR,
            "an address and a port such as 127.0.0.1:9090",
            |text| text.parse().ok(),
        );
        let address = address.and_then(|address| match address {
            Some(address) => reader.judge(own_address(mode.ok(), address, public)).map(Some),
            None => Ok(None),
        });
        let bearer = reader.secret(&keys::METRICS_BEARER);
        let admin_token = reader.secret(&keys::CARACAL_ADMIN_TOKEN);
        let log_level = reader.required(
            &keys::LOG_LEVEL,
            "trace, debug, info, warn or error",
            LogLevel::parse,
        );
        Ok(Self {
            address: address?,
            metrics: match (bearer?, mode?) {
                (Some(bearer), _) => MetricsAccess::Bearer(bearer),
                (None, Mode::Dev(proof)) => MetricsAccess::Open(proof),
                (None, Mode::Production) => MetricsAccess::Closed,
            },
            admin_token: admin_token?,
            log_level: log_level?,
        })
    }
}

/// The operator's listener has a port of its own, and a fixed one in production.
fn own_address(
    mode: Option<Mode>,
    address: SocketAddr,
    public: Option<SocketAddr>,
) -> Result<SocketAddr, Violation> {
    let overlaps = |public: SocketAddr| {
        let (a, b) = (address.ip(), public.ip());
        address.port() == public.port() && (a == b || a.is_unspecified() || b.is_unspecified())
    };
    match (address.port(), mode) {
        (0, Some(Mode::Production)) => Err(Violation::Rule(
            "OPERATOR_ADDR must name a port when CARACAL_ENV=production",
        )),
        (0, Some(Mode::Dev(_)) | None) => Ok(address),
        _ if public.is_some_and(overlaps) => Err(Violation::Rule(
            "OPERATOR_ADDR must differ from BIND_ADDR and PORT",
        )),
        _ => Ok(address),
    }
}

impl LogLevel {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "trace" => Self::Trace,
            "debug" => Self::Debug,
            "info" => Self::Info,
            "warn" => Self::Warn,
            "error" => Self::Error,
            _ => return None,
        })
    }
}

/// How the process ends.
#[derive(Clone, Debug)]
pub struct LifeCycle {
    /// How long it keeps accepting after SIGTERM; may be zero.
    pub drain_delay: Duration,
    /// How long open requests may take to finish after that.
    pub shutdown_grace: Duration,
}

impl LifeCycle {
    pub(crate) fn read(reader: &mut Reader<'_>, mode: Read<Mode>) -> Read<Self> {
        let drain_delay = reader.duration_per_mode(&keys::DRAIN_DELAY, mode);
        let shutdown_grace = reader.duration(&keys::SHUTDOWN_GRACE);
        Ok(Self {
            drain_delay: drain_delay?,
            shutdown_grace: shutdown_grace?,
        })
    }
}
