//! The whole environment, read once.

use std::time::SystemTime;

use admission::mode::Mode;

use crate::anchor::Anchor;
use crate::egress::{Egress, upstream_tls};
use crate::env::Env;
use crate::gates::Gates;
use crate::keys::listener::{CARACAL_ENV, CARACAL_MODE};
use crate::limits::{Capacity, Timeouts};
use crate::listener::Listener;
use crate::manager::ServiceManager;
use crate::operator::{Evidence, LifeCycle, Operator};
use crate::reader::{Read, Reader};
use crate::secret::{CheckpointSecret, HmacKey};
use crate::signing::SigningKeys;
use crate::stores::{Database, External, Redis, Stores};
use crate::sts::Sts;
use crate::tls::ClientTls;
use crate::violation::{Violation, Violations};
use crate::warning::Warning;

/// Everything the gateway was told. Its `Debug` shows no secret.
#[derive(Clone, Debug)]
pub struct Config {
    /// Production or development.
    pub mode: Mode,
    /// The public listener.
    pub listener: Listener,
    /// Time limits of the request path.
    pub timeouts: Timeouts,
    /// What is held at once.
    pub capacity: Capacity,
    /// What a mandate must satisfy.
    pub gates: Gates,
    /// The keys that messages are signed with.
    pub signing: SigningKeys,
    /// The token exchange.
    pub sts: Sts,
    /// Where requests may go.
    pub egress: Egress,
    /// How connections to upstreams are secured: these authorities are trusted besides the system's.
    pub upstream_tls: ClientTls,
    /// Redis and PostgreSQL, or the embedded stores.
    pub stores: Stores,
    /// The audit spool.
    pub evidence: Evidence,
    /// The operator's endpoints and logs.
    pub operator: Operator,
    /// How the process ends.
    pub life_cycle: LifeCycle,
    /// What the service manager said of this process; nothing where the stores are embedded.
    pub manager: ServiceManager,
}

/// What the commands need that write to the database of a stand-alone installation.
#[derive(Clone, Debug)]
pub struct StandAlone {
    /// How PostgreSQL is reached: as a role that owns the tables.
    pub database: Database,
    /// Where requests may go, as far as these variables say: no server that they name is an upstream.
    pub egress: Egress,
}

impl StandAlone {
    /// Reads the mode, the database's variables and those of upstreams; of Redis, the STS and the anchor only where they are, if the
    /// environment says so.
    ///
    /// # Errors
    /// Every violation at once.
    pub fn load(env: &dyn Env, now: SystemTime) -> Result<(Self, Vec<Warning>), Violations> {
        let mut reader = Reader::new(env, now);
        let read = Self::read(&mut reader);
        reader.finish(read)
    }

    /// Reads the database's variables alone: nothing is judged that leads elsewhere.
    ///
    /// # Errors
    /// Every violation at once.
    pub fn load_database(env: &dyn Env, now: SystemTime) -> Result<(Database, Vec<Warning>), Violations> {
        let mut reader = Reader::new(env, now);
        let mode = read_mode(&mut reader);
        let read = Database::read(&mut reader, mode);
        reader.finish(read)
    }

    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        let mode = read_mode(reader);
        let egress = Egress::read(reader, mode);
        let redis = Redis::named(reader);
        let sts = Sts::named(reader);
        let anchor = Anchor::named(reader);
        let database = Database::read(reader, mode)?;
        let own = redis?.into_iter().chain(sts?).chain(anchor?);
        let own = own.chain(database.url.endpoints());
        Ok(Self {
            egress: egress?.own(own),
            database,
        })
    }
}

/// What the commands need that read evidence.
#[derive(Clone, Debug)]
pub struct EvidenceAccess {
    /// `AUDIT_HMAC_KEY`, to judge signatures; none where it is not set.
    pub audit_key: Option<HmacKey>,
    /// How the audit stream is reached; none where it is not read.
    pub redis: Option<Redis>,
}

impl CheckpointSecret {
    /// Reads `AUDIT_CHECKPOINT_KEY` alone; none where it is not set.
    ///
    /// # Errors
    /// It cannot be read, or is no key.
    pub fn load(env: &dyn Env, now: SystemTime) -> Result<Option<Self>, Violations> {
        let mut reader = Reader::new(env, now);
        let read = Evidence::read_checkpoint_key(&mut reader);
        reader.finish(read).map(|(secret, _warnings)| secret)
    }
}

impl EvidenceAccess {
    /// Reads the variables of Redis only where the audit stream itself is read.
    ///
    /// # Errors
    /// Every violation at once.
    pub fn load(env: &dyn Env, now: SystemTime, from_stream: bool) -> Result<Self, Violations> {
        let mut reader = Reader::new(env, now);
        let read = Self::read(&mut reader, from_stream);
        // What the warnings are about concerns the gateway, which repeats them at each start.
        reader.finish(read).map(|(access, _warnings)| access)
    }

    fn read(reader: &mut Reader<'_>, from_stream: bool) -> Read<Self> {
        let mode = read_mode(reader);
        let audit_key = SigningKeys::read_audit(reader);
        let redis = from_stream.then(|| Redis::read(reader, mode)).transpose();
        Ok(Self {
            audit_key: audit_key?,
            redis: redis?,
        })
    }
}

impl Config {
    /// Reads the environment of a gateway with real stores, in either mode. A missing store is a violation,
    /// never a reason to take an embedded one.
    ///
    /// `now` judges the certificates.
    ///
    /// # Errors
    /// Every violation at once.
    pub fn load(env: &dyn Env, now: SystemTime) -> Result<(Self, Vec<Warning>), Violations> {
        Self::load_with(env, now, |reader, mode| {
            External::read(reader, mode).map(|external| Stores::External(Box::new(external)))
        })
    }

    /// Reads the environment of the `dev` and `demo` commands, whose stores are embedded.
    ///
    /// # Errors
    /// Every violation at once; production mode is one.
    pub fn load_embedded(env: &dyn Env, now: SystemTime) -> Result<(Self, Vec<Warning>), Violations> {
        Self::load_with(env, now, |reader, mode| match mode? {
            Mode::Dev(proof) => Ok(Stores::Embedded(proof)),
            Mode::Production => Err(reader.report(Violation::Rule(
                "embedded backends need CARACAL_ENV=dev; use `caracal-gateway serve` in production",
            ))),
        })
    }

    fn load_with(
        env: &dyn Env,
        now: SystemTime,
        stores: impl FnOnce(&mut Reader<'_>, Read<Mode>) -> Read<Stores>,
    ) -> Result<(Self, Vec<Warning>), Violations> {
        let mut reader = Reader::new(env, now);
        let config = Self::read(&mut reader, stores);
        reader.finish(config)
    }

    /// Every part is read before any missing one ends the reading, so that all violations are found.
    fn read(
        reader: &mut Reader<'_>,
        stores: impl FnOnce(&mut Reader<'_>, Read<Mode>) -> Read<Stores>,
    ) -> Read<Self> {
        let mode = read_mode(reader);
        let listener = Listener::read(reader, mode);
        let timeouts = Timeouts::read(reader);
        let capacity = Capacity::read(reader);
        let gates = Gates::read(reader, mode);
        let sts = Sts::read(reader, mode);
        let egress = Egress::read(reader, mode);
        let upstream_tls = upstream_tls(reader, mode);
        let stores = stores(reader, mode);
        let signing = SigningKeys::read(reader, mode);
        let evidence = Evidence::read(reader, mode);
        let public = listener.as_ref().ok().map(|listener| listener.address);
        let operator = Operator::read(reader, mode, public);
        let life_cycle = LifeCycle::read(reader, mode);
        let manager = match &stores {
            Ok(Stores::Embedded(_)) => Ok(ServiceManager::default()),
            Ok(Stores::External(_)) | Err(_) => ServiceManager::read(reader, listener.as_ref().ok()),
        };

        let (sts, stores, evidence) = (sts?, stores?, evidence?);
        // None of the backends may be an upstream.
        let anchor = evidence.anchor.as_ref().and_then(Anchor::own_endpoint);
        let own = sts
            .own_endpoint()
            .into_iter()
            .chain(stores.own_endpoints())
            .chain(anchor);
        Ok(Self {
            mode: mode?,
            listener: listener?,
            timeouts: timeouts?,
            capacity: capacity?,
            gates: gates?,
            signing: signing?,
            egress: egress?.own(own),
            upstream_tls: upstream_tls?,
            sts,
            stores,
            evidence,
            operator: operator?,
            life_cycle: life_cycle?,
            manager: manager?,
        })
    }
}

/// `CARACAL_ENV`, or its alias.
pub(crate) fn read_mode(reader: &mut Reader<'_>) -> Read<Mode> {
    let env = reader.text(&CARACAL_ENV);
    let alias = reader.text(&CARACAL_MODE);
    let (env, alias) = (env?, alias?);
    reader.judge(mode(env.as_deref(), alias.as_deref()))
}

/// Whichever of the two is set, and agreement where both are.
fn mode(env: Option<&str>, alias: Option<&str>) -> Result<Mode, Violation> {
    let (env, alias) = (
        env.map(|name| (name, Mode::parse(name))),
        alias.map(|name| (name, Mode::parse_alias(name))),
    );
    match (env, alias) {
        (None, None) => Ok(Mode::Production),
        (Some((_, mode)), None) | (None, Some((_, mode))) => Ok(mode?),
        (Some((env_name, env)), Some((alias_name, alias))) => match (env?, alias?) {
            (Mode::Production, Mode::Production) => Ok(Mode::Production),
            (mode @ Mode::Dev(_), Mode::Dev(_)) => Ok(mode),
            _ => Err(Violation::ModesDisagree {
                env: env_name.into(),
                alias: alias_name.into(),
            }),
        },
    }
}
