//! The two spellings of a PostgreSQL address: a URL, and libpq's keywords.

use std::borrow::Cow;
use std::iter::Peekable;
use std::str::Chars;

use admission::limits::OwnEndpoint;

use crate::endpoints::{authority, endpoint, hosts};

const POSTGRES_PORT: u16 = 5432;

/// The endpoints of a PostgreSQL address (none for a Unix socket); `None` when it names no host or is malformed.
pub(crate) fn postgres(address: &str) -> Option<Vec<OwnEndpoint>> {
    match address.split_once("://") {
        Some(("postgres" | "postgresql", rest)) => from_url(rest),
        Some((before, _)) if !before.contains('=') => None,
        Some(_) | None => from_keywords(address),
    }
}

fn from_url(rest: &str) -> Option<Vec<OwnEndpoint>> {
    let mut named = Named::default();
    let authority = authority(rest);
    if !authority.is_empty() {
        for (host, port) in hosts(authority)? {
            named.hosts.push(decoded(host));
            named.ports.push(port.unwrap_or(POSTGRES_PORT));
        }
    }
    if let Some((_, query)) = rest.split_once('?') {
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            named.set(&name, &value)?;
        }
    }
    named.endpoints()
}

/// A host's percent escapes: a socket's directory is written `%2Frun%2Fpostgresql`.
fn decoded(host: &str) -> String {
    let pair = format!("={host}");
    let (_, value) = url::form_urlencoded::parse(pair.as_bytes())
        .next()
        .unwrap_or((Cow::default(), Cow::default()));
    value.into_owned()
}

fn from_keywords(text: &str) -> Option<Vec<OwnEndpoint>> {
    let mut named = Named::default();
    let mut rest = text.chars().peekable();
    loop {
        skip_blanks(&mut rest);
        if rest.peek().is_none() {
            return named.endpoints();
        }
        let mut name = String::new();
        while let Some(c) = rest.next_if(|&c| c != '=' && !c.is_whitespace()) {
            name.push(c);
        }
        skip_blanks(&mut rest);
        rest.next_if_eq(&'=')?;
        skip_blanks(&mut rest);
        let value = keyword_value(&mut rest)?;
        named.set(&name, &value)?;
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

/// What an address said about hosts and ports.
#[derive(Default)]
struct Named {
    hosts: Vec<String>,
    addresses: Vec<String>,
    ports: Vec<u16>,
}

impl Named {
    fn set(&mut self, name: &str, value: &str) -> Option<()> {
        match name {
            "host" => self.hosts.extend(value.split(',').map(str::to_owned)),
            "hostaddr" => self.addresses.extend(value.split(',').map(str::to_owned)),
            "port" => {
                let ports: Option<Vec<u16>> = value.split(',').map(|port| port.parse().ok()).collect();
                self.ports = ports?;
            }
            _ => {}
        }
        Some(())
    }

    /// One port serves all hosts; otherwise each host has the port in its place.
    fn endpoints(self) -> Option<Vec<OwnEndpoint>> {
        let names = self.hosts.iter().chain(&self.addresses);
        if names.clone().all(String::is_empty) {
            return None;
        }
        let port_at = |i: usize| {
            self.ports
                .get(i)
                .or(self.ports.first())
                .copied()
                .unwrap_or(POSTGRES_PORT)
        };
        let hosts = self.hosts.iter().enumerate();
        let addresses = self.addresses.iter().enumerate();
        Some(
            hosts
                .chain(addresses)
                .filter_map(|(i, host)| endpoint(host, port_at(i)))
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoints::tests::show;

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
            ("postgres:///c", None),
            ("postgres://db:port/c", None),
            ("mysql://db/c", None),
            ("user=u", None),
            ("host='db", None),
            ("host=db port=x", None),
            ("just some words", None),
            ("", None),
        ] {
            let got = postgres(address).map(|endpoints| show(&endpoints));
            let expect = expect.map(|list| list.iter().map(ToString::to_string).collect::<Vec<_>>());
            assert_eq!(got, expect, "{address:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_address_panics(text in "\\PC*") {
            let _ = postgres(&text);
            let _ = postgres(&format!("postgres://{text}"));
            let _ = crate::endpoints::redis(&format!("redis://{text}"));
        }
    }
}
