//! `DATABASE_URL`. Its endpoints are those that the driver dials, so that the egress guard knows them; what libpq and pgx
//! understand and the driver does not is judged here, by name.

mod parameters;

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
use crate::warning::Warning;
use parameters::Parameters;

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
    /// `sslcert` and `sslkey`: the files of a certificate to show.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
    /// What is accepted and has no effect.
    pub(crate) warnings: Vec<Warning>,
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DatabaseUrl(***)")
    }
}

impl DatabaseUrl {
    /// Has the driver read login, hosts and database of a URL, and takes the parameters one by one.
    pub(crate) fn parse(text: &str) -> Result<Self, Violation> {
        let text = text.trim();
        let url = text
            .strip_prefix("postgres://")
            .or(text.strip_prefix("postgresql://"));
        // The driver ends the login at the first `@` of all, so it would take the host for a user.
        if url.is_some_and(|url| url.split_once('@').is_some_and(|(login, _)| login.contains('/'))) {
            return Err(Violation::Rule(AT_SIGN));
        }
        let parameters = match url {
            Some(_) => of_url(text),
            None => of_keywords(text),
        }?;
        let Parameters {
            client,
            ssl_mode,
            authorities,
            certificate,
            private_key,
            warnings,
            ..
        } = parameters.finish()?;
        if !can_be_dialled(&client) {
            return Err(malformed());
        }
        Ok(Self {
            client,
            ssl_mode,
            authorities,
            identity: certificate.zip(private_key),
            warnings,
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

/// What the driver says of a malformed text may hold a piece of a password.
fn malformed() -> Violation {
    Violation::MalformedSecret(DATABASE_URL.name, EXAMPLE)
}

/// For the driver, what stands before an `@` is user and password, a `?` too.
fn of_url(text: &str) -> Result<Parameters, Violation> {
    let host = text.find('@').unwrap_or(0);
    let mark = text[host..].find('?').map(|mark| host + mark);
    let (before, query) = text.split_at(mark.unwrap_or(text.len()));
    let mut parameters = Parameters::new(before.parse().map_err(|_| malformed())?);
    let query = query.strip_prefix('?').unwrap_or_default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or_else(malformed)?;
        let decoded = |text| percent_decode_str(text).decode_utf8().map_err(|_| malformed());
        parameters.take(&decoded(name)?, &decoded(value)?)?;
    }
    Ok(parameters)
}

fn of_keywords(text: &str) -> Result<Parameters, Violation> {
    let mut parameters = Parameters::new(tokio_postgres::Config::new());
    let mut rest = text.chars().peekable();
    loop {
        skip_blanks(&mut rest);
        if rest.peek().is_none() {
            return Ok(parameters);
        }
        let (name, value) = keyword(&mut rest).ok_or_else(malformed)?;
        parameters.take(&name, &value)?;
    }
}

fn keyword(rest: &mut Peekable<Chars<'_>>) -> Option<(String, String)> {
    let mut name = String::new();
    while let Some(c) = rest.next_if(|&c| c != '=' && !c.is_whitespace()) {
        name.push(c);
    }
    skip_blanks(rest);
    rest.next_if_eq(&'=').filter(|_| !name.is_empty())?;
    skip_blanks(rest);
    Some((name, keyword_value(rest)?))
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
mod tests;
