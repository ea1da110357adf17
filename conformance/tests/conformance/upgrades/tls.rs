//! WebSocket of callers and to upstreams that speak TLS.

use super::http2::{Client, data, websocket};
use super::*;
use crate::crossing::resource_at;
use crate::revocation::REVOKE;
use crate::transport::replica_over_tls;
use crate::world::ZONE;
use devstack::Target;
use testkit::gateway::Gateway;
use testkit::tls::{Ca, TlsFront, connect};

const NAME: &str = "gateway.example";

struct Scene {
    upstream: HandUpstream,
    world: World,
    /// A gateway of the same world that speaks TLS.
    secure: Gateway,
    ca: Ca,
    _front: TlsFront,
    _directory: tempfile::TempDir,
}

impl Scene {
    async fn start() -> Self {
        let ca = Ca::new();
        let directory = tempfile::tempdir().expect("a temporary directory");
        let files = ca.server(&[NAME]).write_to(directory.path());
        let authority = directory.path().join("authority.pem");
        std::fs::write(&authority, ca.pem()).expect("a written file");
        let upstream = HandUpstream::start().await;
        // One that would rather speak HTTP/2.
        let config = ca.server(&["localhost"]).server_config(&["h2", "http/1.1"]);
        let front = TlsFront::start(upstream.addr(), config).await;
        let place = Target::Url(format!("https://localhost:{}", front.addr().port()));
        let world = World::builder()
            .stack(|stack| stack.resources.push(resource_at(HAND, place)))
            .env("UPSTREAM_CA_FILE", authority.display().to_string())
            .start()
            .await;
        let secure = replica_over_tls(&world, &files, NAME, &ca).await;
        Self {
            upstream,
            world,
            secure,
            ca,
            _front: front,
            _directory: directory,
        }
    }

    /// A caller's connection by TLS and the upstream's, switched.
    async fn open(&mut self, minted: &Minted) -> Switched {
        let config = self.ca.client_config(&["http/1.1"]);
        let stream = connect(self.secure.addr(), NAME, config).await.expect("TLS");
        let mut caller = Connection::over(stream);
        let lines = format!("{UPGRADE}X-Request-Id: carried\r\n");
        let request = head_with(minted.token.expose(), "GET", HAND, "/chat?q=1", &lines);
        caller.send(request).await.expect("an open connection");
        let mut call = self.upstream.call().await;
        let asked = call.head().await;
        call.send(switch(KEY, "")).await;
        let head = caller.head().await;
        Switched {
            caller,
            call,
            head,
            asked,
        }
    }

    async fn revoke(&self, minted: &Minted) {
        let fields = [("session_id", minted.sid.as_str()), ("zone_id", ZONE)];
        self.world.publish(REVOKE, &fields).await;
    }
}

#[tokio::test]
async fn upgrade_over_tls_carries_bytes_and_ends_between_callers_and_upstreams_that_speak_it() {
    let mut scene = Scene::start().await;
    let mut report = Report::default();
    let minted = scene.world.mint(HAND);
    let open = scene.open(&minted).await;
    check_heads(&open, &mut report);
    report.equal(
        "scheme",
        values(&open.asked, "x-forwarded-proto").join("|"),
        "https",
    );
    // An end without its alert would be a reset.
    let seen = both_ways(open).await;
    report.equal(
        "both ways",
        seen,
        [(60_000, None), (80_004, Some(Ending::Closed))],
    );

    let minted = scene.world.mint(HAND);
    let mut open = scene.open(&minted).await;
    scene.revoke(&minted).await;
    let told = close_frame(1008, "session revoked");
    let (last, _) = rest(&mut open.caller).await;
    report.equal("revoked, the caller", last, told.clone());
    report.equal(
        "revoked, the upstream",
        unmasked(&open.call.until_end().await),
        Some(told),
    );

    // An upstream that breaks off takes the caller's connection along, without the alert that makes an end whole.
    let minted = scene.world.mint(HAND);
    let mut open = scene.open(&minted).await;
    open.call.send(&text_frame("half a", false)[..4]).await;
    report.equal("broken", open.exactly(4).await.len(), 4);
    open.call.reset();
    report.equal(
        "broken",
        rest(&mut open.caller).await,
        (Vec::new(), Ending::Reset),
    );

    over_http2(&mut scene, &mut report).await;
    report.finish();
}

/// The same from a stream of an HTTP/2 connection (RFC 8441).
async fn over_http2(scene: &mut Scene, report: &mut Report) {
    let config = scene.ca.client_config(&["h2"]);
    let stream = connect(scene.secure.addr(), NAME, config).await.expect("TLS");
    let mut client = Client::over(stream).await;
    let (answer, mut send, mut call) = websocket(&mut client, &scene.world, &mut scene.upstream).await;
    let (head, mut body) = answer.into_parts();
    report.equal("HTTP/2", head.status.as_u16(), 200);
    call.send(text_frame("down", false)).await;
    report.equal(
        "HTTP/2, down",
        data(&mut body).await,
        Some(text_frame("down", false).into()),
    );
    send.send_data(text_frame("up", true).into(), true)
        .expect("an open stream");
    report.equal("HTTP/2, up", call.until_end().await, text_frame("up", true));
    drop(call);
    report.equal("HTTP/2, the end", data(&mut body).await, None);
}
