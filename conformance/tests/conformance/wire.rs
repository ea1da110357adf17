//! Requests as text, for tests that decide every byte.

use crate::world::World;
use std::net::SocketAddr;
use testkit::http::{Connection, Response};

/// A head with `Host`, a fresh mandate, the resource, and these further lines (each ended by `\r\n`), closed by the
/// empty line.
pub(crate) fn head(world: &World, method: &str, resource: &str, target: &str, lines: &str) -> String {
    head_with(&world.token(resource), method, resource, target, lines)
}

/// The same with this mandate.
pub(crate) fn head_with(token: &str, method: &str, resource: &str, target: &str, lines: &str) -> String {
    format!(
        "{method} {target} HTTP/1.1\r\nHost: gateway.example\r\nAuthorization: Bearer {token}\r\n\
         X-Caracal-Resource: {resource}\r\n{lines}\r\n"
    )
}

/// Sends a text on a connection of its own and reads one response.
pub(crate) async fn ask(addr: SocketAddr, request: impl AsRef<[u8]>) -> Response {
    Connection::open(addr).await.exchange(request).await
}
