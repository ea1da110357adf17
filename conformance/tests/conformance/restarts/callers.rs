//! Callers that go on while gateways are replaced. They do what the protocols ask of them, and no more: a connection
//! that was announced to end gets no further request, a stream that GOAWAY says nothing was done for is sent again (RFC 9113
//! §6.8), and no other request is.

use crate::wire::head_with;
use crate::world::{NONE, World};
use bytes::Bytes;
use h2::Reason;
use h2::client::{SendRequest, handshake};
use http::Request;
use rustls::ClientConfig;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use testkit::http::{Connection, Rest, Stream};
use testkit::tls::{Ca, connect};
use testkit::wait::{PATIENCE, until};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

/// How many of each kind there are.
const EACH: usize = 2;
/// How long a caller does something else between two requests.
const PAUSE: Duration = Duration::from_millis(5);
/// How many requests are a step forward.
const STEP: usize = 30;

#[derive(Clone, Copy)]
enum Kind {
    /// A connection for each request.
    Fresh,
    /// HTTP/1.1, as long as it is kept.
    Kept,
    /// HTTP/2, until it goes away.
    Http2,
}

/// The name that callers expect of the gateway.
pub(super) const NAME: &str = "gateway.example";

/// Where and how the gateway is called.
struct Target {
    addr: SocketAddr,
    /// For HTTP/1.1 and for HTTP/2; none without TLS.
    tls: Option<[ClientConfig; 2]>,
}

pub(super) struct Callers {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    tasks: JoinSet<Outcome>,
}

/// What callers got.
#[derive(Default)]
pub(super) struct Outcome {
    /// The ids of the requests that were served.
    pub(super) served: Vec<String>,
    /// What went wrong with the others.
    pub(super) failures: Vec<String>,
    /// How many connections were made.
    pub(super) connections: usize,
    /// How many streams were sent again.
    pub(super) again: usize,
    /// How long the slowest request took, with its connection.
    pub(super) slowest: Duration,
}

impl Callers {
    /// Calls there, over TLS where this authority vouches for the gateway.
    pub(super) fn start(world: &Arc<World>, addr: SocketAddr, ca: Option<&Ca>) -> Self {
        let config = |ca: &Ca| ["http/1.1", "h2"].map(|protocol| ca.client_config(&[protocol]));
        let target = Arc::new(Target {
            addr,
            tls: ca.map(config),
        });
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut tasks = JoinSet::new();
        for kind in [Kind::Fresh, Kind::Kept, Kind::Http2].repeat(EACH) {
            let (world, stop, done) = (Arc::clone(world), Arc::clone(&stop), Arc::clone(&done));
            let target = Arc::clone(&target);
            tasks.spawn(async move {
                let mut outcome = Outcome::default();
                let mut connection = None;
                while !stop.load(Ordering::Relaxed) {
                    let (token, began) = (world.token(NONE), Instant::now());
                    match ask(kind, &target, &token, &mut connection, &mut outcome).await {
                        Ok(id) => outcome.served.push(id),
                        Err(failure) => outcome.failures.push(failure),
                    }
                    outcome.slowest = outcome.slowest.max(began.elapsed());
                    done.fetch_add(1, Ordering::Relaxed);
                    pause(&mut connection).await;
                }
                outcome
            });
        }
        Self { stop, done, tasks }
    }

    /// Waits until they are some requests further.
    pub(super) async fn progress(&self) {
        let goal = self.done.load(Ordering::Relaxed) + STEP;
        until("requests", async || {
            (self.done.load(Ordering::Relaxed) >= goal).then_some(())
        })
        .await;
    }

    pub(super) async fn stop(self) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Outcome::default();
        for outcome in self.tasks.join_all().await {
            all.served.extend(outcome.served);
            all.failures.extend(outcome.failures);
            all.connections += outcome.connections;
            all.again += outcome.again;
            all.slowest = all.slowest.max(outcome.slowest);
        }
        all
    }
}

enum Open {
    Http1(Connection),
    Http2(SendRequest<Bytes>, JoinSet<()>),
}

/// Does something else for a while. A connection that ends meanwhile is not used any more.
async fn pause(kept: &mut Option<Open>) {
    let Some(Open::Http1(connection)) = kept else {
        return tokio::time::sleep(PAUSE).await;
    };
    if connection.rest(PAUSE).await != Rest::Silence {
        *kept = None;
    }
}

/// Sends one request and gives its id.
async fn ask(
    kind: Kind,
    target: &Target,
    token: &str,
    kept: &mut Option<Open>,
    outcome: &mut Outcome,
) -> Result<String, String> {
    let answer = async {
        match kind {
            Kind::Fresh | Kind::Kept => {
                let is_kept = matches!(kind, Kind::Kept);
                http1(target, token, is_kept, kept, outcome).await
            }
            Kind::Http2 => http2(target, token, kept, outcome).await,
        }
    };
    timeout(PATIENCE, answer)
        .await
        .map_err(|_| "no answer".to_owned())?
}

async fn dial(target: &Target, is_http2: bool, outcome: &mut Outcome) -> Result<Box<dyn Stream>, String> {
    outcome.connections += 1;
    if let Some(tls) = &target.tls {
        let config = tls[usize::from(is_http2)].clone();
        let stream = connect(target.addr, NAME, config).await;
        return stream.map_err(|error| format!("TLS: {error}"));
    }
    let stream = TcpStream::connect(target.addr).await;
    let stream = stream.map_err(|error| format!("connect: {error}"))?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    Ok(Box::new(stream))
}

async fn http1(
    target: &Target,
    token: &str,
    is_kept: bool,
    kept: &mut Option<Open>,
    outcome: &mut Outcome,
) -> Result<String, String> {
    let mut connection = match kept.take() {
        Some(Open::Http1(connection)) => connection,
        _ => Connection::over(dial(target, false, outcome).await?),
    };
    let lines = if is_kept { "" } else { "Connection: close\r\n" };
    let request = head_with(token, "GET", NONE, "/", lines);
    connection
        .send(request)
        .await
        .map_err(|error| format!("HTTP/1.1: {error}"))?;
    let head = connection
        .try_head()
        .await
        .map_err(|ending| format!("HTTP/1.1: {ending:?}"))?;
    while let testkit::http::Piece::Data(_) = connection.piece().await {}
    if head.status != 200 {
        return Err(format!("HTTP/1.1: {}", head.line));
    }
    let id = head.headers.get("x-request-id").unwrap_or_default().to_owned();
    if head.headers.get("connection").is_none() {
        *kept = Some(Open::Http1(connection));
    }
    Ok(id)
}

async fn http2(
    target: &Target,
    token: &str,
    kept: &mut Option<Open>,
    outcome: &mut Outcome,
) -> Result<String, String> {
    let mut open = kept.take();
    let scheme = if target.tls.is_some() { "https" } else { "http" };
    let request = Request::get(format!("{scheme}://{NAME}/"))
        .header("authorization", format!("Bearer {token}"))
        .header("x-caracal-resource", NONE);
    let request = request.body(()).map_err(|error| error.to_string())?;
    // One that goes away takes no request, which is no failure: nothing was sent.
    let (answer, sender, driver) = loop {
        let (sender, driver) = match open.take() {
            Some(Open::Http2(sender, driver)) => (sender, driver),
            _ => {
                let (sender, connection) = handshake(dial(target, true, outcome).await?)
                    .await
                    .map_err(|error| format!("HTTP/2 handshake: {error}"))?;
                let mut driver = JoinSet::new();
                driver.spawn(async move {
                    let _ended = connection.await;
                });
                (sender, driver)
            }
        };
        let Ok(mut sender) = sender.ready().await else {
            continue;
        };
        let Ok((answer, _)) = sender.send_request(request.clone(), true) else {
            continue;
        };
        match answer.await {
            Err(error) if is_unprocessed(&error) => outcome.again += 1,
            answer => break (answer, sender, driver),
        }
    };
    let failed = |error: h2::Error| format!("HTTP/2: {error}");
    let answer = answer.map_err(failed)?;
    let status = answer.status();
    let id = answer
        .headers()
        .get("x-request-id")
        .and_then(|id| id.to_str().ok());
    let id = id.unwrap_or_default().to_owned();
    let mut body = answer.into_body();
    while let Some(piece) = body.data().await {
        let piece = piece.map_err(failed)?;
        let _credit = body.flow_control().release_capacity(piece.len());
    }
    *kept = Some(Open::Http2(sender, driver));
    match status.as_u16() {
        200 => Ok(id),
        status => Err(format!("HTTP/2: {status}")),
    }
}

/// Whether nothing was done for a stream. The client library sends its answer to a PING before what waits to be sent, so a stream
/// that was begun just before GOAWAY came may arrive behind the last one that it covers.
fn is_unprocessed(error: &h2::Error) -> bool {
    error.is_go_away() && error.is_remote() && error.reason() == Some(Reason::NO_ERROR)
}
