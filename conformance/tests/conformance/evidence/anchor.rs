//! Checkpoints at an anchor outside, which the test plays by hand behind TLS.

use super::command::run;
use super::proof::{FAULTY, cross, end, remove};
use crate::hand::{Call, HandUpstream, values};
use crate::report::Report;
use crate::world::{CHECKPOINT, Event, World};
use testkit::http;
use testkit::tls::{Ca, TlsFront};

/// In the path and in the query of the anchor's address.
const PLANTED: &str = "planted-anchor-token";

/// An anchor on localhost, and the files that the gateway needs.
struct Anchor {
    hand: HandUpstream,
    front: TlsFront,
    directory: tempfile::TempDir,
}

impl Anchor {
    async fn start() -> Self {
        let (hand, ca) = (HandUpstream::start().await, Ca::new());
        let server = ca.server(&["localhost"]).server_config(&["http/1.1"]);
        let front = TlsFront::start(hand.addr(), server).await;
        let directory = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(directory.path().join("ca.pem"), ca.pem()).expect("a written file");
        Self {
            hand,
            front,
            directory,
        }
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    async fn world(&self) -> World {
        let port = self.front.addr().port();
        World::builder()
            .stack(|stack| stack.accept_session_mandates = true)
            .env(
                "AUDIT_ANCHOR_URL",
                format!("https://localhost:{port}/{PLANTED}?token={PLANTED}"),
            )
            .env("AUDIT_ANCHOR_CA_FILE", self.path("ca.pem"))
            .env("LOG_LEVEL", "trace")
            .start()
            .await
    }

    /// The next checkpoint, which waits for an answer.
    async fn post(&mut self) -> (Call, String) {
        let mut call = self.hand.call().await;
        let head = call.head().await;
        let target = format!("POST /{PLANTED}?token={PLANTED} HTTP/1.1\r\n");
        assert!(head.starts_with(&target), "{head}");
        assert_eq!(values(&head, "content-type"), ["application/json"]);
        let length = values(&head, "content-length")[0].parse().expect("a length");
        let body = String::from_utf8(call.exactly(length).await).expect("JSON");
        (call, body)
    }

    /// Takes the next checkpoint.
    async fn take(&mut self) -> String {
        let (mut call, body) = self.post().await;
        call.send("HTTP/1.1 204 No Content\r\n\r\n").await;
        body
    }
}

fn checkpoints(events: &[Event]) -> Vec<&Event> {
    let is_checkpoint = |event: &&Event| event.text("event_type") == CHECKPOINT;
    events.iter().filter(is_checkpoint).collect()
}

#[tokio::test]
async fn evidence_at_an_anchor_that_hangs_delays_nothing_and_shows_what_was_cut_off() {
    let mut anchor = Anchor::start().await;
    let mut world = anchor.world().await;
    let mut report = Report::default();
    let spool = world.gateway.directory().join("spool").display().to_string();
    cross(&world, &world.gateway, &["killed"]).await;
    world.events_of("killed", 1).await;
    world.gateway.kill().await;

    // The last checkpoint of the killed process is its successor's first.
    let mut successor = world.replica_with(&[("AUDIT_REPLAY_DIR", &spool)]).await;
    let (hanging, first) = anchor.post().await;
    cross(&world, &successor, &["b-1", "b-2", "b-3"]).await;
    world.events_of("b-3", 1).await;
    let ready = http::get(successor.addr(), "/ready", &[]).await;
    report.status("while the anchor hangs", &ready, 200);
    drop(hanging);
    report.equal("the same again", anchor.take().await, first.clone());
    let ((), last) = tokio::join!(end(&mut successor), anchor.take());

    let events = world.all_events().await;
    let shipped: Vec<_> = checkpoints(&events)
        .iter()
        .map(|event| event.data.clone())
        .collect();
    report.equal(
        "the checkpoints of the stream",
        shipped,
        vec![first.clone(), last.clone()],
    );

    let anchors = anchor.path("anchors.jsonl");
    std::fs::write(&anchors, format!("{first}\n{last}\n")).expect("a written file");
    let verify = ["verify", "--anchors", &anchors];
    let proved = run(&world, &verify).await;
    report.equal(format!("{:?}", proved.stdout), proved.code, Some(0));
    report.holds(
        "both are there",
        proved
            .stdout
            .concat()
            .contains("2 checkpoints as the anchor has them"),
    );
    // The end of a chain.
    let (tail, rest): (Vec<_>, Vec<_>) = events.iter().partition(|event| event.data == last);
    remove(&world, &tail).await;
    report.equal(
        "without an anchor the chain is open",
        run(&world, &["verify"]).await.code,
        Some(0),
    );
    let cut = run(&world, &verify).await;
    report.equal("a cut end", cut.code, FAULTY);
    report.holds(
        format!("{:?}", cut.stdout),
        cut.stdout.concat().contains("event 4 is missing"),
    );
    // All of a chain.
    let chain = |event: &Event| event.metadata("chain_id").clone();
    let whole: Vec<_> = rest
        .into_iter()
        .filter(|event| chain(event) == chain(tail[0]))
        .collect();
    remove(&world, &whole).await;
    let gone = run(&world, &verify).await;
    report.equal("a whole chain", gone.code, FAULTY);
    report.holds(
        format!("{:?}", gone.stdout),
        gone.stdout.concat().contains("events 1 to 4 are missing"),
    );

    for (name, text) in [
        ("log", successor.stderr().concat()),
        ("log of the killed", world.gateway.stderr().concat()),
        ("events", events.iter().map(|event| event.data.as_str()).collect()),
        ("verdict", gone.stdout.concat() + &gone.stderr.concat()),
    ] {
        report.holds(format!("no secret in the {name}"), !text.contains(PLANTED));
    }
    report.finish();
}

#[tokio::test]
async fn evidence_for_an_anchor_that_is_away_is_counted_and_the_process_ends_cleanly() {
    let anchor = Anchor::start().await;
    let mut world = anchor.world().await;
    let mut report = Report::default();
    drop(anchor);
    cross(&world, &world.gateway, &["a-1"]).await;
    world.events_of("a-1", 1).await;
    end(&mut world.gateway).await;
    let log = world.gateway.stderr().concat();
    report.holds(
        "the log says so",
        log.contains("the last checkpoints did not reach the anchor"),
    );
    report.holds("without the secret", !log.contains(PLANTED));
    let shipped = world.all_events().await;
    report.equal("it is in the stream", checkpoints(&shipped).len(), 1);

    let url = format!("http://anchor.example/{PLANTED}?token={PLANTED}");
    let refused = world
        .failed_start(&[("AUDIT_ANCHOR_URL", &url), ("AUDIT_ANCHOR_CA_FILE", "")])
        .await;
    report.equal("plain http", refused.code, Some(78));
    let said = refused.stderr.concat();
    report.holds(
        &said,
        said.contains("AUDIT_ANCHOR_URL must use https") && !said.contains(PLANTED),
    );
    report.finish();
}
