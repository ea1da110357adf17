//! An HTTP/2 server whose every answer the test gives.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{RecvStream, SendStream};
use http::{Request, Response};
use tokio::net::TcpListener;
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinSet;

/// A server on 127.0.0.1. Ends when dropped.
pub(super) struct Http2Server {
    pub(super) addr: SocketAddr,
    calls: mpsc::UnboundedReceiver<Call>,
    /// Says GOAWAY on every connection.
    goodbye: broadcast::Sender<Goodbye>,
    _tasks: JoinSet<()>,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum Goodbye {
    /// When its streams have.
    Graceful,
    /// At once.
    Abrupt,
    /// Never, but nothing is read or said any more.
    Silent,
}

/// One request.
pub(super) struct Call {
    /// The number of its connection.
    pub(super) connection: usize,
    pub(super) request: Request<RecvStream>,
    pub(super) respond: SendResponse<Bytes>,
}

impl Http2Server {
    pub(super) async fn start(change: impl FnOnce(&mut Builder)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let mut builder = Builder::new();
        change(&mut builder);
        let (send, calls) = mpsc::unbounded_channel();
        let (goodbye, _) = broadcast::channel(4);
        let (mut tasks, said) = (JoinSet::new(), goodbye.clone());
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            for connection in 0.. {
                let (tcp, _) = listener.accept().await.unwrap();
                let (send, builder, mut said) = (send.clone(), builder.clone(), said.subscribe());
                connections.spawn(async move {
                    let Ok(mut library) = builder.handshake::<_, Bytes>(tcp).await else {
                        return;
                    };
                    loop {
                        tokio::select! {
                            // What was said before is sent before.
                            biased;
                            call = library.accept() => {
                                let Some(Ok((request, respond))) = call else { return };
                                let call = Call { connection, request, respond };
                                let _ = send.send(call);
                            }
                            Ok(goodbye) = said.recv() => match goodbye {
                                Goodbye::Graceful => library.graceful_shutdown(),
                                Goodbye::Abrupt => library.abrupt_shutdown(h2::Reason::INTERNAL_ERROR),
                                Goodbye::Silent => std::future::pending().await,
                            },
                        }
                    }
                });
            }
        });
        Self {
            addr,
            calls,
            goodbye,
            _tasks: tasks,
        }
    }

    /// The next request.
    pub(super) async fn next(&mut self) -> Call {
        tokio::time::timeout(testkit::wait::PATIENCE, self.calls.recv())
            .await
            .expect("a request in time")
            .unwrap()
    }

    /// Says goodbye on every connection.
    pub(super) fn say(&self, goodbye: Goodbye) {
        self.goodbye.send(goodbye).unwrap();
    }
}

impl Call {
    /// The head of the answer; its body is still to be sent.
    pub(super) fn begin(&mut self) -> SendStream<Bytes> {
        self.respond.send_response(Response::new(()), false).unwrap()
    }

    /// An answer without a body.
    pub(super) fn answer(mut self) {
        self.respond.send_response(Response::new(()), true).unwrap();
    }

    /// The next piece of the body of the request.
    pub(super) async fn piece(&mut self) -> Option<Result<Bytes, h2::Error>> {
        let body = self.request.body_mut();
        let piece = tokio::time::timeout(testkit::wait::PATIENCE, body.data());
        let piece = piece.await.expect("a piece in time")?;
        Some(piece.inspect(|piece| {
            let _ = body.flow_control().release_capacity(piece.len());
        }))
    }

    /// Waits until the client resets the stream, of which no answer has begun.
    pub(super) async fn reset(&mut self) -> h2::Reason {
        in_time(std::future::poll_fn(|cx| self.respond.poll_reset(cx))).await
    }
}

/// Waits until the client resets the stream of this answer.
pub(super) async fn reset(answer: &mut SendStream<Bytes>) -> h2::Reason {
    in_time(std::future::poll_fn(|cx| answer.poll_reset(cx))).await
}

async fn in_time(reset: impl Future<Output = Result<h2::Reason, h2::Error>>) -> h2::Reason {
    let reset = tokio::time::timeout(testkit::wait::PATIENCE, reset);
    reset.await.expect("a reset in time").unwrap()
}
