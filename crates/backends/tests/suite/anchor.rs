//! Checkpoints on their way to the anchor, which the test plays by hand.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use admission::ports::Resolver;
use backends::anchor::{self, AnchorConfig, Transport};
use backends::component::{Figures, Samples};
use backends::tls::{ClientTls, TlsClient, http_client_config};
use evidence::{
    BoxFuture, CHECKPOINT, Chain, CheckpointKey, Shipment, SinkError, StreamSink, Uuid, write_checkpoint,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use testkit::clock::FixedClock;
use testkit::proxy::{Fault, FaultProxy};
use testkit::tls::{Ca, TlsFront};
use testkit::wait::{PATIENCE, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::support::PrivateSystem;

const OK: &str = "HTTP/1.1 204 No Content\r\n\r\n";

/// A stream that takes so many events of a batch.
#[derive(Default)]
struct Stream {
    at_once: AtomicUsize,
}

impl StreamSink for Stream {
    fn append<'a>(&'a self, batch: &'a [Shipment]) -> BoxFuture<'a, Result<usize, SinkError>> {
        let taken = match self.at_once.load(Ordering::Relaxed) {
            0 => Err(SinkError::new("down")),
            at_once => Ok(batch.len().min(at_once)),
        };
        Box::pin(std::future::ready(taken))
    }
}

/// What ships and what sends, over a stream that takes everything.
struct Gateway {
    stream: Arc<Stream>,
    sink: Option<Arc<dyn StreamSink>>,
    figures: Vec<Figures>,
    task: JoinSet<()>,
    stop: CancellationToken,
    _system: PrivateSystem,
}

impl Gateway {
    fn start(url: &str) -> Self {
        Self::trusting(url, ClientTls::default())
    }

    fn trusting(url: &str, tls: ClientTls) -> Self {
        let system = PrivateSystem::new(None);
        system.hosts("127.0.0.1 localhost anchor.example\n");
        let clock = FixedClock::default();
        let resolver: Arc<dyn Resolver> = Arc::new(system.resolver(&clock));
        let stream = Arc::new(Stream::default());
        stream.at_once.store(usize::MAX, Ordering::Relaxed);
        let shipped_to = Arc::clone(&stream) as Arc<dyn StreamSink>;
        let config = config(url, tls);
        let tracker = TaskTracker::new();
        let component = anchor::component(&config, shipped_to, resolver, Arc::new(clock), tracker);
        let mut component = component.unwrap();
        let stop = CancellationToken::new();
        let run = component.tasks.pop().unwrap().run;
        let mut task = JoinSet::new();
        task.spawn(run(stop.clone()));
        Self {
            stream,
            sink: Some(component.port),
            figures: component.figures,
            task,
            stop,
            _system: system,
        }
    }

    async fn ship(&self, batch: &[Shipment]) -> Result<usize, SinkError> {
        self.sink.as_ref().unwrap().append(batch).await
    }

    fn figure(&self, name: &str) -> u64 {
        let mut page = Page::default();
        self.figures.iter().for_each(|write| write(&mut page));
        page.0[&*format!("caracal_gateway_audit_anchor_{name}")]
    }

    async fn reaches(&self, name: &str, value: u64) {
        until(name, async || (self.figure(name) >= value).then_some(())).await;
    }

    /// Ships nothing more, and waits for the task to end.
    async fn end(mut self) {
        self.sink = None;
        let ended = timeout(PATIENCE, self.task.join_next()).await;
        ended.unwrap().unwrap().unwrap();
    }
}

fn config(url: &str, tls: ClientTls) -> AnchorConfig {
    let transport = match url.starts_with("https") {
        true => Transport::Https,
        false => Transport::PlainLoopback,
    };
    AnchorConfig {
        url: url.parse().unwrap(),
        transport,
        tls: TlsClient::new(http_client_config(&tls).unwrap()),
    }
}

#[derive(Default)]
struct Page(BTreeMap<&'static str, u64>);

impl Samples for Page {
    fn section(&mut self, _title: &'static str) {}
    fn counter(&mut self, name: &'static str, _help: &'static str, value: u64) {
        self.0.insert(name, value);
    }
    fn gauge(&mut self, name: &'static str, _help: &'static str, value: u64) {
        self.0.insert(name, value);
    }
    fn number(&mut self, _name: &'static str, _help: &'static str, _value: Option<f64>) {}
}

/// The anchor. Every checkpoint comes over a connection of its own.
struct Anchor(TcpListener);

/// A request, and the connection on which it is answered.
struct Post {
    head: String,
    body: Vec<u8>,
    stream: TcpStream,
}

impl Anchor {
    async fn start() -> Self {
        Self(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap())
    }

    fn addr(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    async fn post(&self) -> Post {
        let read = async {
            let (mut stream, _) = self.0.accept().await.unwrap();
            let (mut bytes, mut body) = (Vec::new(), None);
            while body.is_none() {
                assert!(stream.read_buf(&mut bytes).await.unwrap() > 0, "a whole request");
                body = whole(&bytes);
            }
            let (head, body) = body.unwrap();
            Post { head, body, stream }
        };
        timeout(PATIENCE, read).await.expect("a checkpoint in time")
    }
}

/// Head and body, once both are there.
fn whole(bytes: &[u8]) -> Option<(String, Vec<u8>)> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let field = head.to_ascii_lowercase();
    let field = field
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))?;
    let body = bytes.get(end..end + field.parse::<usize>().ok()?)?;
    Some((head, body.to_vec()))
}

impl Post {
    async fn answer(mut self, answer: &str) {
        // Who is answered early may have left.
        let _ = self.stream.write_all(answer.as_bytes()).await;
    }
}

fn chain() -> Chain {
    Chain::new(Uuid::new_v4(), CheckpointKey::generate().unwrap())
}

fn checkpoint(chain: &mut Chain, is_final: bool) -> Shipment {
    let (mut event, id) = (Vec::new(), Uuid::new_v4());
    write_checkpoint(&mut event, id, 1_790_000_000_000_000, is_final);
    Shipment {
        id: id.to_string(),
        data: chain.join(&event).into(),
        sig: Some("0".repeat(64)),
    }
}

/// Another event.
fn event(chain: &mut Chain) -> Shipment {
    let mut event = checkpoint(chain, false);
    let text = String::from_utf8(event.data.to_vec()).unwrap();
    event.data = text.replace(CHECKPOINT, "gateway_resource_request").into();
    event
}

#[tokio::test]
async fn anchor_gets_each_checkpoint_that_the_stream_took_byte_for_byte_and_nothing_else() {
    let anchor = Anchor::start().await;
    let url = format!("http://{}/in/box?token=t%20t", anchor.addr());
    let gateway = Gateway::start(&url);
    let mut chain = chain();
    let batch = [
        event(&mut chain),
        checkpoint(&mut chain, false),
        event(&mut chain),
        checkpoint(&mut chain, true),
    ];
    gateway.stream.at_once.store(0, Ordering::Relaxed);
    assert!(gateway.ship(&batch).await.is_err());
    gateway.stream.at_once.store(3, Ordering::Relaxed);
    assert_eq!(gateway.ship(&batch).await.unwrap(), 3);
    let post = anchor.post().await;
    assert_eq!(post.body, batch[1].data);
    let head = post.head.to_ascii_lowercase();
    for line in [
        "post /in/box?token=t%20t http/1.1".to_owned(),
        format!("host: {}", anchor.addr()),
        "content-type: application/json".to_owned(),
        format!("content-length: {}", batch[1].data.len()),
        "user-agent: caracal-gateway".to_owned(),
    ] {
        assert!(head.lines().any(|there| there == line), "{line} in {head}");
    }
    assert_eq!(head.lines().count(), 6, "{head}");
    post.answer(OK).await;
    gateway.reaches("sent_total", 1).await;
    assert_eq!(gateway.ship(&batch[3..]).await.unwrap(), 1);
    let post = anchor.post().await;
    assert_eq!(post.body, batch[3].data);
    post.answer("HTTP/1.1 200 OK\r\n\r\nnever ends").await;
    gateway.reaches("sent_total", 2).await;
    assert_eq!(
        (gateway.figure("errors_total"), gateway.figure("waiting")),
        (0, 0)
    );
    gateway.end().await;
}

#[tokio::test]
async fn anchor_that_does_not_take_a_checkpoint_is_asked_again_and_nobody_else() {
    let (anchor, elsewhere) = (Anchor::start().await, Anchor::start().await);
    let gateway = Gateway::start(&format!("http://{}/", anchor.addr()));
    let mut chain = chain();
    let redirect = format!(
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://{}/\r\nContent-Length: 0\r\n\r\n",
        elsewhere.addr()
    );
    let answers = [
        "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
        &redirect,
        "no HTTP\r\n\r\n",
        "",
    ];
    for (round, answer) in (1..).zip(answers) {
        let checkpoint = checkpoint(&mut chain, false);
        gateway.ship(std::slice::from_ref(&checkpoint)).await.unwrap();
        let post = anchor.post().await;
        assert_eq!(post.body, checkpoint.data);
        post.answer(answer).await;
        let post = anchor.post().await;
        assert_eq!(post.body, checkpoint.data, "after {answer:?}");
        post.answer(OK).await;
        gateway.reaches("sent_total", round).await;
        assert!(gateway.figure("errors_total") >= round);
    }
    let redirected = elsewhere.0.into_std().unwrap().accept();
    assert!(redirected.is_err(), "a redirection was followed");
    gateway.end().await;
}

#[tokio::test]
async fn anchor_that_is_gone_gets_the_newest_checkpoint_of_each_chain_when_it_is_back() {
    let anchor = Anchor::start().await;
    let proxy = FaultProxy::start(anchor.addr()).await;
    proxy.set(Fault::Refuse).await;
    let gateway = Gateway::start(&format!("http://localhost:{}/", proxy.port()));
    let (mut one, mut two) = (chain(), chain());
    let last = checkpoint(&mut two, true);
    gateway.ship(std::slice::from_ref(&last)).await.unwrap();
    gateway.reaches("errors_total", 1).await;
    let own: Vec<_> = (0..3).map(|_| checkpoint(&mut one, false)).collect();
    gateway.ship(&own).await.unwrap();
    assert_eq!(gateway.figure("waiting"), 2);
    proxy.set(Fault::None).await;
    let mut got = Vec::new();
    for _ in 0..2 {
        let post = anchor.post().await;
        got.push(post.body.clone());
        post.answer(OK).await;
    }
    // Which of them failed last depends on the moment.
    assert!(got.iter().any(|body| *body == own[2].data) && got.iter().any(|body| *body == last.data));
    gateway.reaches("sent_total", 2).await;
    assert_eq!(
        (gateway.figure("waiting"), gateway.figure("dropped_total")),
        (0, 0)
    );
    gateway.end().await;
}

#[tokio::test]
async fn anchor_that_hangs_holds_up_nobody_and_gets_the_last_checkpoint_at_the_end() {
    let anchor = Anchor::start().await;
    let gateway = Gateway::start(&format!("http://{}/", anchor.addr()));
    let mut chain = chain();
    let (first, last) = (checkpoint(&mut chain, false), checkpoint(&mut chain, true));
    gateway.ship(std::slice::from_ref(&first)).await.unwrap();
    let hanging = anchor.post().await;
    assert_eq!(hanging.body, first.data);
    // The stream's answer is there while the anchor's is not.
    gateway.ship(std::slice::from_ref(&last)).await.unwrap();
    gateway.stop.cancel();
    let (post, ()) = tokio::join!(
        async {
            let post = anchor.post().await;
            let body = post.body.clone();
            post.answer(OK).await;
            body
        },
        gateway.end()
    );
    assert_eq!(post, last.data);
}

#[tokio::test]
async fn anchor_that_hangs_does_not_keep_the_process_from_ending() {
    let anchor = Anchor::start().await;
    let mut chain = chain();
    let last = checkpoint(&mut chain, true);
    // What ships ends, and what ships does not.
    for ships_on in [false, true] {
        let mut gateway = Gateway::start(&format!("http://{}/", anchor.addr()));
        gateway.ship(std::slice::from_ref(&last)).await.unwrap();
        let _hanging = anchor.post().await;
        gateway.stop.cancel();
        let shipping = gateway.sink.clone().filter(|_| ships_on);
        gateway.sink = None;
        gateway.end().await;
        drop(shipping);
    }
}

#[tokio::test]
async fn anchor_behind_tls_is_who_its_certificate_says_or_gets_nothing() {
    let (anchor, ca) = (Anchor::start().await, Ca::new());
    let tls = |ca: &Ca| ClientTls {
        authorities: Some(
            CertificateDer::pem_slice_iter(ca.pem().as_bytes())
                .collect::<Result<_, _>>()
                .unwrap(),
        ),
        identity: None,
    };
    let server = ca.server(&["anchor.example"]).server_config(&["http/1.1"]);
    let front = TlsFront::start(anchor.addr(), server).await;
    let at = |host: &str| format!("https://{host}:{}/", front.addr().port());
    let mut chain = chain();
    let checkpoint = checkpoint(&mut chain, true);
    for (host, authority) in [("anchor.example", &Ca::new()), ("localhost", &ca)] {
        let gateway = Gateway::trusting(&at(host), tls(authority));
        gateway.ship(std::slice::from_ref(&checkpoint)).await.unwrap();
        gateway.reaches("errors_total", 1).await;
        assert_eq!(gateway.figure("sent_total"), 0, "{host}");
    }
    let gateway = Gateway::trusting(&at("anchor.example"), tls(&ca));
    gateway.ship(std::slice::from_ref(&checkpoint)).await.unwrap();
    let post = anchor.post().await;
    assert_eq!(post.body, checkpoint.data);
    post.answer(OK).await;
    gateway.reaches("sent_total", 1).await;
    gateway.end().await;
}

#[tokio::test]
async fn anchor_in_plain_http_is_dialled_on_loopback_alone() {
    for url in ["http://192.0.2.1/", "http://[2001:db8::1]/"] {
        let gateway = Gateway::start(url);
        let mut chain = chain();
        gateway.ship(&[checkpoint(&mut chain, true)]).await.unwrap();
        gateway.reaches("errors_total", 1).await;
    }
}
