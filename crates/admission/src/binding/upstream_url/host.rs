//! A host in its normal form.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::cause::Cause;

/// The normal form of a host: lower case, no trailing dot, A-labels.
///
/// A name is of letters, digits, `-` and `_`: what else a URL may hold there, each of its readers
/// takes for something different. An IPv4 address must be spelled in its canonical form: decimal,
/// octal, hex and short spellings mean different things to different resolvers. An IPv6 literal
/// has brackets and no zone id.
///
/// # Errors
/// The cause.
pub fn normalise(host: &str) -> Result<(String, Option<IpAddr>), Cause> {
    if let Some(inner) = host.strip_prefix('[') {
        let address = inner
            .strip_suffix(']')
            .and_then(|text| text.parse::<Ipv6Addr>().ok());
        return match address {
            Some(address) => Ok((address.to_string(), Some(IpAddr::V6(address)))),
            None => refuse("malformed IPv6 upstream host"),
        };
    }
    // Unicode digits and dots fold into ASCII ones; such a host is judged after the folding,
    // but never accepted as an address spelling.
    let ascii = idna::domain_to_ascii_cow(host.as_bytes(), idna::AsciiDenyList::URL)
        .map_err(|_| Cause::new("malformed upstream host"))?;
    let name = ascii.strip_suffix('.').unwrap_or(&ascii);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(plain);
    if name.len() > 253 || !name.split('.').all(label) {
        return refuse("malformed upstream host");
    }
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        return Ok((address.to_string(), Some(IpAddr::V4(address))));
    }
    // RFC 3986 and the URL standard: a last label that is a number makes the host an IPv4 address.
    let last = name.rsplit('.').next().unwrap_or(name);
    let number = last.bytes().all(|byte| byte.is_ascii_digit())
        || last
            .strip_prefix("0x")
            .is_some_and(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if number {
        refuse("upstream host is a non-canonical IPv4 spelling")
    } else {
        Ok((name.to_owned(), None))
    }
}

/// The normal form of a host in a list of permitted hosts, where an IPv6 address may do without
/// its brackets.
///
/// # Errors
/// The cause: the entry has a port, a wildcard or anything else beside a host.
pub fn normalise_listed(entry: &str) -> Result<String, Cause> {
    match entry.parse::<Ipv6Addr>() {
        Ok(address) => Ok(address.to_string()),
        Err(_) => normalise(entry).map(|(host, _)| host),
    }
}

fn refuse<T>(words: &'static str) -> Result<T, Cause> {
    Err(Cause::new(words))
}
