//! The corpus, message by message: refused, or one request.

use super::corpus::corpus;
use crate::report::{Found, Report};
use crate::world::{NONE, World};
use devstack::Recorded;
use std::collections::BTreeSet;
use testkit::http::{Connection, Piece, Rest};
use testkit::wait::PATIENCE;

/// The fields that a request needs.
pub(super) fn fields(token: &str, resource: &str) -> String {
    format!("Host: gateway.example\r\nAuthorization: Bearer {token}\r\nX-Caracal-Resource: {resource}\r\n")
}

/// Sends bytes, then perhaps says that there are no more, and gives the status of each answer until the other end hangs up.
pub(super) async fn send(client: &mut Connection, bytes: &[u8], is_all: bool) -> Vec<u16> {
    // It may hang up before it has read all.
    let _ = client.send(bytes).await;
    if is_all {
        client.finish().await;
    }
    let mut answers = Vec::new();
    while let Ok(head) = client.try_head().await {
        answers.push(head.status);
        while let Piece::Data(_) = client.piece().await {}
    }
    // An answer in HTTP/0.9 is a body alone.
    let mut rest = client.rest(PATIENCE).await;
    while let Rest::Bytes(_) = rest {
        rest = client.rest(PATIENCE).await;
    }
    assert!(
        matches!(rest, Rest::Closed | Rest::Reset),
        "{answers:?}, then {rest:?}"
    );
    answers
}

#[tokio::test]
async fn smuggling_corpus_is_refused_or_one_request_that_the_gateway_framed() {
    let corpus = corpus();
    let world = World::builder()
        .stack(|stack| {
            stack.accept_session_mandates = true;
            stack.recorded_requests = 2 * corpus.len();
        })
        .start()
        .await;
    let mandate = fields(&world.session_token(NONE), NONE);
    let mut report = Report::default();
    let mut served = BTreeSet::new();
    for (at, message) in corpus.iter().enumerate() {
        let path = format!("/outer-{at}");
        let bytes = message.bytes(&path, &mandate, &mandate);
        let answers = send(&mut Connection::open(world.addr()).await, &bytes, true).await;
        if answers.contains(&200) {
            served.insert(path);
        }
    }
    // What was broken off on the way is at an end too.
    let upstream = world.stack.upstream();
    report.status("afterwards", &world.get(NONE, "/outer-").await, 200);
    let ended = upstream.wait_for(PATIENCE, |counts| counts.in_flight == 0).await;
    report.holds("nothing is left at the upstream", ended.is_some());
    let (mut ids, mut paths) = (BTreeSet::new(), BTreeSet::new());
    for seen in upstream.recorded() {
        let (id, path) = (seen.header("x-request-id").concat(), seen.target());
        let number = path.trim_start_matches("/outer-").parse::<usize>().ok();
        let name = number
            .and_then(|at| corpus.get(at))
            .map_or(&*path, |message| &message.name);
        report.holds(format!("{name}: one id, {id}"), ids.insert(id));
        report.note(name, judge(&seen));
        report.holds(format!("{name}: one request"), paths.insert(path));
    }
    report.holds(format!("{} are good HTTP", served.len()), served.len() > 20);
    report.equal("served and never seen", served.difference(&paths).next(), None);
    report.finish();
}

/// One framing, and nothing of the inner request but as a body.
fn judge(seen: &Recorded) -> Found {
    let (lengths, codings) = (seen.header("content-length"), seen.header("transfer-encoding"));
    let framed = match (&lengths[..], &codings[..]) {
        ([], []) | ([_], []) => true,
        ([], [coding]) => coding == "chunked",
        _ => false,
    };
    let is_plain = |name: &str| {
        name.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-%".contains(&byte))
    };
    let headers = seen.headers();
    match seen.target().starts_with("/outer-") && framed && headers.iter().all(|(name, _)| is_plain(name)) {
        true => Ok(()),
        false => Err(format!("arrived as {:?}", seen.head())),
    }
}
