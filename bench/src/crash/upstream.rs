//! The upstream, and which requests it has received bytes of.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use devstack::{Credential, Devstack, Resource, Target};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::failure::Result;
use crate::servers;

/// The resource that it serves.
pub(super) const RESOURCE: &str = "resource://counted";
/// Stands on both sides of a request's id in its target, and nowhere else in what a gateway sends.
pub(super) const MARK: char = '~';
/// The longest id.
const MAX_ID: usize = 64;

/// How many times the bytes of each request arrived, by its id. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Seen(Arc<Mutex<HashMap<String, u32>>>);

impl Seen {
    /// What arrived so far of requests whose ids begin like this.
    pub(super) fn of(&self, prefix: &str) -> HashMap<String, u32> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = seen.iter().filter(|(id, _)| id.starts_with(prefix));
        own.map(|(id, times)| (id.clone(), *times)).collect()
    }

    fn add(&self, id: String) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *seen.entry(id).or_default() += 1;
    }
}

/// STS and upstream, which looks at each byte before HTTP is understood. They serve on the runtime that starts them.
pub(crate) struct Watched {
    /// STS and upstream.
    pub(super) stack: Devstack,
    /// What arrived.
    pub(super) seen: Seen,
    pub(super) serving: JoinSet<()>,
}

impl Watched {
    /// Starts them.
    pub(crate) async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let stack = servers::stack(Some(Resource {
            zone: "zone-dev".to_owned(),
            identifier: RESOURCE.to_owned(),
            application_id: "app-dev".to_owned(),
            target: Target::Url(url),
            credential: Credential::None,
            forward_identity: false,
            allowed_token_hosts: Vec::new(),
            provider_id: None,
            connection_id: None,
        }))
        .await?;
        let seen = Seen::default();
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, stack.upstream().clone(), seen.clone()));
        Ok(Self { stack, seen, serving })
    }
}

async fn serve(listener: TcpListener, upstream: devstack::Upstream, seen: Seen) {
    let mut connections = JoinSet::new();
    loop {
        // An accept that fails, as for want of descriptors, is tried again.
        if let Ok((stream, _)) = listener.accept().await {
            connections.spawn(upstream.clone().serve(Tap {
                stream,
                id: None,
                seen: seen.clone(),
            }));
        }
        while connections.try_join_next().is_some() {}
    }
}

/// A connection whose incoming bytes are searched for ids.
struct Tap<S> {
    stream: S,
    /// The part of an id that has arrived.
    id: Option<String>,
    seen: Seen,
}

impl<S> Tap<S> {
    fn look(&mut self, bytes: &[u8]) {
        for byte in bytes.iter().copied().map(char::from) {
            match &mut self.id {
                None if byte == MARK => self.id = Some(String::new()),
                None => {}
                Some(_) if byte == MARK => self.seen.add(self.id.take().unwrap_or_default()),
                Some(id) if id.len() < MAX_ID => id.push(byte),
                Some(_) => self.id = None,
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Tap<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.look(buf.filled().get(before..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tap<TcpStream> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt as _;

    #[tokio::test]
    async fn ids_are_found_however_the_bytes_are_cut_and_a_part_of_one_is_none() {
        let wire = format!(
            "GET /a?id=~one~ HTTP/1.1\r\n\r\nx~{}GET /~two~~one~ ~thr",
            "y".repeat(90)
        );
        for piece in [1, 3, 1000] {
            let seen = Seen::default();
            let mut tap = Tap {
                stream: wire.as_bytes(),
                id: None,
                seen: seen.clone(),
            };
            let mut bytes = vec![0; piece];
            while tap.read(&mut bytes).await.unwrap() > 0 {}
            let expect = [("one".to_owned(), 2), ("two".to_owned(), 1)];
            assert_eq!(seen.of(""), expect.into(), "pieces of {piece}");
            assert_eq!(seen.of("t").len(), 1);
        }
    }
}
