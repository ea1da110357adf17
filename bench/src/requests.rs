//! Requests and their mandates, made before anything is measured.

use devstack::{Devstack, MintRequest, Use};

use crate::failure::Result;

/// The length of every answer's body.
pub(crate) const BODY: usize = 256;

/// Requests for [`BODY`] bytes.
pub(crate) struct Requests {
    mandates: Vec<String>,
}

impl Requests {
    /// The resource that is asked for: its upstream is the echo server, which gets the resource mandate as a bearer.
    pub(crate) const RESOURCE: &str = "resource://mandate";

    /// Mints single-use mandates, valid for 15 minutes.
    pub(crate) fn mint(stack: &Devstack, count: usize) -> Result<Self> {
        let request = stack.request_for(Self::RESOURCE);
        let mut mandates = Vec::with_capacity(count);
        for _ in 0..count {
            let minted = stack
                .mint(&request)
                .map_err(|refusal| format!("no mandate: {refusal:?}"))?;
            mandates.push(minted.token.expose().to_owned());
        }
        Ok(Self { mandates })
    }

    /// Requests with one mandate, which may be presented many times within 15 minutes.
    pub(crate) fn reusable(stack: &Devstack, count: usize) -> Result<Self> {
        let request = MintRequest {
            mandate_use: Use::Session,
            ..stack.request_for(Self::RESOURCE)
        };
        let minted = stack.mint(&request);
        let minted = minted.map_err(|refusal| format!("no mandate: {refusal:?}"))?;
        let mandates = vec![minted.token.expose().to_owned(); count];
        Ok(Self { mandates })
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.mandates.len()
    }

    /// The mandates themselves.
    pub(crate) fn mandates(&self) -> &[String] {
        &self.mandates
    }

    /// Writes a request into `buffer`, in place of what it held; false when there is no such request.
    pub(crate) fn write(&self, index: usize, buffer: &mut Vec<u8>) -> bool {
        let Some(mandate) = self.mandates.get(index) else {
            return false;
        };
        buffer.clear();
        for part in [
            "GET /bytes?n=256 HTTP/1.1\r\nHost: bench.example\r\nAuthorization: Bearer ",
            mandate,
            "\r\nX-Caracal-Resource: ",
            Self::RESOURCE,
            "\r\n\r\n",
        ] {
            buffer.extend_from_slice(part.as_bytes());
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_request_is_written_once_with_its_own_mandate() {
        let requests = Requests {
            mandates: vec!["one".into(), "two".into()],
        };
        let mut buffer = b"old".to_vec();
        assert!(requests.write(1, &mut buffer));
        let text = String::from_utf8(buffer.clone()).unwrap();
        assert!(text.starts_with(&format!("GET /bytes?n={BODY} HTTP/1.1\r\n")));
        assert!(text.ends_with("Bearer two\r\nX-Caracal-Resource: resource://mandate\r\n\r\n"));
        assert!(!requests.write(2, &mut buffer));
    }
}
