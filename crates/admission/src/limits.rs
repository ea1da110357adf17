//! The numbers and policies that the gates are given: parsed by `config`, obeyed here.

use std::time::Duration;

use ipnet::IpNet;

use crate::mode::DevOnly;
use crate::upgrade::Upgrades;

/// Bounds of the local gates.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Largest declared request body in bytes (`MAX_REQUEST_BYTES`).
    pub max_request_bytes: u64,
    /// Least life a mandate must have left (`PREFLIGHT_WINDOW`).
    pub preflight_window: Duration,
    /// Mandates that may be used more than once.
    pub reusable_uses: ReusableUses,
    /// Protocols to which a connection may be switched (`ALLOW_UPGRADES`).
    pub upgrades: Upgrades,
}

impl Limits {
    /// Longest bearer in bytes (decisions §2 gate 3).
    pub const MAX_BEARER_BYTES: usize = 4096;
    /// Longest resource identifier in bytes (decisions §2 gate 4).
    pub const MAX_RESOURCE_BYTES: usize = 256;
    /// Longest life that a mandate may still have (decisions §2 gate 6).
    pub const MAX_MANDATE_LIFE: Duration = Duration::from_secs(24 * 3600);
    /// How far ahead `nbf` may lie (decisions §2 gate 7).
    pub const NOT_BEFORE_LEEWAY: Duration = Duration::from_secs(30);
}

/// The `use` classes whose mandates are not single-use (`REUSABLE_MANDATE_USES`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReusableUses(Vec<String>);

impl ReusableUses {
    /// Reads the comma separated list; `none` means that every mandate is single-use.
    #[must_use]
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self(names.into_iter().filter(|name| name != "none").collect())
    }

    /// Whether a mandate of this `use` class may be presented more than once.
    #[must_use]
    pub fn contains(&self, use_class: &str) -> bool {
        self.0.iter().any(|name| name == use_class)
    }
}

/// What gate 14 does when the replay store cannot answer (`JTI_FAIL_OPEN`).
#[derive(Clone, Copy, Debug)]
pub enum OnReplayOutage {
    /// The request is refused.
    Refuse,
    /// The request passes without a mark. Development only, hence the proof.
    Pass(DevOnly),
}

/// What the egress guard permits (decisions §4).
#[derive(Clone, Debug)]
pub struct EgressPolicy {
    /// Whether private and loopback addresses may be reached.
    pub private: PrivateUpstreams,
    /// The complete list of hosts that may be reached; empty means every host.
    /// Entries are in the guard's normal form: lower case, no trailing dot, IDNA A-labels.
    pub allowlist: Vec<String>,
    /// The gateway's own listener and the endpoints it depends on: never an upstream.
    pub own_endpoints: Vec<OwnEndpoint>,
}

/// `ALLOW_PRIVATE_UPSTREAMS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrivateUpstreams {
    /// Loopback, RFC 1918, 100.64/10, fc00::/7 and site-local are refused.
    Blocked,
    /// They may be reached; the allowlist and the list of never reachable addresses still hold.
    Allowed,
}

/// One endpoint of the gateway's own, compared as address and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnEndpoint {
    /// Every address within the network, at this port (a listener bound to `[::]` owns them all
    /// on this machine: the wiring lists loopback and the interface addresses).
    Net(IpNet, u16),
    /// A host name at this port: refused by name before any resolution, and every address that it
    /// resolves to is refused too.
    Host(String, u16),
    /// A host name at this port, refused by name alone: no request waits until it is resolved, or fails because it is not.
    /// What it resolves to may be an upstream's too, as behind a load balancer that both share.
    Name(String, u16),
}
