//! The upstream's answers.

use aws_lc_rs::digest;
use devstack::UpstreamCounts;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::{Answer, Fixed, SOON, hex, send};

async fn get(fixed: &Fixed, target: &str) -> Answer {
    send(fixed.stack.upstream_url(), "GET", target, &[], "")
        .await
        .unwrap()
}

/// Sends bytes on a connection of its own.
async fn raw(fixed: &Fixed, bytes: &str) -> TcpStream {
    let host = fixed.stack.upstream_url().strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(host).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    stream
}

/// Reads until the text ends as wanted, or the peer closes.
async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).ends_with(end) {
        if timeout(SOON, stream.read_buf(&mut read))
            .await
            .expect("nothing more in time")
            .unwrap_or(0)
            == 0
        {
            break;
        }
    }
    String::from_utf8(read).unwrap()
}

#[tokio::test]
async fn any_path_shows_the_request_byte_for_byte() {
    let fixed = Fixed::start().await;
    let request = "PUT /a%2Fb//%2e?x=%20&y=+#f HTTP/1.1\r\nHost: h\r\nX-Two: 1\r\nx-one:  b \r\nx-TWO: 2\r\n\
                   Content-Length: 5\r\nConnection: close\r\n\r\nhello";
    let mut stream = raw(&fixed, request).await;
    let answer = read_until(&mut stream, "}").await;
    let shown: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    let sum = hex(digest::digest(&digest::SHA256, b"hello").as_ref());
    let headers = json!([
        ["Host", "h"],
        ["X-Two", "1"],
        ["x-one", "b"],
        ["x-TWO", "2"],
        ["Content-Length", "5"],
        ["Connection", "close"],
    ]);
    let expect = json!({
        "method": "PUT", "target": "/a%2Fb//%2e?x=%20&y=+#f", "headers": headers,
        "body_len": 5, "body_sha256": sum, "body": "hello",
    });
    assert_eq!(shown, expect);
    let last = fixed.stack.upstream().last().unwrap();
    assert_eq!(
        (last.method().as_str(), last.target().as_str()),
        ("PUT", "/a%2Fb//%2e?x=%20&y=+#f")
    );
    assert_eq!(last.header("x-two"), ["1", "2"]);
    assert_eq!(last.body().unwrap().text.as_deref(), Some("hello"));
}

#[tokio::test]
async fn requests_on_one_connection_keep_their_own_heads() {
    let fixed = Fixed::start().await;
    let first = "POST /one HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
    let mut stream = raw(&fixed, &format!("{first}GET /two HTTP/1.1\r\nHost: h\r\n\r\n")).await;
    let both = read_until(&mut stream, "\"body\":\"\"}").await;
    assert!(
        both.contains(r#""target":"/one""#) && both.contains(r#""body":"hi""#),
        "{both}"
    );
    stream
        .write_all(b"GET /three HTTP/1.1\r\nHost: h\r\n\r\n")
        .await
        .unwrap();
    read_until(&mut stream, "\"body\":\"\"}").await;
    let targets: Vec<_> = fixed
        .stack
        .upstream()
        .recorded()
        .iter()
        .map(|r| r.target())
        .collect();
    assert_eq!(targets, ["/one", "/two", "/three"]);
}

#[tokio::test]
async fn a_large_body_is_summed_and_not_shown() {
    let fixed = Fixed::start().await;
    let body = "y".repeat(300_000);
    let answer = send(fixed.stack.upstream_url(), "POST", "/", &[], &body)
        .await
        .unwrap();
    let shown = answer.json();
    assert_eq!(shown["body_len"], json!(300_000));
    assert_eq!(
        shown["body_sha256"],
        json!(hex(digest::digest(&digest::SHA256, body.as_bytes()).as_ref()))
    );
    assert!(shown.get("body").is_none());
    let mirrored = send(fixed.stack.upstream_url(), "POST", "/mirror", &[], &body)
        .await
        .unwrap();
    assert_eq!(mirrored.body, body);
}

#[tokio::test]
async fn answers_have_the_asked_form() {
    let fixed = Fixed::start().await;
    let answer = get(&fixed, "/sse?n=3&ms=1").await;
    assert_eq!(answer.header("content-type"), "text/event-stream");
    assert_eq!(
        answer.body,
        "id: 0\ndata: event 0\n\nid: 1\ndata: event 1\n\nid: 2\ndata: event 2\n\n"
    );
    assert_eq!(get(&fixed, "/slow?ms=1").await.body, "slow");
    let answer = get(&fixed, "/chunked?n=3&size=5").await;
    assert_eq!(
        (answer.header("transfer-encoding"), answer.body.as_ref()),
        ("chunked", &[b'x'; 15][..])
    );
    for n in [0, 256, 16_384, 16_385, 100_000] {
        let answer = get(&fixed, &format!("/bytes?n={n}")).await;
        assert_eq!(
            (answer.header("content-length"), answer.body.len()),
            (n.to_string().as_str(), n)
        );
    }
    assert_eq!(get(&fixed, "/status/418").await.status, 418);
    assert_eq!(get(&fixed, "/status/101").await.status, 400);
    assert_eq!(get(&fixed, "/slow?ms=%zz").await.status, 400);
    let answer = get(&fixed, "/redirect?to=http%3A%2F%2Fother%2F").await;
    assert_eq!((answer.status, answer.header("location")), (302, "http://other/"));
    let answer = get(&fixed, "/headers?x-a=1&x-a=2&Set-Cookie=c%3D1").await;
    let values: Vec<_> = answer
        .headers
        .get_all("x-a")
        .iter()
        .map(|value| value.to_str().unwrap())
        .collect();
    assert_eq!((values, answer.header("set-cookie")), (vec!["1", "2"], "c=1"));
}

#[tokio::test]
async fn trailers_are_sent_to_whom_wants_them() {
    let fixed = Fixed::start().await;
    let url = fixed.stack.upstream_url();
    let answer = send(url, "GET", "/trailers", &[("te", "trailers")], "")
        .await
        .unwrap();
    assert_eq!(answer.body, "trailers follow");
    assert_eq!(answer.trailers.unwrap()["x-sum"], "15");
    assert!(get(&fixed, "/trailers").await.trailers.is_none());
}

#[tokio::test]
async fn an_early_answer_does_not_wait_for_the_body() {
    let fixed = Fixed::start().await;
    let mut stream = raw(
        &fixed,
        "POST /early HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n",
    )
    .await;
    assert!(read_until(&mut stream, "early").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_broken_off_answer_is_half_there() {
    let fixed = Fixed::start().await;
    let mut stream = raw(&fixed, "GET /close?n=100 HTTP/1.1\r\nHost: h\r\n\r\n").await;
    let answer = read_until(&mut stream, "never").await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-length: 100"), "{head}");
    assert_eq!(body, "x".repeat(50));
}

#[tokio::test]
async fn an_endless_answer_is_in_flight_until_the_peer_goes() {
    let fixed = Fixed::start().await;
    let upstream = fixed.stack.upstream();
    let hanging = raw(&fixed, "GET /hang HTTP/1.1\r\nHost: h\r\n\r\n").await;
    let mut streaming = raw(&fixed, "GET /sse?ms=1 HTTP/1.1\r\nHost: h\r\n\r\n").await;
    read_until(&mut streaming, "event 2\n\n\r\n").await;
    let both = upstream.wait_for(SOON, |counts| counts.in_flight == 2).await;
    assert_eq!(
        both,
        Some(UpstreamCounts {
            requests: 2,
            in_flight: 2
        })
    );
    drop((hanging, streaming));
    assert!(
        upstream
            .wait_for(SOON, |counts| counts.in_flight == 0)
            .await
            .is_some()
    );
}
