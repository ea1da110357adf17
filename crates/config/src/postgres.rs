//! `DATABASE_URL`. The driver's own parser reads it, so that the egress guard knows the very endpoints that are dialled;
//! what libpq understands and the driver does not is taken out before.

use std::fmt;
use std::iter::Peekable;
use std::path::PathBuf;
use std::str::Chars;

use admission::limits::OwnEndpoint;
use ipnet::IpNet;
use percent_encoding::percent_decode_str;
use tokio_postgres::config::Host;

use crate::endpoints::endpoint;
use crate::keys::backends::DATABASE_URL;
use crate::violation::Violation;

/// What the variable should look like.
pub(crate) const EXAMPLE: &str = "postgres://user@host:5432/database";

const POSTGRES_PORT: u16 = 5432;

const AT_SIGN: &str = "DATABASE_URL: an `@` behind the first `/` is taken for the end of the login; \
    write it as `%40`, and a `/` in the login as `%2F`";

/// libpq's `sslmode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SslMode {
    /// Never TLS.
    Disable,
    /// TLS when the server offers it, its certificate unseen. The default, as everywhere; `allow` counts as this.
    Prefer,
    /// TLS or nothing; the certificate is judged when authorities are configured for it.
    Require,
    /// A certificate of a trusted authority, for whatever name.
    VerifyCa,
    /// A certificate of a trusted authority for this host name.
    VerifyFull,
}

/// What `DATABASE_URL` says: a URL or libpq's keywords. `Debug` shows nothing of it: an address that was put
/// together wrongly has its password where the host should be.
#[derive(Clone)]
pub struct DatabaseUrl {
    /// For the driver. Its own idea of `sslmode` knows three of the five values.
    pub client: tokio_postgres::Config,
    /// How TLS is used.
    pub ssl_mode: SslMode,
    /// `sslrootcert`: a file of authorities.
    pub(crate) authorities: Option<PathBuf>,
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DatabaseUrl(***)")
    }
}

impl DatabaseUrl {
    /// Takes out what only libpq and other client libraries understand, and has the driver read the rest.
    pub(crate) fn parse(text: &str) -> Result<Self, Violation> {
        let text = text.trim();
        let mut taken = Taken::default();
        let url = text
            .strip_prefix("postgres://")
            .or(text.strip_prefix("postgresql://"));
        // The driver ends the login at the first `@` of all, so it would take the host for a user.
        if url.is_some_and(|url| url.split_once('@').is_some_and(|(login, _)| login.contains('/'))) {
            return Err(Violation::Rule(AT_SIGN));
        }
        let rest = match url {
            Some(_) => Some(taken.out_of_url(text)),
            None => taken.out_of_keywords(text),
        };
        // What the driver says of a malformed text may hold a piece of a password.
        let client = rest.and_then(|rest| rest.parse().ok()).filter(can_be_dialled);
        let client = client.ok_or(Violation::MalformedSecret(DATABASE_URL.name, EXAMPLE))?;
        let ssl_mode = match taken.mode.as_deref() {
            None | Some("prefer" | "allow") => SslMode::Prefer,
            Some("disable") => SslMode::Disable,
            Some("require") => SslMode::Require,
            Some("verify-ca") => SslMode::VerifyCa,
            Some("verify-full") => SslMode::VerifyFull,
            // It is not shown: it is a piece of a secret.
            Some(_) => {
                return Err(Violation::Rule(
                    "DATABASE_URL: sslmode must be disable, allow, prefer, require, verify-ca or verify-full",
                ));
            }
        };
        Ok(Self {
            client,
            ssl_mode,
            authorities: taken.authorities.map(PathBuf::from),
        })
    }

    /// Where the driver dials; nothing for a Unix socket.
    pub(crate) fn endpoints(&self) -> impl Iterator<Item = OwnEndpoint> {
        let port = |i| port_of(&self.client, i);
        let hosts = self.client.get_hosts().iter().enumerate();
        let hosts = hosts.filter_map(move |(i, host)| match host {
            Host::Tcp(name) => endpoint(name, port(i)),
            Host::Unix(_) => None,
        });
        let addresses = self.client.get_hostaddrs().iter().enumerate();
        hosts.chain(
            addresses.map(move |(i, address)| OwnEndpoint::Net(IpNet::from(address.to_canonical()), port(i))),
        )
    }
}

/// One port serves all hosts; otherwise each host has the port in its place.
fn port_of(client: &tokio_postgres::Config, i: usize) -> u16 {
    let ports = client.get_ports();
    *ports.get(i).or(ports.first()).unwrap_or(&POSTGRES_PORT)
}

/// The driver finds these faults only when it dials.
fn can_be_dialled(client: &tokio_postgres::Config) -> bool {
    let (hosts, addresses, ports) = (client.get_hosts(), client.get_hostaddrs(), client.get_ports());
    let most = hosts.len().max(addresses.len());
    let named = |host: &Host| !matches!(host, Host::Tcp(name) if name.is_empty());
    most > 0
        && hosts.iter().all(named)
        && (hosts.len() == addresses.len() || hosts.is_empty() || addresses.is_empty())
        && (ports.len() <= 1 || ports.len() == most)
        && !ports.contains(&0)
}

/// The parameters that the driver does not understand.
#[derive(Default)]
struct Taken {
    mode: Option<String>,
    authorities: Option<String>,
}

impl Taken {
    /// Whether the parameter is one of ours, or of another client library's pool.
    fn take(&mut self, name: &str, value: &str) -> bool {
        match name {
            "sslmode" => self.mode = Some(value.to_owned()),
            // libpq's word for the system's authorities, which are used anyway.
            "sslrootcert" if value == "system" => {}
            "sslrootcert" => self.authorities = Some(value.to_owned()),
            _ => return name.starts_with("pool_"),
        }
        true
    }

    /// The URL without them. For the driver, what stands before an `@` is user and password, a `?` too.
    fn out_of_url(&mut self, text: &str) -> String {
        let host = text.find('@').unwrap_or(0);
        let Some(mark) = text[host..].find('?') else {
            return text.to_owned();
        };
        let (before, query) = text.split_at(host + mark);
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let mut kept: Vec<&str> = query[1..].split('&').collect();
        kept.retain(|pair| match pair.split_once('=') {
            Some((name, value)) => !self.take(&decoded(name), &decoded(value)),
            None => true,
        });
        let mark = if kept.is_empty() { "" } else { "?" };
        format!("{before}{mark}{}", kept.join("&"))
    }

    /// The keywords without them, each value in quotes; `None` when they are malformed.
    fn out_of_keywords(&mut self, text: &str) -> Option<String> {
        let mut rest = text.chars().peekable();
        let mut kept = String::new();
        loop {
            skip_blanks(&mut rest);
            if rest.peek().is_none() {
                return Some(kept);
            }
            let mut name = String::new();
            while let Some(c) = rest.next_if(|&c| c != '=' && !c.is_whitespace()) {
                name.push(c);
            }
            skip_blanks(&mut rest);
            rest.next_if_eq(&'=').filter(|_| !name.is_empty())?;
            skip_blanks(&mut rest);
            let value = keyword_value(&mut rest)?;
            if !self.take(&name, &value) {
                let escaped = value.replace('\\', r"\\").replace('\'', r"\'");
                kept.push_str(&format!("{name}='{escaped}' "));
            }
        }
    }
}

fn skip_blanks(rest: &mut Peekable<Chars<'_>>) {
    while rest.next_if(|c| c.is_whitespace()).is_some() {}
}

/// A bare or quoted value, in which a backslash escapes the next character; `None` when a quote is not closed.
fn keyword_value(rest: &mut Peekable<Chars<'_>>) -> Option<String> {
    let quoted = rest.next_if_eq(&'\'').is_some();
    let mut value = String::new();
    loop {
        match rest.next_if(|c| quoted || !c.is_whitespace()) {
            Some('\\') => value.push(rest.next()?),
            Some('\'') if quoted => return Some(value),
            Some(c) => value.push(c),
            None if quoted => return None,
            None => return Some(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoints::tests::show;

    fn endpoints(address: &str) -> Option<Vec<String>> {
        let url = DatabaseUrl::parse(address).ok()?;
        Some(show(&url.endpoints().collect::<Vec<_>>()))
    }

    #[test]
    fn both_spellings_name_their_endpoints() {
        for (address, expect) in [
            ("postgres://u:p@db/caracal", Some(&["db 5432"][..])),
            (
                "postgresql://u:p@DB.example.:6432/c?sslmode=require",
                Some(&["db.example 6432"]),
            ),
            (
                "postgres://u:p@a:1,b:2,10.0.0.3/c",
                Some(&["a 1", "b 2", "10.0.0.3/32 5432"]),
            ),
            ("postgres://u@[fd00::2]:5433/c", Some(&["fd00::2/128 5433"])),
            ("postgres://u@%2Frun%2Fpostgresql/c", Some(&[])),
            ("postgres:///c?host=db&port=6000", Some(&["db 6000"])),
            ("host=db user=u password='a b'", Some(&["db 5432"])),
            ("host = 'a,b' port=1,2", Some(&["a 1", "b 2"])),
            (
                "hostaddr=10.0.0.1 host=db port=7",
                Some(&["db 7", "10.0.0.1/32 7"]),
            ),
            ("host=/run/postgresql", Some(&[])),
            (r"password=a\ b://c host=db", Some(&["db 5432"])),
            ("password=a://b host=db", Some(&["db 5432"])),
            // For the driver the first `@` ends the password; the last one is part of a host that cannot be.
            ("postgres://u:p?sslmode=x@db/c", Some(&["db 5432"])),
            ("postgres://u:p@ss@db/c", Some(&["ss@db 5432"])),
            ("postgres://u@a+b/c", Some(&["a+b 5432"])),
            ("postgres://u@a:1,b:2/c?port=3", None),
            ("postgres://u@a:0/c", None),
            ("postgres://u@,b/c", None),
            ("host=db port=0", None),
            ("host=a,b hostaddr=10.0.0.1", None),
            ("host=db = x", None),
            ("host=db sslcert=c", None),
            ("postgres:///c", None),
            ("postgres://db:port/c", None),
            ("mysql://db/c", None),
            ("http://h/db", None),
            ("host=h nonsense=1", None),
            ("user=u", None),
            ("host='db", None),
            ("host=db port=x", None),
            ("just some words", None),
            ("", None),
        ] {
            let got = endpoints(address);
            let expect = expect.map(|list| list.iter().map(ToString::to_string).collect::<Vec<_>>());
            assert_eq!(got, expect, "{address:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_address_panics(text in "\\PC*") {
            let _ = endpoints(&text);
            let _ = endpoints(&format!("postgres://{text}"));
        }
    }

    #[test]
    fn parameters_of_libpq_are_taken_out_and_the_rest_is_the_drivers() {
        let url = "postgres://u:p%40x@h:1,h2:2/db";
        let verify_ca = |password: &str| {
            format!("host=h password={password} sslmode=verify-ca  sslrootcert=system user=u")
        };
        for (text, rest, mode, authorities) in [
            (url.to_owned(), url, SslMode::Prefer, None),
            (format!("{url}?sslmode=allow"), url, SslMode::Prefer, None),
            (
                format!("{url}?sslmode=verify-full"),
                url,
                SslMode::VerifyFull,
                None,
            ),
            (
                format!("{url}?ssl%6Dode=verify%2Dfull"),
                url,
                SslMode::VerifyFull,
                None,
            ),
            (
                format!("{url}?application_name=x&sslmode=require&sslrootcert=%2Fca+1.pem&pool_max_conns=4"),
                "postgres://u:p%40x@h:1,h2:2/db?application_name=x",
                SslMode::Require,
                Some("/ca+1.pem"),
            ),
            (
                verify_ca("'a sslmode=x'"),
                "host=h password='a sslmode=x' user=u",
                SslMode::VerifyCa,
                None,
            ),
            (
                verify_ca(r"'it\'s \\'"),
                r"host=h password='it\'s \\' user=u",
                SslMode::VerifyCa,
                None,
            ),
            (
                "host=h sslmode='disable'".to_owned(),
                "host=h",
                SslMode::Disable,
                None,
            ),
            // libpq allows blanks around the sign: read otherwise, TLS would be optional here.
            (
                "host=h sslmode = verify-full".to_owned(),
                "host=h",
                SslMode::VerifyFull,
                None,
            ),
        ] {
            let Ok(got) = DatabaseUrl::parse(&text) else {
                panic!("{text}")
            };
            assert_eq!(got.client, rest.parse().unwrap(), "{text}");
            assert_eq!(got.ssl_mode, mode, "{text}");
            assert_eq!(got.authorities, authorities.map(PathBuf::from), "{text}");
        }
    }

    #[test]
    fn at_sign_that_would_make_the_host_a_login_is_refused_by_name() {
        for text in ["postgres://db/c?application_name=a@b", "postgresql://u:p/q@db/c"] {
            assert_eq!(
                DatabaseUrl::parse(text).unwrap_err().to_string(),
                AT_SIGN,
                "{text}"
            );
        }
        for text in [
            "postgres://u@db/c?application_name=a@b",
            "postgres://db/c?application_name=a%40b",
        ] {
            assert_eq!(endpoints(text).unwrap(), ["db 5432"], "{text}");
        }
    }

    #[test]
    fn unknown_sslmode_is_refused_by_name() {
        for text in [
            "postgres://h/db?sslmode=verify_full",
            "postgres://h/db?sslmode=maybe",
            "host=h sslmode=",
        ] {
            let refused = DatabaseUrl::parse(text).unwrap_err().to_string();
            assert_eq!(
                refused,
                "DATABASE_URL: sslmode must be disable, allow, prefer, require, verify-ca or verify-full"
            );
        }
    }
}
