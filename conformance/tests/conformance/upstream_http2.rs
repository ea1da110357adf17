//! Upstreams that speak HTTP/2 alone: over TLS because they choose it, without TLS because the configuration says so.

mod client;
mod server;

use crate::crossing::resource_at;
use crate::report::Report;
use crate::revocation::REVOKE;
use crate::world::{World, ZONE, present_to};
use bytes::Bytes;
use client::{Caller, piece, trailers};
use devstack::Target;
use http::{HeaderMap, HeaderValue};
use server::Http2Upstream;
use testkit::tls::{Ca, TlsFront};
use tokio::task::JoinSet;

const CLEAR: &str = "resource://clear";
const SECURE: &str = "resource://secure";

struct Scene {
    world: World,
    upstream: Http2Upstream,
    front: TlsFront,
}

impl Scene {
    async fn start() -> Self {
        let (upstream, ca) = (Http2Upstream::start().await, Ca::new());
        let front = TlsFront::start(upstream.addr, ca.server(&["localhost"]).server_config(&["h2"])).await;
        let authorities = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(authorities.path(), ca.pem()).expect("a file that can be written");
        let clear = Target::Url(format!("http://localhost:{}/base", upstream.addr.port()));
        let secure = Target::Url(format!("https://localhost:{}/base", front.addr().port()));
        let world = World::builder()
            .stack(|stack| {
                stack.resources.push(resource_at(CLEAR, clear));
                stack.resources.push(resource_at(SECURE, secure));
            })
            .env("UPSTREAM_H2C_HOSTS", "LocalHost")
            .env("SSL_CERT_FILE", authorities.path().display().to_string())
            .start()
            .await;
        Self {
            world,
            upstream,
            front,
        }
    }
}

#[tokio::test]
async fn upstream_http2_streams_both_ways_shares_connections_and_one_revocation_ends_one_stream() {
    let mut scene = Scene::start().await;
    let mut report = Report::default();
    let caller = Caller::open(scene.world.addr()).await;

    for (resource, scheme, port) in [
        (CLEAR, "http", scene.upstream.addr.port()),
        (SECURE, "https", scene.front.addr().port()),
    ] {
        // What the upstream sees of a caller that speaks HTTP/1.1.
        let response = scene.world.get(resource, "/echo/a%2Fb?c=1").await;
        report.status(resource, &response, 200);
        let seen = format!("{scheme} localhost:{port} /base/echo/a%2Fb?c=1");
        report.equal(resource, response.header("x-seen"), Some(seen.as_str()));
        let names = response.header("x-names").unwrap_or_default().to_owned();
        report.holds(
            format!("{resource}: {names}"),
            ["host", "connection", "te", "authorization"]
                .iter()
                .all(|name| !names.split(',').any(|sent| sent == *name)),
        );

        // A bidirectional stream: each piece is back before the next is sent.
        let token = scene.world.token(resource);
        let (response, mut upload) = {
            let exchange = caller.begin("/echo", &token, resource, true).await;
            exchange.head().await
        };
        report.equal(resource, response.status().as_u16(), 200);
        let mut body = response.into_body();
        for number in 0..3 {
            let sent = Bytes::from(format!("piece {number}"));
            upload.send_data(sent.clone(), false).expect("an open stream");
            let back = piece(&mut body).await.map(|piece| piece.expect("a piece"));
            report.equal(resource, back, Some(sent));
        }
        let sum = HeaderMap::from_iter([("x-sum".parse().expect("a name"), HeaderValue::from_static("3"))]);
        upload.send_trailers(sum).expect("an open stream");
        report.holds(format!("{resource}: the end"), piece(&mut body).await.is_none());
        let ended = trailers(&mut body).await;
        report.equal(
            resource,
            (ended.get("grpc-status"), ended.get("x-sum")),
            (
                Some(&HeaderValue::from_static("0")),
                Some(&HeaderValue::from_static("3")),
            ),
        );
        // A large body passes in pieces as windows allow: both sides at once.
        let large = Bytes::from(vec![b'x'; 700_000]);
        let response = scene.world.send("POST", resource, "/echo", &[], &large).await;
        report.equal(format!("{resource}: large"), response.body.len(), large.len());
    }

    // A body of a known length is whole with its last byte, for a caller that asks for nothing beyond it.
    let named = [("X-Request-Id", "apart")];
    let response = scene.world.send("GET", CLEAR, "/apart", &named, &[]).await;
    report.equal("apart", response.body.as_slice(), b"whole".as_slice());
    let line = scene
        .world
        .gateway
        .logged("the line of apart", |line| line["request_id"] == "apart")
        .await;
    report.equal("apart", line["outcome"].as_str(), Some("allowed"));

    // Requests at once share what is there.
    let before = scene.upstream.connections();
    let mut at_once = JoinSet::new();
    for token in (0..60).map(|_| scene.world.token(CLEAR)) {
        let addr = scene.world.addr();
        at_once.spawn(async move { present_to(addr, &token, CLEAR, "/echo").await });
    }
    for response in at_once.join_all().await {
        report.status("60 at once", &response, 200);
    }
    report.equal("connections for 60 at once", scene.upstream.connections(), before);

    // A revocation resets its own stream, upstream too, and leaves the other.
    let (cut, stays) = (scene.world.mint(CLEAR), scene.world.mint(CLEAR));
    let mut bodies = Vec::new();
    for (path, minted) in [("/hold/cut", &cut), ("/hold/stays", &stays)] {
        let exchange = caller.begin(path, minted.token.expose(), CLEAR, true).await;
        let (response, upload) = exchange.head().await;
        let mut body = response.into_body();
        let first = piece(&mut body).await.map(|piece| piece.expect("a piece"));
        report.equal(path, first, Some(Bytes::from_static(b"first")));
        bodies.push((body, upload));
    }
    let fields = [("session_id", cut.sid.as_str()), ("zone_id", ZONE)];
    scene.world.publish(REVOKE, &fields).await;
    report.holds("cut", piece(&mut bodies[0].0).await.is_none());
    let ended = trailers(&mut bodies[0].0).await;
    report.equal(
        "cut",
        ended.get("grpc-status"),
        Some(&HeaderValue::from_static("16")),
    );
    let reset = scene.upstream.reset().await;
    report.equal("cut", reset, ("/base/hold/cut".to_owned(), h2::Reason::CANCEL));
    report.holds("stays", scene.upstream.is_quiet());

    // A caller that leaves takes its own stream along.
    drop(bodies);
    let reset = scene.upstream.reset().await;
    report.equal("left", reset, ("/base/hold/stays".to_owned(), h2::Reason::CANCEL));
    let response = scene.world.get(CLEAR, "/echo").await;
    report.status("after all", &response, 200);
    report.equal("connections after all", scene.upstream.connections(), before);
    report.finish();
}
