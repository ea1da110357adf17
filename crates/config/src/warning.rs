//! What is permitted but worth saying at start.

use crate::violation::Quoted;

/// An option that trades safety for convenience. Each one that is on is a warning at start and a gauge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaxFlag {
    /// `INSECURE_HTTP`: the listener speaks plain HTTP.
    InsecureHttp,
    /// `INSECURE_STS`: the STS may be reached over plain HTTP anywhere.
    InsecureSts,
    /// `JTI_FAIL_OPEN`: a mandate passes unmarked while the replay store is down.
    JtiFailOpen,
    /// `ALLOW_PRIVATE_UPSTREAMS` without an allowlist: any private address may be an upstream.
    AnyPrivateUpstream,
}

impl LaxFlag {
    /// All of them, so that a gauge exists for those that are off, too.
    pub const ALL: [Self; 4] = [
        Self::InsecureHttp,
        Self::InsecureSts,
        Self::JtiFailOpen,
        Self::AnyPrivateUpstream,
    ];

    /// The variable that turns it on; also the gauge's label.
    #[must_use]
    pub fn variable(self) -> &'static str {
        match self {
            Self::InsecureHttp => "INSECURE_HTTP",
            Self::InsecureSts => "INSECURE_STS",
            Self::JtiFailOpen => "JTI_FAIL_OPEN",
            Self::AnyPrivateUpstream => "ALLOW_PRIVATE_UPSTREAMS",
        }
    }

    fn consequence(self) -> &'static str {
        match self {
            Self::InsecureHttp => "mandates cross the network in plain text",
            Self::InsecureSts => "exchanges with the STS may cross the network in plain text",
            Self::JtiFailOpen => "replayed mandates pass while Redis is down",
            Self::AnyPrivateUpstream => {
                "without UPSTREAM_HOST_ALLOWLIST any private address may be an upstream"
            }
        }
    }
}

/// One remark about an environment that is accepted. Its `Display` is one line without secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Warning {
    /// A lax flag is on.
    #[error("{}=true: {}", .0.variable(), .0.consequence())]
    Lax(LaxFlag),
    /// The alias `TRUST_PROXY=true` was used.
    #[error(
        "TRUST_PROXY=true trusts loopback and private peers; name the proxies in TRUSTED_PROXIES instead"
    )]
    TrustProxyAlias,
    /// `TRUST_PROXY` has no effect beside `TRUSTED_PROXIES`.
    #[error("TRUST_PROXY is ignored because TRUSTED_PROXIES is set; unset it")]
    TrustProxyIgnored,
    /// A network in `TRUSTED_PROXIES` holds every address of its family.
    #[error("TRUSTED_PROXIES trusts every peer; any client can forge its source address")]
    TrustsEveryPeer,
    /// `REUSABLE_MANDATE_USES` lists a class that an STS mints for one use.
    #[error("REUSABLE_MANDATE_USES: mandates of the class {0} can be replayed")]
    Replayable(Quoted),
    /// A parameter of `DATABASE_URL` that is accepted, and why it has no effect.
    #[error("DATABASE_URL: the parameter {0} has no effect: {1}")]
    DatabaseParameter(String, &'static str),
    /// A failover may promote a replica that has not seen the last replay marks.
    #[error(
        "REPLAY_MIN_REPLICAS is 0: marks that the old primary takes after a promotion are lost, and let their mandates be used again; set it to 1"
    )]
    UnconfirmedMarks,
    /// A key shorter than production demands.
    #[error("{0} is shorter than 32 bytes; production refuses it")]
    ShortKey(&'static str),
    /// A certificate outside its period of validity, in development.
    #[error("{name}: the certificate {state}")]
    CertificatePeriod {
        /// The certificate's variable.
        name: &'static str,
        /// `expired … days ago` or `is not valid for another … days`.
        state: String,
    },
    /// A pair in a directory, and what is remarkable about it.
    #[error("{0}: in the pair {1}, {2}")]
    Pair(&'static str, Quoted, Box<Warning>),
    /// A pair in a directory that has expired, in production.
    #[error("{0}: the pair {1} has expired and is left out; renew or remove it")]
    PairExpired(&'static str, Quoted),
    /// A certificate that expires in fewer than 30 days.
    #[error("{name}: the certificate expires in {days} days; renew it")]
    CertificateExpiresSoon {
        /// The certificate's variable.
        name: &'static str,
        /// Whole days left.
        days: u64,
    },
}
