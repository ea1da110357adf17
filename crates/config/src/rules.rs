//! One function per rule that looks at more than one variable's spelling. Each is pure: it gets parsed values and
//! returns what they amount to, or the violation. Proofs of development mode are handed out here and nowhere else.

mod listener;
mod outbound;

pub(crate) use listener::{certificate_pair, certificate_period, operator_address, port, trusted_proxies};
pub(crate) use outbound::{client_tls_needs_a_tls_url, private_upstreams, sts_transport, sts_url};

use std::time::Duration;

use admission::mode::{DevOnly, Mode};

use crate::operator::MetricsAccess;
use crate::secret::{HmacKey, Secret};
use crate::violation::Violation;
use crate::warning::{LaxFlag, Warning};

/// A flag that only development may turn on. Where the mode is unknown, its own violation is enough.
pub(crate) fn dev_only(mode: Option<Mode>, flag: LaxFlag, on: bool) -> Result<Option<DevOnly>, Violation> {
    match (on, mode) {
        (true, Some(Mode::Production)) => Err(Violation::Forbidden(flag.variable())),
        (true, Some(Mode::Dev(proof))) => Ok(Some(proof)),
        (true, None) | (false, _) => Ok(None),
    }
}

/// `CARACAL_ENV` and its alias, whichever is set, and agreement where both are.
pub(crate) fn mode(env: Option<&str>, alias: Option<&str>) -> Result<Mode, Violation> {
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

/// Embedded backends belong to development.
pub(crate) fn embedded(mode: Mode) -> Result<DevOnly, Violation> {
    match mode {
        Mode::Dev(proof) => Ok(proof),
        Mode::Production => Err(Violation::EmbeddedInProduction),
    }
}

/// A key is hexadecimal in every mode; production also demands its length.
pub(crate) fn hmac_key(
    mode: Option<Mode>,
    name: &'static str,
    text: &Secret,
) -> Result<(HmacKey, Option<Warning>), Violation> {
    let key = HmacKey::from_hex(text).ok_or(Violation::WeakKey(name))?;
    match mode {
        _ if key.as_bytes().len() >= HmacKey::MIN_BYTES => Ok((key, None)),
        Some(Mode::Dev(_)) => Ok((key, Some(Warning::ShortKey(name)))),
        Some(Mode::Production) | None => Err(Violation::WeakKey(name)),
    }
}

/// The window is compared with times in whole seconds, so a fraction would promise what it cannot keep.
pub(crate) fn whole_seconds(name: &'static str, value: Duration) -> Result<Duration, Violation> {
    if value.subsec_nanos() == 0 {
        Ok(value)
    } else {
        Err(Violation::WholeSeconds(name))
    }
}

/// Without a bearer, metrics are open in development and closed in production.
pub(crate) fn metrics_access(mode: Mode, bearer: Option<Secret>) -> MetricsAccess {
    match (bearer, mode) {
        (Some(bearer), _) => MetricsAccess::Bearer(bearer),
        (None, Mode::Dev(proof)) => MetricsAccess::Open(proof),
        (None, Mode::Production) => MetricsAccess::Closed,
    }
}

/// `none` stands alone: beside another class it would be unclear which of the two is meant.
pub(crate) fn reusable_uses(name: &'static str, uses: Vec<String>) -> Result<Vec<String>, Violation> {
    let none = uses.iter().any(|entry| entry == "none");
    if none && uses.len() > 1 {
        Err(Violation::NoneAmongOthers(name))
    } else {
        Ok(uses)
    }
}

/// Whether making this class reusable takes the protection against replay from mandates that rely on it.
pub(crate) fn is_replayable(class: &str) -> bool {
    !matches!(class, "none" | "session" | "ambient")
}

/// A size is not below what can work.
pub(crate) fn at_least(name: &'static str, value: u64, least: u64) -> Result<u64, Violation> {
    if value >= least {
        Ok(value)
    } else {
        Err(Violation::TooSmall { name, least })
    }
}

/// A lower bound is not above its upper one.
pub(crate) fn ordered<T: PartialOrd>(
    low: (&'static str, T),
    high: (&'static str, T),
) -> Result<(T, T), Violation> {
    if low.1 <= high.1 {
        Ok((low.1, high.1))
    } else {
        Err(Violation::Bounds {
            low: low.0,
            high: high.0,
        })
    }
}
