//! A URL and an authority, cut into pieces and otherwise left as they are.

use crate::cause::Cause;
use crate::scheme::Scheme;

/// An absolute URL cut into pieces; `rest` begins with `/`, `?`, `#` or is empty.
pub(super) struct Absolute<'a> {
    pub(super) scheme: Scheme,
    authority: &'a str,
    pub(super) rest: &'a str,
}

impl<'a> Absolute<'a> {
    pub(super) fn split(url: &'a str) -> Option<Self> {
        let (scheme, after) = url.split_once("://")?;
        let (authority, rest) = after.split_at(after.find(['/', '?', '#']).unwrap_or(after.len()));
        Some(Self {
            scheme: Scheme::parse(scheme)?,
            authority,
            rest,
        })
    }

    pub(super) fn host_and_port(&self) -> Option<(&'a str, u16)> {
        let (host, port) = split_port(self.authority).ok()?;
        (!host.is_empty()).then_some((host, port.unwrap_or(self.scheme.default_port())))
    }
}

/// Splits `host[:port]`; an IPv6 host keeps its brackets.
pub(super) fn split_port(authority: &str) -> Result<(&str, Option<u16>), Cause> {
    let refuse = |words: &'static str| Err(Cause::new(words));
    let host_end = match authority.strip_prefix('[').map(|inner| inner.find(']')) {
        Some(Some(close)) => close + 2,
        Some(None) => return refuse("unclosed bracket in upstream host"),
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at(host_end);
    if port.is_empty() {
        return Ok((host, None));
    }
    let Some(port) = port.strip_prefix(':') else {
        return refuse("malformed upstream authority");
    };
    match port.parse() {
        Ok(number) if number != 0 && port.bytes().all(|byte| byte.is_ascii_digit()) => {
            Ok((host, Some(number)))
        }
        _ => refuse("malformed upstream port"),
    }
}
