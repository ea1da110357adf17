//! The upstream's answer as the caller sees it.

use super::request::resource_at;
use crate::hand::{HAND, HandUpstream};
use crate::report::{Report, refusal};
use crate::wire::head;
use crate::world::World;
use devstack::Target;
use testkit::http::{Connection, Ending, Response};

struct Scene {
    world: World,
    upstream: HandUpstream,
}

impl Scene {
    async fn start() -> Self {
        let upstream = HandUpstream::start().await;
        let place = Target::Url(format!("{}/base?fixed=1", upstream.url()));
        let world = World::builder()
            .stack(|stack| stack.resources.push(resource_at(HAND, place)))
            .start()
            .await;
        Self { world, upstream }
    }

    /// Lets the upstream answer one request with these bytes and hang up.
    async fn answer(&mut self, method: &str, lines: &str, answer: impl AsRef<[u8]>) -> Response {
        let request = head(&self.world, method, HAND, "/x", lines);
        self.upstream.answer(self.world.addr(), request, answer).await
    }

    async fn get(&mut self, answer: impl AsRef<[u8]>) -> Response {
        self.answer("GET", "", answer).await
    }
}

fn plain(lines: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n{lines}\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn crossing_answer_heads_are_cleaned_and_bodies_untouched() {
    let mut scene = Scene::start().await;
    let mut report = Report::default();

    let foul = "Connection: X-Foul\r\nX-Foul: foul\r\nKeep-Alive: foul\r\nProxy-Authenticate: Basic foul\r\n\
        Server: foul/1\r\nX-Powered-By: foul\r\nX-AspNet-Version: foul\r\nX-AspNetMvc-Version: foul\r\n\
        Refresh: 0;url=http://foul\r\nAlt-Svc: h2=\"foul:443\"\r\nX-Request-Id: foul\r\nX-Caracal-Revoked: foul\r\n\
        X_Caracal_Revoked: foul\r\nX-Caracal-Token-Expires-In: foul\r\nX-Caracal-Identity: foul\r\n";
    let clean = "X-Custom: one\r\nX-Custom: two\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Encoding: gzip\r\n\
        ETag: \"e\"\r\nMcp-Session-Id: s\r\nCache-Control: private\r\nWWW-Authenticate: Digest realm=\"up\"\r\n";
    let response = scene
        .answer(
            "GET",
            "X-Request-Id: request-8\r\n",
            plain(&format!("{foul}{clean}"), "\x1f\u{8b}not really gzip"),
        )
        .await;
    report.status("head", &response, 200);
    report.holds(
        format!("nothing foul in {:?}", response.head),
        !format!("{:?}", response.head).contains("foul"),
    );
    for (name, expect) in [
        ("x-custom", &["one", "two"][..]),
        ("set-cookie", &["a=1", "b=2"]),
        ("content-encoding", &["gzip"]),
        ("etag", &["\"e\""]),
        ("mcp-session-id", &["s"]),
        ("cache-control", &["private"]),
        ("www-authenticate", &["Digest realm=\"up\""]),
        ("x-request-id", &["request-8"]),
    ] {
        let got: Vec<_> = response.head.headers.all(name).collect();
        report.equal(name, got, expect);
    }
    report.equal("body", response.text(), "\x1f\u{8b}not really gzip");
    let left: Vec<_> = response.head.headers.all("x-caracal-token-expires-in").collect();
    report.holds(
        format!("seconds left {left:?}"),
        left.len() == 1
            && left[0]
                .parse::<u32>()
                .is_ok_and(|left| (600..=900).contains(&left)),
    );

    let own = scene.upstream.url();
    for (location, expect) in [
        (format!("{own}/base/next?p=1#f"), Some("/next?p=1#f")),
        (format!("{own}/base"), Some("/")),
        ("/relative".into(), Some("/relative")),
        ("next?a=1".into(), Some("next?a=1")),
        (format!("{own}/elsewhere"), None),
        (format!("{own}/base/../admin"), None),
        (format!("{own}/base//evil.example/"), None),
        ("http://169.254.169.254/latest/meta-data".into(), None),
        ("https://evil.example/base/x".into(), None),
        ("//evil.example/".into(), None),
        ("/\\evil.example".into(), None),
        ("javascript:alert(1)".into(), None),
    ] {
        let answer = format!(
            "HTTP/1.1 302 Found\r\nConnection: close\r\nContent-Length: 0\r\nLocation: {location}\r\n\
             Content-Location: {location}\r\n\r\n"
        );
        let response = scene.get(answer).await;
        report.status(&location, &response, 302);
        report.equal(&location, response.header("location"), expect);
        report.equal(&location, response.header("content-location"), expect);
        report.holds(format!("{location} is not followed"), scene.upstream.is_quiet());
    }
    report.finish();
}

#[tokio::test]
async fn crossing_answer_framing_is_decided_anew() {
    let mut scene = Scene::start().await;
    let mut report = Report::default();
    let unreachable = refusal(502, "internal_error", "upstream unreachable");
    let invalid = refusal(502, "internal_error", "upstream response invalid");

    // Statuses and methods without a body.
    for (case, method, answer, status, length) in [
        (
            "204",
            "GET",
            "204 No Content\r\nConnection: close\r\n\r\n",
            204,
            None,
        ),
        (
            "304",
            "GET",
            "304 Not Modified\r\nConnection: close\r\nETag: \"e\"\r\nContent-Length: 1234\r\n\r\n",
            304,
            Some("1234"),
        ),
        (
            "HEAD",
            "HEAD",
            "200 OK\r\nConnection: close\r\nContent-Length: 1234\r\n\r\n",
            200,
            Some("1234"),
        ),
    ] {
        let response = scene.answer(method, "", format!("HTTP/1.1 {answer}")).await;
        report.status(case, &response, status);
        report.equal(
            case,
            (&response.body[..], response.ending),
            (&b""[..], Ending::Complete),
        );
        report.equal(case, response.header("transfer-encoding"), None::<&str>);
        if length.is_some() {
            report.equal(case, response.header("content-length"), length);
        }
    }

    // Interim answers end here; a thousand of them do not hurt.
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n".repeat(1000);
    let interim = format!("HTTP/1.1 102 Processing\r\n\r\n{hints}{}", plain("", "final"));
    let response = scene.get(interim).await;
    report.equal("interim answers", response.text(), "final");
    report.holds(
        "102 is not passed on",
        response.interim.iter().all(|head| head.status == 103),
    );

    // A length and chunks together, and lengths that differ.
    let both = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n\
        5\r\nhello\r\n0\r\n\r\n";
    let response = scene.get(both).await;
    let framings = (
        response.header("content-length").is_some(),
        response.header("transfer-encoding").is_some(),
    );
    report.holds(
        format!("one framing: {framings:?} {:?}", response.text()),
        framings != (true, true) && (response.status() == 502 || response.text() == "hello"),
    );
    let answer = |line: &str| format!("HTTP/1.1 200 OK\r\n{line}Content-Length: 5\r\n\r\nhello");
    let fields = |count| (0..count).map(|n| format!("X-{n}: 1\r\n")).collect::<String>();
    let long = |bytes| format!("X-Long: {}\r\n", "a".repeat(bytes));
    for (case, answer, refused) in [
        ("two lengths", answer("Content-Length: 3\r\n"), invalid),
        ("a length that is none", answer("Content-Length: x\r\n"), invalid),
        (
            "a doubled coding",
            answer("Transfer-Encoding: chunked, chunked\r\n"),
            invalid,
        ),
        ("a folded header", answer("X-A: 1\r\n 2\r\n"), invalid),
        ("a blank before the colon", answer("X-A : 1\r\n"), invalid),
        ("too many fields", answer(&fields(300)), invalid),
        ("too long a head", answer(&long(80_000)), invalid),
        (
            "an unasked switch",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: foo\r\n\r\nhello".into(),
            invalid,
        ),
        (
            "another version",
            "HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n".into(),
            invalid,
        ),
        ("not HTTP", "hello\r\n\r\n".into(), invalid),
        ("half a head", "HTTP/1.1 200 OK\r\nContent-Le".into(), unreachable),
    ] {
        let response = scene.get(answer).await;
        report.refused(case, &response, refused);
    }
    // One with a safe method is perhaps sent once more.
    let response = scene.answer("POST", "Content-Length: 0\r\n", "").await;
    report.refused("nothing", &response, unreachable);
    for (case, lines) in [("many fields", fields(250)), ("a long head", long(60_000))] {
        let response = scene.get(answer(&lines)).await;
        report.equal(
            case,
            (response.status(), response.text().as_ref()),
            (200, "hello"),
        );
    }

    // Bodies that end with the connection, and bodies that break off.
    let response = scene.get("HTTP/1.0 200 OK\r\n\r\nuntil the end").await;
    report.equal("until close", response.text(), "until the end");
    report.holds("until close", response.ending != Ending::Truncated);
    for (case, answer) in [
        (
            "short of its length",
            "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
        ),
        (
            "without the last chunk",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        ),
        (
            "with a broken chunk",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
        ),
    ] {
        for lines in ["", "TE: trailers\r\n"] {
            let response = scene.answer("GET", lines, answer).await;
            report.holds(
                format!("{case} {lines:?}: {:?}", response.ending),
                matches!(response.ending, Ending::Truncated | Ending::Reset),
            );
        }
    }
    report.finish();
}

#[tokio::test]
async fn crossing_trailers_pass_when_asked_for_and_cannot_override() {
    let mut scene = Scene::start().await;
    let mut report = Report::default();
    let answer = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/grpc\r\n\
        Trailer: grpc-status, grpc-message, X-Sum, X-Caracal-Revoked, X-Request-Id, Content-Length, Set-Cookie\r\n\
        Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\ngrpc-status: 0\r\ngrpc-message: ok\r\nX-Sum: 4\r\n\
        X-Caracal-Revoked: true\r\nX-Request-Id: foul\r\nContent-Length: 1\r\nSet-Cookie: foul=1\r\n\r\n";
    let lines = "TE: trailers\r\nContent-Type: application/grpc\r\n";
    let response = scene
        .answer("POST", &format!("{lines}Content-Length: 0\r\n"), answer)
        .await;
    report.equal("body", response.text(), "body");
    for (name, expect) in [
        ("grpc-status", Some("0")),
        ("grpc-message", Some("ok")),
        ("x-sum", Some("4")),
        ("x-caracal-revoked", None),
        ("x-request-id", None),
        ("content-length", None),
        ("set-cookie", None),
    ] {
        report.equal(format!("trailer {name}"), response.trailers.get(name), expect);
    }
    let announced = response
        .header("trailer")
        .unwrap_or_default()
        .to_ascii_lowercase();
    report.holds(
        format!("announced {announced:?}"),
        announced.contains("x-caracal-revoked") && announced.contains("grpc-status"),
    );

    let response = scene.get(answer).await;
    report.equal("unasked: body", response.text(), "body");
    report.equal("unasked: whole", response.ending, Ending::Complete);
    report.equal("unasked: none", response.trailers.0.len(), 0);
    report.finish();
}

#[tokio::test]
async fn crossing_answer_keeps_the_length_of_a_304_and_the_bytes_of_a_reason() {
    let mut scene = Scene::start().await;
    let mut report = Report::default();
    let mut client = Connection::open(scene.world.addr()).await;
    for (line, behind, length, body) in [
        (
            "304 Not Modified",
            "Content-Length: 1234\r\n\r\n",
            Some("1234"),
            "",
        ),
        ("304 Nicht ver\u{e4}ndert", "ETag: \"e\"\r\n\r\n", None, ""),
        (
            "200 Gr\u{f6}\u{df}e",
            "Content-Length: 2\r\n\r\nok",
            Some("2"),
            "ok",
        ),
        ("200 In Ordnung", "Content-Length: 2\r\n\r\nok", Some("2"), "ok"),
        ("200 OK", "Content-Length: 2\r\n\r\nok", Some("2"), "ok"),
    ] {
        let request = head(&scene.world, "GET", HAND, "/x", "");
        client.send(request).await.expect("an open connection");
        let mut call = scene.upstream.call().await;
        call.head().await;
        call.send(format!("HTTP/1.1 {line}\r\nConnection: close\r\n{behind}"))
            .await;
        let response = client.response().await;
        report.equal(line, response.head.line.as_str(), format!("HTTP/1.1 {line}"));
        report.equal(line, response.header("content-length"), length);
        report.equal(line, response.text(), body);
        report.holds("a date is added", response.header("date").is_some());
    }
    report.finish();
}
