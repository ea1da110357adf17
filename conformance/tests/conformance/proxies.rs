//! Reverse proxies on both sides of the gateway: with the settings of `docs/proxies`, and with their defaults.

mod curl;

use crate::crossing::resource_at;
use crate::hand::{Call, HAND, HandUpstream, values};
use crate::report::Report;
use crate::world::World;
use devstack::{MintRequest, Target, Use};
use std::net::SocketAddr;
use std::path::Path;
use testkit::http::{Connection, Ending, Piece};
use testkit::program::Program;

/// More than any buffer of a proxy.
const LARGE: usize = 1_000_000;
/// What the files of `docs/proxies` stand for.
const LISTENS: &str = "127.0.0.1:8080";
const TARGET: &str = "127.0.0.1:8081";

/// What a proxy's settings make of what passes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Settings {
    /// Those of `docs/proxies`: nothing is different.
    Recommended,
    /// Nothing is different either.
    HarmlessDefaults,
    /// nginx: bodies are buffered, names with `_` dropped.
    NginxDefaults,
}

/// A way from a caller to the upstream.
struct Chain {
    name: &'static str,
    settings: Settings,
    entry: SocketAddr,
    resource: &'static str,
}

fn recommended(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docs/proxies")
        .join(file);
    std::fs::read_to_string(path).expect("a file of docs/proxies")
}

/// nginx with both settings in front of a target.
async fn nginx(target: SocketAddr) -> Program {
    Program::start("nginx", 2, |directory, listens| {
        let place = directory.display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {place}/{kind};\n"))
            .concat();
        let server = recommended("nginx.conf")
            .replace(LISTENS, &listens[0].to_string())
            .replace(TARGET, &target.to_string());
        let text = format!(
            "daemon off;\nmaster_process off;\npid {place}/pid;\nerror_log stderr warn;\nevents {{}}\nhttp {{\naccess_log \
             off;\n{temporary}{server}\nserver {{ listen {}; location / {{ proxy_pass http://{target}; }} }}\n}}\n",
            listens[1]
        );
        let file = directory.join("nginx.conf");
        std::fs::write(&file, text).expect("a file");
        ["-e", "stderr", "-c"].map(str::to_owned).into_iter().chain([file.display().to_string()]).collect()
    })
    .await
}

/// HAProxy with both settings in front of a target.
async fn haproxy(target: SocketAddr) -> Program {
    Program::start("haproxy", 2, |directory, listens| {
        let server = recommended("haproxy.cfg")
            .replace(LISTENS, &listens[0].to_string())
            .replace(TARGET, &target.to_string());
        // It warns where there is no time limit at all.
        let text = format!(
            "{server}\ndefaults\n  mode http\n  timeout connect 30s\n  timeout client 30s\n  timeout server 30s\n\
             listen plain\n  bind {}\n  server one {target}\n",
            listens[1]
        );
        let file = directory.join("haproxy.cfg");
        std::fs::write(&file, text).expect("a file");
        vec!["-db".into(), "-f".into(), file.display().to_string()]
    })
    .await
}

const BEHIND: [(&str, Settings, &str); 4] = [
    ("gateway, nginx", Settings::Recommended, "resource://nginx"),
    (
        "gateway, nginx with defaults",
        Settings::NginxDefaults,
        "resource://nginx-defaults",
    ),
    ("gateway, HAProxy", Settings::Recommended, "resource://haproxy"),
    (
        "gateway, HAProxy with defaults",
        Settings::HarmlessDefaults,
        "resource://haproxy-defaults",
    ),
];
const IN_FRONT: [(&str, Settings); 4] = [
    ("nginx, gateway", Settings::Recommended),
    ("nginx with defaults, gateway", Settings::NginxDefaults),
    ("HAProxy, gateway", Settings::Recommended),
    ("HAProxy with defaults, gateway", Settings::HarmlessDefaults),
];

struct Scene {
    world: World,
    upstream: HandUpstream,
    chains: Vec<Chain>,
    _proxies: [Program; 4],
}

impl Scene {
    async fn start() -> Self {
        let upstream = HandUpstream::start().await;
        let (nginx_behind, haproxy_behind) = tokio::join!(nginx(upstream.addr()), haproxy(upstream.addr()));
        let behind: Vec<SocketAddr> = [nginx_behind.addrs(), haproxy_behind.addrs()].concat();
        let world = World::builder()
            .hand(&upstream)
            .stack(|stack| {
                stack.accept_session_mandates = true;
                for ((.., resource), addr) in BEHIND.iter().zip(&behind) {
                    let place = Target::Url(format!("http://{addr}"));
                    stack.resources.push(resource_at(resource, place));
                }
            })
            .env("TRUSTED_PROXIES", "127.0.0.0/8")
            .start()
            .await;
        let (nginx_front, haproxy_front) = tokio::join!(nginx(world.addr()), haproxy(world.addr()));
        let front: Vec<SocketAddr> = [nginx_front.addrs(), haproxy_front.addrs()].concat();
        let alone = Chain {
            name: "gateway",
            settings: Settings::HarmlessDefaults,
            entry: world.addr(),
            resource: HAND,
        };
        let behind = BEHIND.iter().map(|(name, settings, resource)| Chain {
            name,
            settings: *settings,
            entry: world.addr(),
            resource,
        });
        let in_front = IN_FRONT.iter().zip(front).map(|((name, settings), entry)| Chain {
            name,
            settings: *settings,
            entry,
            resource: HAND,
        });
        let chains = [alone].into_iter().chain(behind).chain(in_front).collect();
        Self {
            chains,
            upstream,
            world,
            _proxies: [nginx_behind, haproxy_behind, nginx_front, haproxy_front],
        }
    }

    fn token(&self, resource: &str) -> String {
        let request = MintRequest {
            mandate_use: Use::Session,
            ..self.world.stack.request_for(resource)
        };
        let minted = self.world.stack.mint(&request).expect("a mandate");
        minted.token.expose().to_owned()
    }
}

#[tokio::test]
async fn proxies_on_both_sides_change_nothing_with_the_recommended_settings() {
    let mut scene = Scene::start().await;
    let mut report = Report::default();
    for chain in std::mem::take(&mut scene.chains) {
        let token = scene.token(chain.resource);
        let ask = Ask { chain: &chain, token };
        ask.streams(&mut scene.upstream, &mut report).await;
        ask.answers(&mut scene.upstream, &mut report).await;
        ask.large_bodies(&mut scene.upstream, &mut report).await;
    }
    report.finish();
}

struct Ask<'a> {
    chain: &'a Chain,
    token: String,
}

impl Ask<'_> {
    fn head(&self, method: &str, target: &str, lines: &str) -> String {
        crate::wire::head_with(&self.token, method, self.chain.resource, target, lines)
    }

    async fn open(&self) -> Connection {
        Connection::open(self.chain.entry).await
    }

    /// A request and its answer, both in pieces: each is there before the next is sent, unless the proxy buffers.
    async fn streams(&self, upstream: &mut HandUpstream, report: &mut Report) {
        let Chain { name, settings, .. } = *self.chain;
        let buffers = settings == Settings::NginxDefaults;
        let target = "//a/%2F/b;c?x=%20&&y=|";
        let lines = "Transfer-Encoding: chunked\r\nContent-Type: text/plain\r\nX-Empty:\r\nX-Twice: 1\r\nX-Twice: 2\r\n\
                     X_Under: 1\r\nX.Dot: 1\r\nExpect: 100-continue\r\n";
        let (first, rest) = ("5\r\nfirst\r\n", "4\r\nlast\r\n0\r\n\r\n");
        let mut client = self.open().await;
        client
            .send(self.head("POST", target, lines))
            .await
            .expect("an open connection");
        // HAProxy loses what comes behind an answer's head that it reads together with a 100.
        client.interim().await;
        client.send(first).await.expect("an open connection");
        if buffers {
            client.send(rest).await.expect("an open connection");
        }
        let mut call = upstream.call().await;
        let head = call.head().await;
        report.equal(name, head.split(' ').nth(1), Some(target));
        report.equal(name, values(&head, "x-twice"), ["1", "2"]);
        report.equal(name, values(&head, "x-empty"), [""]);
        let kept: &[&str] = if buffers { &[] } else { &["1"] };
        report.equal(format!("{name}: x_under"), values(&head, "x_under"), kept);
        report.equal(format!("{name}: x.dot"), values(&head, "x.dot"), kept);
        let body = match values(&head, "content-length").is_empty() {
            true => {
                let first = unchunked(&mut call, 5).await;
                if !buffers {
                    client.send(rest).await.expect("an open connection");
                }
                let last = unchunked(&mut call, 4).await;
                // A connection with unread bytes is closed by a reset.
                call.through(b"0\r\n\r\n").await;
                first + &last
            }
            false => text(call.exactly(9).await),
        };
        report.equal(format!("{name}: upload"), body, "firstlast");

        call.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
            .await;
        call.send("9\r\ndata: 1\n\n\r\n").await;
        let mut got = String::new();
        if !buffers {
            client.head().await;
            report.equal(
                format!("{name}: the first event"),
                client.piece().await,
                Piece::Data("data: 1\n\n".into()),
            );
        }
        call.send("9\r\ndata: 2\n\n\r\n0\r\n\r\n").await;
        drop(call);
        if buffers {
            client.head().await;
        }
        let ending = loop {
            match client.piece().await {
                Piece::Data(data) => got += &text(data),
                Piece::End(ending, _) => break ending,
            }
        };
        let expect = if buffers {
            "data: 1\n\ndata: 2\n\n"
        } else {
            "data: 2\n\n"
        };
        report.equal(format!("{name}: the events"), got, expect);
        report.holds(
            format!("{name}: {ending:?}"),
            matches!(ending, Ending::Complete | Ending::Closed),
        );
    }

    /// Answers of every kind of framing.
    async fn answers(&self, upstream: &mut HandUpstream, report: &mut Report) {
        let name = self.chain.name;
        for (method, status, lines, body) in [
            ("HEAD", 200, "Content-Length: 1234\r\nETag: \"e\"\r\n", ""),
            ("GET", 204, "ETag: \"e\"\r\n", ""),
            ("GET", 304, "ETag: \"e\"\r\n", ""),
            (
                "GET",
                206,
                "Content-Range: bytes 0-4/10\r\nContent-Length: 5\r\n",
                "parts",
            ),
            ("GET", 503, "Retry-After: 7\r\nContent-Length: 4\r\n", "busy"),
            (
                "DELETE",
                404,
                "Content-Length: 0\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n",
                "",
            ),
        ] {
            let request = self.head(method, "/x", "Connection: close\r\n");
            let answer = format!("HTTP/1.1 {status} Status\r\n{lines}Connection: close\r\n\r\n{body}");
            let response = upstream.answer(self.chain.entry, request, answer).await;
            let case = format!("{name}: {method} {status}");
            report.equal(
                &case,
                (response.status(), response.text().as_ref()),
                (status, body),
            );
            for line in lines.lines() {
                let (field, value) = line.split_once(": ").expect("a field");
                let got: Vec<_> = response.head.headers.all(field).collect();
                report.holds(format!("{case}: {field} {got:?}"), got.contains(&value));
            }
        }
    }

    /// A megabyte each way.
    async fn large_bodies(&self, upstream: &mut HandUpstream, report: &mut Report) {
        let name = self.chain.name;
        let body = "x".repeat(LARGE);
        let request = self.head(
            "PUT",
            "/x",
            &format!("Connection: close\r\nContent-Length: {LARGE}\r\n"),
        ) + &body;
        let play = async {
            let mut call = upstream.call().await;
            call.head().await;
            let got = call.exactly(LARGE).await;
            let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {LARGE}\r\n\r\n");
            call.send([head.as_bytes(), &got].concat()).await;
            got
        };
        let (got, response) = tokio::join!(play, crate::wire::ask(self.chain.entry, &request));
        report.holds(format!("{name}: a megabyte up"), got == body.as_bytes());
        report.holds(
            format!("{name}: a megabyte down"),
            response.body == body.as_bytes(),
        );
    }
}

/// As many bytes of a body that comes in chunks.
async fn unchunked(call: &mut Call, length: usize) -> String {
    let mut body = String::new();
    while body.len() < length {
        let size = text(call.through(b"\r\n").await);
        let size = usize::from_str_radix(size.trim(), 16).expect("the size of a chunk");
        body += &text(call.exactly(size).await);
        call.exactly(2).await;
    }
    body
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("text")
}
