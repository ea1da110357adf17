//! Requests and their mandates, made before anything is measured.

use devstack::{Devstack, MintRequest, Use};

use crate::connection::Answer;
use crate::failure::Result;

/// The length of every answer's body.
pub(crate) const BODY: usize = 256;
/// The length of a hostile path: with the rest of its head just below the 16 KiB that a head may have.
const HOSTILE_PATH: usize = 15 * 1024;

/// Requests for [`BODY`] bytes, or such as are refused before their mandate's signature is verified.
pub(crate) struct Requests {
    target: String,
    /// What each is asked of, in turn.
    resources: Vec<String>,
    /// What follows `Authorization: `; empty without that field.
    credentials: Vec<String>,
    status: u16,
}

impl Requests {
    /// The resource that is asked for: its upstream is the echo server, which gets the resource mandate as a bearer.
    pub(crate) const RESOURCE: &str = "resource://mandate";

    /// Mints single-use mandates, valid for 15 minutes.
    pub(crate) fn mint(stack: &Devstack, count: usize) -> Result<Self> {
        let request = stack.request_for(Self::RESOURCE);
        let mut mandates = Vec::with_capacity(count);
        for _ in 0..count {
            mandates.push(minted(stack, &request)?);
        }
        Ok(Self::allowed(vec![Self::RESOURCE.into()], mandates))
    }

    /// Mints single-use mandates, one for each of these, which name what is asked for.
    pub(crate) fn mint_each(stack: &Devstack, each: &[MintRequest]) -> Result<Self> {
        let mandates = each.iter().map(|request| minted(stack, request));
        let resources = each.iter().filter_map(|request| request.resources.first());
        Ok(Self::allowed(
            resources.cloned().collect(),
            mandates.collect::<Result<_>>()?,
        ))
    }

    /// Requests with one mandate, which may be presented many times within 15 minutes.
    pub(crate) fn reusable(stack: &Devstack, count: usize) -> Result<Self> {
        let request = MintRequest {
            mandate_use: Use::Session,
            ..stack.request_for(Self::RESOURCE)
        };
        let mandates = vec![minted(stack, &request)?; count];
        Ok(Self::allowed(vec![Self::RESOURCE.into()], mandates))
    }

    /// Requests with this in `Authorization`, or without it when that is empty.
    pub(crate) fn unauthorized(credentials: &str, count: usize) -> Self {
        Self {
            credentials: vec![credentials.to_owned(); count],
            status: 401,
            ..Self::allowed(vec![Self::RESOURCE.into()], Vec::new())
        }
    }

    /// Requests with a path that is as long as it can be, of this over and over, and leaves its place only at the end and
    /// when it is decoded twice.
    pub(crate) fn hostile_path(part: &str, count: usize) -> Self {
        let end = "/%252e%252e";
        let times = (HOSTILE_PATH - end.len()) / part.len().max(1);
        Self {
            target: format!("/{}{end}", part.repeat(times)),
            status: 400,
            ..Self::unauthorized("Bearer a.b.c", count)
        }
    }

    fn allowed(resources: Vec<String>, mandates: Vec<String>) -> Self {
        Self {
            target: format!("/bytes?n={BODY}"),
            resources,
            credentials: mandates
                .into_iter()
                .map(|mandate| format!("Bearer {mandate}"))
                .collect(),
            status: 200,
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.credentials.len()
    }

    /// The mandates themselves.
    pub(crate) fn mandates(&self) -> impl Iterator<Item = &str> {
        self.credentials
            .iter()
            .filter_map(|credentials| credentials.strip_prefix("Bearer "))
    }

    /// Whether each is answered by the upstream, and has an event in the audit stream.
    pub(crate) fn are_allowed(&self) -> bool {
        self.status == 200
    }

    /// Whether this is the answer that they are to get.
    pub(crate) fn expect(&self, answer: &Answer<'_>) -> bool {
        answer.status == self.status && (!self.are_allowed() || answer.body.len() == BODY)
    }

    /// Writes a request into `buffer`, in place of what it held; false when there is no such request.
    pub(crate) fn write(&self, index: usize, buffer: &mut Vec<u8>) -> bool {
        let resource = index.checked_rem(self.resources.len());
        let resource = resource.and_then(|at| self.resources.get(at));
        let (Some(credentials), Some(resource)) = (self.credentials.get(index), resource) else {
            return false;
        };
        buffer.clear();
        let mut write = |parts: &[&str]| {
            for part in parts {
                buffer.extend_from_slice(part.as_bytes());
            }
        };
        write(&["GET ", &self.target, " HTTP/1.1\r\nHost: bench.example\r\n"]);
        if !credentials.is_empty() {
            write(&["Authorization: ", credentials, "\r\n"]);
        }
        write(&["X-Caracal-Resource: ", resource, "\r\n\r\n"]);
        true
    }
}

fn minted(stack: &Devstack, request: &MintRequest) -> Result<String> {
    let minted = stack.mint(request);
    let minted = minted.map_err(|refusal| format!("no mandate: {refusal:?}"))?;
    Ok(minted.token.expose().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(requests: &Requests, index: usize) -> Option<String> {
        let mut buffer = b"old".to_vec();
        let is_there = requests.write(index, &mut buffer);
        is_there.then(|| String::from_utf8(buffer).unwrap())
    }

    #[test]
    fn each_request_is_written_once_with_its_own_mandate() {
        let resources = vec![Requests::RESOURCE.to_owned()];
        let requests = Requests::allowed(resources, vec!["one".into(), "two".into()]);
        let text = written(&requests, 1).unwrap();
        assert!(text.starts_with(&format!("GET /bytes?n={BODY} HTTP/1.1\r\n")));
        assert!(text.ends_with("Bearer two\r\nX-Caracal-Resource: resource://mandate\r\n\r\n"));
        assert_eq!(written(&requests, 2), None);
        assert_eq!(requests.mandates().collect::<Vec<_>>(), ["one", "two"]);
    }

    #[test]
    fn request_that_is_refused_has_no_bearer_or_a_path_just_below_the_bound() {
        let text = written(&Requests::unauthorized("", 1), 0).unwrap();
        assert!(!text.contains("Authorization"));
        let requests = Requests::hostile_path("%2525", 1);
        let text = written(&requests, 0).unwrap();
        assert!(text.contains("/%252e%252e HTTP/1.1\r\n"));
        assert!((15_000..16_384).contains(&text.len()), "{}", text.len());
        let answer = |status| Answer { status, body: b"" };
        assert!(requests.expect(&answer(400)) && !requests.expect(&answer(200)));
    }
}
