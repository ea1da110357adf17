//! Where on the upstream: the base's path and query joined with the caller's, byte for byte.

use std::borrow::Cow;

use admission::binding::UpstreamUrl;
use admission::credential::QueryKey;
use bytes::Bytes;
use http::uri::PathAndQuery;

use crate::query;
use crate::rewrite_error::RewriteError;

/// Joins the caller's target to the base.
///
/// * Path: base path and caller's path with exactly one slash at the joint. `/` is how HTTP spells an empty path (RFC
///   9112 §3.2.1), so for `/` the base's path is taken as it is: `https://host/mcp` can be called without a slash that
///   nobody wrote.
/// * Query: the base's parameters, then the caller's in their own bytes and order, then the key. Parameters that the
///   base names are taken out of the caller's, in any percent spelling; those that any server may take for the key in
///   [every spelling](query::without).
pub(crate) fn join(
    base: &UpstreamUrl,
    caller: &PathAndQuery,
    key: Option<&QueryKey>,
) -> Result<PathAndQuery, RewriteError> {
    let path = caller.path();
    if !path.starts_with('/') {
        return Err(RewriteError::Target);
    }
    let prefix = base.path();
    if matches!(prefix, "" | "/")
        && base.query().is_none()
        && key.is_none()
        && caller.as_str().starts_with('/')
    {
        return Ok(caller.clone());
    }

    let capacity = prefix.len()
        + caller.as_str().len()
        + base.query().map_or(0, |query| query.len() + 2)
        + key.map_or(0, |key| key.name().len() + key.expose().len() + 3);
    let mut target = String::with_capacity(capacity);
    if path == "/" && !prefix.is_empty() {
        target.push_str(prefix);
    } else {
        target.push_str(prefix.strip_suffix('/').unwrap_or(prefix));
        target.push_str(path);
    }
    push_query(&mut target, base.query(), caller.query(), key);
    PathAndQuery::from_maybe_shared(Bytes::from(target)).map_err(|_| RewriteError::JoinedTarget)
}

fn push_query(target: &mut String, base: Option<&str>, caller: Option<&str>, key: Option<&QueryKey>) {
    let mut next = '?';
    let mut push = |text: &str| {
        target.push(next);
        target.push_str(text);
        next = '&';
    };
    let is_key = |piece: &str| key.is_some_and(|key| query::is_same_name(query::name(piece), key.name()));
    let is_stated =
        |piece: &str| !piece.is_empty() && base.is_some_and(|base| query::names_in(base, query::name(piece)));
    let own = |piece| {
        if is_stated(piece) {
            return None;
        }
        key.map_or(Some(piece.into()), |key| query::without(piece, key.name()))
    };

    match base {
        Some(base) if query::pieces(base).any(is_key) => {
            query::pieces(base)
                .filter(|piece| !is_key(piece))
                .for_each(&mut push);
        }
        Some(base) => push(base),
        None => {}
    }
    match caller {
        // A lone `?` is part of the caller's bytes, unless it would only add an empty piece to others.
        Some("") if base.is_some() || key.is_some() => {}
        Some(caller) => {
            let kept = query::pieces(caller).filter_map(own);
            kept.for_each(|piece: Cow<'_, str>| push(&piece));
        }
        None => {}
    }
    if let Some(key) = key {
        push(key.name());
        target.push('=');
        target.push_str(key.expose());
    }
}

#[cfg(test)]
mod tests;
