//! A call that fails says why in gRPC's own form: in a head alone where it is refused, in trailers where it had begun.

use crate::frames::{self, Frame, Frames};
use crate::hand::{HAND, HandUpstream};
use crate::report::{Found, Report};
use crate::transport::client::{Http2, fields};
use crate::wire::{ask, head_with};
use crate::world::{MANDATE, NONE, World, ZONE};
use devstack::{RawAnswer, Scope};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use serde_json::json;
use testkit::http::{Connection, Ending, Fields, Piece, Response};
use tokio::net::TcpStream;

const LINES: &str = "TE: trailers\r\nContent-Type: application/grpc+proto\r\n";
const BROKEN: &str = "upstream broke off its response";

/// How the head of an answer begins that is gRPC's, with a message behind it that is not over.
const BEGUN: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n\
                     4\r\npart\r\n";

async fn http2(world: &World) -> Http2 {
    let stream = TcpStream::connect(world.addr()).await.expect("a connection");
    Http2::over(Box::new(stream), &format!("http://{}", world.addr())).await
}

/// The same call over HTTP/2, with these further fields.
fn call(world: &World, further: &[(&str, &str)]) -> hyper::Request<Full<Bytes>> {
    let call = hyper::Request::post(format!("http://{}/pkg.Service/Method", world.addr()))
        .header("te", "trailers")
        .header("content-type", "application/grpc+proto");
    let call = further
        .iter()
        .fold(call, |call, (name, value)| call.header(*name, *value));
    call.body(Full::default()).expect("a request")
}

/// Whether this refuses a call with an HTTP status, gRPC's and a message, in a head alone.
fn refused(response: &Response, (status, code, message): (u16, &str, &str)) -> Found {
    let header = |name| response.header(name).unwrap_or_default();
    let got = (response.status(), header("grpc-status"), header("grpc-message"));
    if got != (status, code, message) {
        return Err(format!("{got:?}, expected {:?}", (status, code, message)));
    }
    let is_bare = response.body.is_empty() && response.trailers == Fields::default();
    let says = |name| response.header(name).is_some();
    let fixed = header("content-type") == "application/grpc"
        && header("cache-control") == "no-store"
        && !header("x-request-id").is_empty();
    let as_now = says("retry-after") == (status == 503) && says("www-authenticate") == (status == 401);
    match is_bare && fixed && as_now {
        true => Ok(()),
        false => Err(format!("{response:?}")),
    }
}

#[tokio::test]
async fn grpc_call_is_refused_in_a_head_alone_with_a_status_that_fits() {
    let mut upstream = HandUpstream::start().await;
    let world = World::builder().hand(&upstream).start().await;
    let mut client = http2(&world).await;
    let mut report = Report::default();
    let sts = |status: u16, description: &str| {
        let body = json!({ "error": "policy_eval_failed", "error_description": description });
        Some(RawAnswer::new(status, "application/json", body.to_string()))
    };
    for (case, resource, answer, expect) in [
        ("no bearer", None, None, (401, "16", "missing bearer token")),
        (
            "no resource",
            Some(""),
            None,
            (400, "3", "missing routing headers"),
        ),
        (
            "not bound",
            Some("resource://other"),
            None,
            (403, "7", "resource not configured"),
        ),
        (
            "by the STS",
            Some(MANDATE),
            sts(429, "100 % of \u{fc}"),
            (429, "8", "100 %25 of %C3%BC"),
        ),
        ("not there", Some(MANDATE), sts(404, "no"), (404, "12", "no")),
        (
            "unavailable",
            Some(MANDATE),
            sts(503, "later"),
            (503, "14", "later"),
        ),
        ("too late", Some(MANDATE), sts(504, "late"), (504, "4", "late")),
        (
            "in no words",
            Some(MANDATE),
            sts(403, ""),
            (403, "7", "policy_eval_failed"),
        ),
        (
            "by the upstream",
            Some(HAND),
            None,
            (502, "14", "upstream response invalid"),
        ),
    ] {
        match answer {
            Some(answer) => world.stack.script().set(Scope::Exchange, answer),
            None => world.stack.script().clear(&Scope::Exchange),
        }
        let token = || world.token(if resource == Some(HAND) { HAND } else { MANDATE });
        let over1 = match resource {
            None => format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n{LINES}\r\n"),
            Some(resource) => {
                let lines = format!("{LINES}Content-Length: 0\r\n");
                let request = head_with(&token(), "POST", resource, "/", &lines);
                request.replace("X-Caracal-Resource: \r\n", "")
            }
        };
        let bearer = format!("Bearer {}", token());
        let further: Vec<_> = match resource {
            None => vec![],
            Some("") => vec![("authorization", &*bearer)],
            Some(resource) => vec![("authorization", &*bearer), ("x-caracal-resource", resource)],
        };
        let over2 = call(&world, &further);
        let (over1, over2) = match resource {
            Some(HAND) => {
                let over1 = upstream.answer(world.addr(), over1, "nonsense\r\n\r\n").await;
                let play = async {
                    let mut call = upstream.call().await;
                    call.head().await;
                    call.send("nonsense\r\n\r\n").await;
                };
                (over1, tokio::join!(client.send(over2), play).0)
            }
            _ => (ask(world.addr(), over1).await, client.send(over2).await),
        };
        report.note(format!("{case}, HTTP/1.1"), refused(&over1, expect));
        report.note(format!("{case}, HTTP/2"), refused(&over2, expect));
    }
    let long = format!("{LINES}Content-Length: 10485761\r\n");
    let long = head_with(&world.token(NONE), "POST", NONE, "/", &long);
    let too_large = (413, "8", "request body too large");
    report.note("too large", refused(&ask(world.addr(), long).await, too_large));

    let mut client = Frames::open(world.addr()).await;
    let block = frames::request(
        "POST",
        "nonsense",
        NONE,
        "/",
        &[("content-type", "application/grpc")],
    );
    let ends = frames::END_STREAM | frames::END_HEADERS;
    client
        .send(&[Frame::new(frames::HEADERS, ends, 1, block)])
        .await
        .expect("an open connection");
    let answer = client.find(|frame| frame.stream == 1).await.expect("an answer");
    report.equal("one frame", (answer.kind, answer.flags), (frames::HEADERS, ends));
    report.finish();
}

/// What ends a call that has begun.
enum Cause {
    Upstream,
    Revocation,
    LongBody,
}

#[tokio::test]
async fn grpc_call_that_has_begun_ends_with_a_status_whatever_ends_it() {
    let mut upstream = HandUpstream::start().await;
    let world = World::builder()
        .hand(&upstream)
        .env("MAX_REQUEST_BYTES", "1000")
        .start()
        .await;
    let mut report = Report::default();
    let mut client = http2(&world).await;
    let of_json = BEGUN.replace("/grpc", "/json");
    let with_status = BEGUN.replace("\r\n\r\n", "\r\ngrpc-status: 0\r\n\r\n");
    for (case, cause, begun, expect) in [
        ("broken", Cause::Upstream, BEGUN, Some(("14", BROKEN))),
        (
            "revoked",
            Cause::Revocation,
            BEGUN,
            Some(("16", "session revoked")),
        ),
        (
            "too large",
            Cause::LongBody,
            BEGUN,
            Some(("8", "request body too large")),
        ),
        ("no gRPC, broken", Cause::Upstream, &of_json, None),
        ("no gRPC, revoked", Cause::Revocation, &of_json, None),
        ("with a status, broken", Cause::Upstream, &with_status, None),
        ("with a status, revoked", Cause::Revocation, &with_status, None),
    ] {
        let minted = world.mint(HAND);
        let token = minted.token.expose();
        let revocation = [("session_id", minted.sid.as_str()), ("zone_id", ZONE)];
        let mut over1 = Connection::open(world.addr()).await;
        let lines = format!("{LINES}Transfer-Encoding: chunked\r\n");
        let request = head_with(token, "POST", HAND, "/pkg.Service/Method", &lines);
        over1.send(request).await.expect("an open connection");
        let mut behind = upstream.call().await;
        behind.head().await;
        behind.send(begun).await;
        over1.head().await;
        report.equal(case, over1.piece().await, Piece::Data("part".into()));
        match cause {
            Cause::Upstream => drop(behind),
            Cause::Revocation => world.publish("caracal.sessions.revoke", &revocation).await,
            Cause::LongBody => {
                let long = format!("3e9\r\n{}\r\n", "x".repeat(1001));
                over1.send(long).await.expect("an open connection");
            }
        }
        let found = match (over1.piece().await, expect) {
            (Piece::End(Ending::Complete, trailers), Some(expect)) => ended(&trailers, expect),
            (Piece::End(Ending::Truncated | Ending::Reset, _), None) => Ok(()),
            (other, _) => Err(format!("{other:?}")),
        };
        report.note(format!("{case}, HTTP/1.1"), found);

        if matches!(cause, Cause::LongBody) {
            continue;
        }
        let minted = world.mint(HAND);
        let bearer = format!("Bearer {}", minted.token.expose());
        let request = call(
            &world,
            &[("authorization", &bearer), ("x-caracal-resource", HAND)],
        );
        let begin = async {
            let mut behind = upstream.call().await;
            behind.head().await;
            behind.send(begun).await;
            behind
        };
        let (response, behind) = tokio::join!(client.open(request), begin);
        let mut body = response.into_body();
        let part = body.frame().await.expect("a part").expect("a part");
        report.equal(case, part.into_data().ok(), Some(Bytes::from("part")));
        match cause {
            Cause::Upstream => drop(behind),
            _ => {
                let revocation = [("session_id", minted.sid.as_str()), ("zone_id", ZONE)];
                world.publish("caracal.sessions.revoke", &revocation).await;
            }
        }
        let found = match (body.collect().await, expect) {
            (Ok(rest), Some(expect)) => ended(&rest.trailers().map(fields).unwrap_or_default(), expect),
            (Err(_), None) => Ok(()),
            (other, _) => Err(format!("{other:?}")),
        };
        report.note(format!("{case}, HTTP/2"), found);
    }
    report.finish();
}

fn ended(trailers: &Fields, (code, message): (&str, &str)) -> Found {
    let got = (trailers.get("grpc-status"), trailers.get("grpc-message"));
    match got == (Some(code), Some(message)) {
        true => Ok(()),
        false => Err(format!("{got:?}")),
    }
}
