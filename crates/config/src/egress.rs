//! Where requests may go.

use admission::binding::upstream_url::normalise_listed;
use admission::limits::{EgressPolicy, OwnEndpoint, PrivateUpstreams};
use admission::mode::Mode;

use crate::endpoints::Endpoints;
use crate::keys::Key;
use crate::keys::gates as keys;
use crate::reader::{Read, Reader};
use crate::tls::{ClientTls, ClientTlsKeys};
use crate::violation::Violation;
use crate::warning::{LaxFlag, Warning};

/// What the egress guard is told.
#[derive(Clone, Debug)]
pub struct Egress {
    /// Whether private and loopback addresses may be upstreams.
    pub(crate) private: PrivateUpstreams,
    /// The complete list of hosts in the guard's normal form (IPv6 literals without brackets); empty means every host.
    pub(crate) allowlist: Vec<String>,
    /// The hosts of `http` upstreams that speak HTTP/2, in the same form.
    pub h2c_hosts: Vec<String>,
    own: Endpoints,
}

impl Egress {
    /// The guard's policy. The backends that the environment names are in it; `also_own` are the listeners, whose
    /// addresses only the system knows: those of the interfaces, and a port that the system chose.
    #[must_use]
    pub fn policy(&self, also_own: impl IntoIterator<Item = OwnEndpoint>) -> EgressPolicy {
        EgressPolicy {
            private: self.private,
            allowlist: self.allowlist.clone(),
            own_endpoints: self.own.0.iter().cloned().chain(also_own).collect(),
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>, mode: Read<Mode>) -> Read<Self> {
        let allowlist = hosts(reader, &keys::UPSTREAM_HOST_ALLOWLIST);
        let h2c_hosts = hosts(reader, &keys::UPSTREAM_H2C_HOSTS);
        let allowed = reader.flag(&keys::ALLOW_PRIVATE_UPSTREAMS);
        let (allowlist, h2c_hosts, allowed) = (allowlist?, h2c_hosts?, allowed?);
        let private = match (allowed, mode) {
            (false, _) => PrivateUpstreams::Blocked,
            // Production permits private upstreams only to the hosts of a list.
            (true, Ok(Mode::Production)) if allowlist.is_empty() => {
                return Err(reader.report(Violation::Rule(
                    "UPSTREAM_HOST_ALLOWLIST is required when ALLOW_PRIVATE_UPSTREAMS=true in production",
                )));
            }
            (true, _) => PrivateUpstreams::Allowed,
        };
        if private == PrivateUpstreams::Allowed && allowlist.is_empty() {
            reader.warn(Warning::Lax(LaxFlag::AnyPrivateUpstream));
        }
        Ok(Self {
            private,
            allowlist,
            h2c_hosts,
            own: Endpoints::default(),
        })
    }

    /// Adds endpoints of the gateway's own.
    pub(crate) fn own(mut self, endpoints: impl IntoIterator<Item = OwnEndpoint>) -> Self {
        self.own.0.extend(endpoints);
        self
    }
}

/// Authorities that are trusted for upstreams besides the system's, and the certificate that upstreams are shown.
pub(crate) fn upstream_tls(reader: &mut Reader<'_>, mode: Read<Mode>) -> Read<ClientTls> {
    ClientTls::read(
        reader,
        mode,
        &ClientTlsKeys {
            authorities: &keys::UPSTREAM_CA_FILE,
            certificate: &keys::UPSTREAM_CLIENT_CERT_FILE,
            private_key: &keys::UPSTREAM_CLIENT_KEY_FILE,
        },
    )
}

fn hosts(reader: &mut Reader<'_>, key: &'static Key) -> Read<Vec<String>> {
    let entries = reader.list(key)?;
    let hosts = entries.iter().map(|entry| {
        normalise_listed(entry).map_err(|_| {
            let expected = "exact host names, without scheme, port, path or wildcard";
            Violation::invalid("value", key, entry, expected)
        })
    });
    reader.judge(hosts.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allowlist_entries_take_the_guards_normal_form() {
        for (entry, expect) in [
            ("api.internal.company.com", Some("api.internal.company.com")),
            ("api.example.", Some("api.example")),
            ("bücher.example", Some("xn--bcher-kva.example")),
            ("10.0.0.1", Some("10.0.0.1")),
            ("[fd00::1]", Some("fd00::1")),
            ("fd00:0::1", Some("fd00::1")),
            ("localhost", Some("localhost")),
            ("https://api.example", None),
            ("api.example:443", None),
            ("api.example/v1", None),
            ("*.example", None),
            ("a..b", None),
            (".example", None),
            ("user@host", None),
            ("%61pi.example", None),
            ("127.1", None),
            ("fe80::1%eth0", None),
        ] {
            assert_eq!(normalise_listed(entry).ok().as_deref(), expect, "{entry:?}");
        }
    }
}
