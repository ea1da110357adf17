//! What crosses is what it would be without a gateway, byte for byte, minus the rewrites of `docs/compatibility.md`.

mod case;
mod http1;
mod http2;
mod message;
mod pairwise;
mod rewrites;

use crate::crossing::resource_at;
use crate::report::Report;
use crate::world::World;
use case::{Case, Protocol};
use devstack::{MintRequest, Target, Use};
use message::{Fields, Message};
use rewrites::{ANSWER, Crossing, REQUEST, Rewrite};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// Whom every request is addressed to.
const HOST: &str = "gateway.example";

/// What servers answer, and what they saw.
#[derive(Clone)]
struct Recorder {
    cases: Arc<Vec<Case>>,
    seen: Arc<Mutex<BTreeMap<usize, Vec<Message>>>>,
}

impl Recorder {
    /// The case with this number.
    fn case(&self, number: &[u8]) -> Option<&Case> {
        let number: usize = std::str::from_utf8(number).ok()?.parse().ok()?;
        self.cases.get(number)
    }

    fn saw(&self, number: usize, request: Message) {
        let mut seen = self.seen.lock().expect("the record");
        seen.entry(number).or_default().push(request);
    }

    fn take(&self) -> BTreeMap<usize, Vec<Message>> {
        std::mem::take(&mut *self.seen.lock().expect("the record"))
    }
}

/// A server that records. Ends when dropped.
struct Upstream {
    protocol: Protocol,
    addr: SocketAddr,
    recorder: Recorder,
    _tasks: JoinSet<()>,
}

impl Upstream {
    async fn start(protocol: Protocol, cases: &Arc<Vec<Case>>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a free port");
        let addr = listener.local_addr().expect("the address of a listener");
        let recorder = Recorder {
            cases: Arc::clone(cases),
            seen: Arc::default(),
        };
        let mut tasks = JoinSet::new();
        match protocol {
            Protocol::Http1 => tasks.spawn(http1::serve(listener, recorder.clone())),
            Protocol::Http2 => tasks.spawn(http2::serve(listener, recorder.clone())),
        };
        Self {
            protocol,
            addr,
            recorder,
            _tasks: tasks,
        }
    }

    /// Its host and port in its URL: the gateway knows by the name what it speaks.
    fn host(&self) -> String {
        match self.protocol {
            Protocol::Http1 => self.addr.to_string(),
            Protocol::Http2 => format!("localhost:{}", self.addr.port()),
        }
    }

    fn resource(&self) -> String {
        format!("resource://{:?}", self.protocol)
    }

    /// Sends every case to `addr` and tells what both sides saw of each.
    async fn walk(
        &self,
        client: Protocol,
        addr: SocketAddr,
        credentials: &Fields,
    ) -> Vec<Result<Seen, String>> {
        let mut client = match client {
            Protocol::Http1 => Client::Http1(http1::Client::new(addr, credentials.clone())),
            Protocol::Http2 => Client::Http2(http2::Client::open(addr, credentials.clone()).await),
        };
        let mut answers = Vec::new();
        for case in self.recorder.cases.iter() {
            answers.push(match &mut client {
                Client::Http1(client) => client.exchange(case).await,
                Client::Http2(client) => client.exchange(case).await,
            });
        }
        let mut requests = self.recorder.take();
        let seen = |(number, answer): (usize, Result<Message, String>)| {
            let answer = answer?;
            match requests.remove(&number).as_deref() {
                Some([request]) => Ok(Seen {
                    request: request.clone(),
                    answer,
                }),
                requests => Err(format!("not one request, but {requests:?} and {answer:?}")),
            }
        };
        answers.into_iter().enumerate().map(seen).collect()
    }
}

enum Client {
    Http1(http1::Client),
    Http2(http2::Client),
}

/// A case as the server and as the client saw it.
struct Seen {
    request: Message,
    answer: Message,
}

/// What came of every case: without a gateway, and through it from callers of both protocols.
struct Walked {
    direct: Vec<Result<Seen, String>>,
    from_http1: Vec<Result<Seen, String>>,
    from_http2: Vec<Result<Seen, String>>,
}

async fn walked(world: &World, upstream: &Upstream) -> Walked {
    let resource = upstream.resource();
    let request = MintRequest {
        mandate_use: Use::Session,
        ..world.stack.request_for(&resource)
    };
    let token = world.stack.mint(&request).expect("a mandate").token;
    let credentials = vec![
        (
            "Authorization".to_owned(),
            format!("Bearer {}", token.expose()).into_bytes(),
        ),
        ("X-Caracal-Resource".to_owned(), resource.into_bytes()),
    ];
    let gateway = world.addr();
    Walked {
        direct: upstream
            .walk(upstream.protocol, upstream.addr, &credentials)
            .await,
        from_http1: upstream.walk(Protocol::Http1, gateway, &credentials).await,
        from_http2: upstream.walk(Protocol::Http2, gateway, &credentials).await,
    }
}

#[tokio::test]
async fn fidelity_of_every_message_but_for_the_documented_rewrites() {
    let cases = Arc::new(case::all());
    let one = Upstream::start(Protocol::Http1, &cases).await;
    let two = Upstream::start(Protocol::Http2, &cases).await;
    let world = World::builder()
        .stack(|stack| {
            stack.accept_session_mandates = true;
            for upstream in [&one, &two] {
                let place = Target::Url(format!("http://{}", upstream.host()));
                stack.resources.push(resource_at(&upstream.resource(), place));
            }
        })
        .env("UPSTREAM_H2C_HOSTS", "localhost")
        .start()
        .await;
    let (of_one, of_two) = tokio::join!(Box::pin(walked(&world, &one)), Box::pin(walked(&world, &two)));
    let mut judge = Judge::default();
    for (upstream, walked, client, through, direct) in [
        (&one, &of_one, Protocol::Http1, &of_one.from_http1, &of_one.direct),
        (&one, &of_one, Protocol::Http2, &of_one.from_http2, &of_two.direct),
        (&two, &of_two, Protocol::Http1, &of_two.from_http1, &of_one.direct),
        (&two, &of_two, Protocol::Http2, &of_two.from_http2, &of_two.direct),
    ] {
        for (case, ((same_upstream, same_client), through)) in
            cases.iter().zip(walked.direct.iter().zip(direct).zip(through))
        {
            let crossing = Crossing {
                case,
                client,
                upstream: upstream.protocol,
                host: &upstream.host(),
            };
            judge.crossed(&crossing, same_upstream, same_client, through);
        }
    }
    judge.finish();
}

/// Compares, and remembers which rewrites there were.
#[derive(Default)]
struct Judge {
    report: Report,
    used: BTreeSet<(&'static str, &'static str)>,
}

impl Judge {
    /// The request must be what an upstream of this protocol sees directly, the answer what a client of this one does.
    fn crossed(
        &mut self,
        crossing: &Crossing<'_>,
        same_upstream: &Result<Seen, String>,
        same_client: &Result<Seen, String>,
        through: &Result<Seen, String>,
    ) {
        let name = format!(
            "{:?} to {:?}, {}",
            crossing.client, crossing.upstream, crossing.case
        );
        match (same_upstream, same_client, through) {
            (Ok(upstream), Ok(client), Ok(through)) => {
                self.compare(&name, crossing, REQUEST, &upstream.request, &through.request);
                self.compare(&name, crossing, ANSWER, &client.answer, &through.answer);
            }
            (Err(error), ..) | (_, Err(error), _) => {
                self.report.note(format!("directly: {name}"), Err(error.clone()));
            }
            (.., Err(error)) => self.report.note(name, Err(error.clone())),
        }
    }

    fn compare(
        &mut self,
        name: &str,
        crossing: &Crossing<'_>,
        (section, rewrites): (&'static str, &'static [Rewrite]),
        direct: &Message,
        through: &Message,
    ) {
        let mut expect = direct.clone();
        for rewrite in rewrites {
            let before = expect.clone();
            (rewrite.apply)(crossing, &mut expect);
            if expect != before {
                self.used.insert((section, rewrite.row));
            }
        }
        let mut got = through.clone();
        rewrites::settle(&expect, &mut got);
        let difference = got.sorted().difference(&expect.sorted());
        let found = match difference.is_empty() {
            true => Ok(()),
            false => Err(difference),
        };
        self.report.note(name, found);
    }

    /// Every rewrite must be a row of the page, and have happened.
    fn finish(mut self) {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/compatibility.md");
        let page = std::fs::read_to_string(page).expect("docs/compatibility.md");
        for (section, rewrites) in [REQUEST, ANSWER] {
            let rows = page.split(section).nth(1).unwrap_or_default();
            let rows = rows.split("\n## ").next().unwrap_or_default();
            for Rewrite { row, .. } in rewrites {
                self.report.holds(
                    format!("{section}: the page has {row}"),
                    rows.contains(&format!("\n| {row} | ")),
                );
                self.report.holds(
                    format!("{section}: some case needs {row}"),
                    self.used.contains(&(section, *row)),
                );
            }
        }
        self.report.finish();
    }
}
