//! The callers: short requests, uploads and streams, with mandates for one use and for many.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use devstack::{Devstack, MintRequest, Use};
use futures_util::stream;
use http::Request;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::random::Random;
use super::upstream::{MARK, RESOURCE};
use crate::failure::Result;

/// The most requests that one connection carries.
const MAX_REQUESTS: u64 = 40;
/// The longest life of a connection: longer than anything that a caller asks for.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a caller waits where no gateway listens.
const PAUSE: Duration = Duration::from_millis(3);
/// The size of each piece of an upload.
const PIECE: usize = 3000;

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A request that was sent, at least in part.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    /// Its id.
    pub(super) id: String,
    /// Which gateway it went to, in the order in which they were started.
    pub(super) process: usize,
    /// The connection that carried it, among all of the run.
    pub(super) connection: usize,
    /// The status of the answer, if its head came.
    pub(super) status: Option<u16>,
}

/// What callers ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    /// A short answer.
    Short,
    /// To upload a body in pieces.
    Upload,
    /// A stream of events, to its end.
    Stream,
    /// A stream of events that lasts while hundreds of requests come and go.
    LongStream,
    /// A stream of events, whose caller leaves after the first of them.
    LeftStream,
}

/// All callers, and what they have sent.
pub(super) struct Callers<'a> {
    stack: &'a Devstack,
    /// Begins the id of each request.
    prefix: String,
    /// The gateways that listen, by their numbers.
    listening: RefCell<Vec<(usize, SocketAddr)>>,
    sent: RefCell<Vec<Sent>>,
    connections: Cell<usize>,
    answered: Cell<usize>,
    stopped: Cell<bool>,
}

impl<'a> Callers<'a> {
    /// Callers with mandates of this STS.
    pub(super) fn new(stack: &'a Devstack, prefix: String) -> Self {
        Self {
            stack,
            prefix,
            listening: RefCell::default(),
            sent: RefCell::default(),
            connections: Cell::new(0),
            answered: Cell::new(0),
            stopped: Cell::new(false),
        }
    }

    /// A gateway listens.
    pub(super) fn add(&self, process: usize, at: SocketAddr) {
        self.listening.borrow_mut().push((process, at));
    }

    /// A gateway does not listen any more.
    pub(super) fn remove(&self, process: usize) {
        self.listening.borrow_mut().retain(|(other, _)| *other != process);
    }

    /// How many requests were answered with 200 so far.
    pub(super) fn answered(&self) -> usize {
        self.answered.get()
    }

    /// Ends them all, when each has its answer.
    pub(super) fn stop(&self) {
        self.stopped.set(true);
    }

    /// What they have sent.
    pub(super) fn into_sent(self) -> Vec<Sent> {
        self.sent.into_inner()
    }

    /// One caller, until all are stopped.
    pub(super) async fn call(&self, mut random: Random) -> Result<()> {
        while !self.stopped.get() {
            let gateway = {
                let listening = self.listening.borrow();
                let at = random.below(listening.len() as u64);
                listening.get(usize::try_from(at)?).copied()
            };
            let visit = async {
                match gateway {
                    Some((process, at)) => self.visit(process, at, &mut random).await,
                    None => Ok(false),
                }
            };
            // One that was killed, or does not serve, is tried again a little later.
            if !timeout(PATIENCE, visit).await.unwrap_or(Ok(false))? {
                sleep(PAUSE).await;
            }
        }
        Ok(())
    }

    /// One connection; false when it broke.
    async fn visit(&self, process: usize, at: SocketAddr, random: &mut Random) -> Result<bool> {
        let Ok(stream) = TcpStream::connect(at).await else {
            return Ok(false);
        };
        let Ok((sender, driver)) = http1::handshake(TokioIo::new(stream)).await else {
            return Ok(false);
        };
        // Whoever sends owns the sender, whose end is the end of the connection.
        let (whole, _ended) = tokio::join!(self.requests(process, sender, random), driver);
        whole
    }

    /// The requests of one connection; false when it broke.
    async fn requests(
        &self,
        process: usize,
        mut sender: SendRequest<Body>,
        random: &mut Random,
    ) -> Result<bool> {
        let connection = self.connections.get();
        self.connections.set(connection + 1);
        let mut used = None;
        for _ in 0..=random.below(MAX_REQUESTS) {
            if self.stopped.get() {
                break;
            }
            let mandate = self.mandate(random, &mut used)?;
            let wish = match random.below(10) {
                0..=5 => Wish::Short,
                6..=7 => Wish::Upload,
                8 => Wish::Stream,
                _ if random.below(4) == 0 => Wish::LongStream,
                _ => Wish::LeftStream,
            };
            let number = self.sent.borrow().len();
            let id = format!("{}{number}", self.prefix);
            let request = request(wish, &id, &mandate, random)?;
            self.sent.borrow_mut().push(Sent {
                id,
                process,
                connection,
                status: None,
            });
            if !self.exchange(number, wish, &mut sender, request).await {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// A mandate: for many uses, for one, or for one that it has had.
    fn mandate(&self, random: &mut Random, used: &mut Option<String>) -> Result<String> {
        let choice = random.below(10);
        if choice == 0
            && let Some(used) = used.take()
        {
            return Ok(used);
        }
        let request = MintRequest {
            mandate_use: if choice < 6 { Use::Session } else { Use::Gateway },
            ..self.stack.request_for(RESOURCE)
        };
        let minted = self.stack.mint(&request);
        let minted = minted.map_err(|refusal| format!("no mandate: {refusal:?}"))?;
        let text = minted.token.expose().to_owned();
        if request.mandate_use == Use::Gateway {
            *used = Some(text.clone());
        }
        Ok(text)
    }

    /// Sends a request and reads its answer; false when the connection is of no more use.
    async fn exchange(
        &self,
        number: usize,
        wish: Wish,
        sender: &mut SendRequest<Body>,
        request: Request<Body>,
    ) -> bool {
        if sender.ready().await.is_err() {
            return false;
        }
        let Ok(mut answer) = sender.send_request(request).await else {
            return false;
        };
        if answer.status() == 200 {
            self.answered.set(self.answered.get() + 1);
        }
        if let Some(sent) = self.sent.borrow_mut().get_mut(number) {
            sent.status = Some(answer.status().as_u16());
        }
        while let Some(frame) = answer.body_mut().frame().await {
            let leaves = wish == Wish::LeftStream || self.stopped.get();
            if frame.is_err() || leaves {
                return false;
            }
        }
        true
    }
}

fn request(wish: Wish, id: &str, mandate: &str, random: &mut Random) -> Result<Request<Body>> {
    let (method, target) = match wish {
        Wish::Short => ("GET", "/bytes?n=64&id="),
        Wish::Upload => ("POST", "/upload?id="),
        Wish::Stream | Wish::LeftStream => ("GET", "/sse?n=6&ms=4&id="),
        Wish::LongStream => ("GET", "/sse?n=200&ms=5&id="),
    };
    let body = match wish {
        Wish::Upload => upload(random.below(6), Duration::from_millis(random.below(6))),
        _ => Empty::new().boxed_unsync(),
    };
    let request = Request::builder()
        .method(method)
        .uri(format!("{target}{MARK}{id}{MARK}"))
        .header("Host", "bench.example")
        .header("Authorization", format!("Bearer {mandate}"))
        .header("X-Caracal-Resource", RESOURCE)
        .header("X-Request-Id", id);
    Ok(request.body(body)?)
}

/// A body in so many pieces, with a pause before each.
fn upload(pieces: u64, pause: Duration) -> Body {
    let piece = move |left: u64| async move {
        let left = left.checked_sub(1)?;
        sleep(pause).await;
        Some((Ok(Frame::data(Bytes::from(vec![b'u'; PIECE]))), left))
    };
    StreamBody::new(stream::unfold(pieces, piece)).boxed_unsync()
}
