//! One run of everything that may become of a request, with secrets planted in each. The audit service takes every event,
//! each once and each copy for the same, and no sink holds a secret.

mod crossings;
mod gates;
mod processes;

use crate::consumer::{Consumer, Message, Taken};
use crate::crossing::resource_at;
use crate::hand::{HAND, HandUpstream};
use crate::leaks::{Sinks, files_below, first_leak};
use crate::report::{Found, Report};
use crate::wire::{ask, head_with};
use crate::world::{Event, NONE, World, around_address};
use devstack::{Credential, Secret, StackConfig, Target};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use testkit::gateway::Gateway;
use testkit::http::{self, Connection, Response};
use testkit::proxy::FaultProxy;
use testkit::wait::until;

/// A resource whose binding has a user and a password in its URL.
const USER_INFO: &str = "resource://user-info";
/// What every request brings along.
const PLANTED: [(&str, &str); 9] = [
    ("path", "planted-path-01"),
    ("query", "planted-query-02"),
    ("cookie", "planted-cookie-03"),
    ("header", "planted-header-04"),
    ("body", "planted-body-05"),
    ("provider token", "planted-provider-06"),
    ("user info", "planted-user-info-07"),
    ("answer of the STS", "planted-sts-08"),
    ("answer of the upstream", "planted-answer-09"),
];
const TARGET: &str = "/planted-path-01?q=planted-query-02";
const LINES: &str = "Cookie: c=planted-cookie-03\r\nX-Header: planted-header-04\r\n";
const BODY: &str = "planted-body-05";
const METRICS_BEARER: &str = "planted-metrics-bearer-10";

/// `evaluation_status` and `error_kind`.
type Kind = (&'static str, Option<&'static str>);

const EXECUTED: Kind = ("executed", None);

/// The run so far.
struct Run {
    world: World,
    upstream: HandUpstream,
    /// Between the gateway and Redis.
    redis: FaultProxy,
    planted: Vec<(&'static str, String)>,
    sinks: Sinks,
    /// What the event of each request must say.
    expected: Vec<(String, Kind)>,
    report: Report,
}

impl Run {
    async fn start() -> Self {
        let upstream = HandUpstream::start().await;
        let place = upstream.url();
        let mut redis = None;
        let world = World::builder()
            .stack(|stack| plant(stack, &place))
            .env("METRICS_BEARER", METRICS_BEARER)
            .start_with(async |_, mut variables: BTreeMap<String, String>| {
                let (start, target, rest) = around_address(&variables["REDIS_URL"]);
                let between = FaultProxy::start(target).await;
                let url = format!("{start}{}{rest}", between.addr());
                variables.insert("REDIS_URL".into(), url);
                redis = Some(between);
                variables
            })
            .await;
        let mut planted = PLANTED.map(|(what, secret)| (what, secret.to_owned())).to_vec();
        planted.push(("metrics bearer", METRICS_BEARER.to_owned()));
        planted.extend(world.secrets());
        Self {
            world,
            upstream,
            redis: redis.expect("a proxy"),
            planted,
            sinks: Vec::new(),
            expected: Vec::new(),
            report: Report::default(),
        }
    }

    /// A request with every secret in it, and its token among them.
    fn request(&mut self, id: &str, resource: &str, token: &str) -> String {
        let lines = format!("Connection: close\r\nContent-Length: {}\r\n", BODY.len());
        self.head("POST", id, resource, token, TARGET, &lines) + BODY
    }

    /// A head with every secret in it, and its token among them.
    fn head(
        &mut self,
        method: &str,
        id: &str,
        resource: &str,
        token: &str,
        target: &str,
        lines: &str,
    ) -> String {
        self.planted.push(("mandate", token.to_owned()));
        let lines = format!("X-Request-Id: {id}\r\n{LINES}{lines}");
        head_with(token, method, resource, target, &lines)
    }

    /// This request has one event, and it says this.
    fn expect(&mut self, id: &str, kind: Kind) {
        self.expected.push((id.to_owned(), kind));
    }

    /// Sends a request that is served.
    async fn served(&mut self, id: &str, addr: SocketAddr, resource: &str, token: &str) {
        let request = self.request(id, resource, token);
        let response = ask(addr, request).await;
        self.report.status(id, &response, 200);
        self.expect(id, EXECUTED);
    }

    /// Sends a request that is refused. What it is told is a sink.
    async fn refused(&mut self, id: &str, addr: SocketAddr, resource: &str, token: &str, kind: Kind) -> u16 {
        let request = self.request(id, resource, token);
        let response = ask(addr, request).await;
        self.told(id, &response);
        self.expect(id, kind);
        response.status()
    }

    fn told(&mut self, id: &str, response: &Response) {
        self.report
            .holds(format!("{id} is refused"), response.status() >= 400);
        let text = format!("{:?}\n{}", response.head, response.text());
        self.sinks.push((format!("answer to {id}"), text));
    }
}

/// Takes what a gateway printed and left in its directory among the sinks, and what it shows while it runs.
async fn collect(sinks: &mut Sinks, name: &str, gateway: &Gateway, runs: bool) {
    let printed = [gateway.stdout(), gateway.stderr()].concat().join("\n");
    sinks.push((format!("output of {name}"), printed));
    files_below(gateway.directory(), sinks);
    let bearer = format!("Bearer {METRICS_BEARER}");
    for path in ["/metrics", "/metrics.json", "/ready", "/health"] {
        if runs {
            let response = http::get(gateway.addr(), path, &[("Authorization", &bearer)]).await;
            sinks.push((path.to_owned(), response.text()));
        }
    }
}

/// Opens a connection that ends with a reset, and sends a head with its secrets.
async fn open(
    run: &mut Run,
    addr: SocketAddr,
    (id, token): (&str, &str),
    (method, resource, target): (&str, &str, &str),
    lines: &str,
) -> Connection {
    let request = run.head(method, id, resource, token, target, lines);
    let mut client = Connection::open_abrupt(addr).await;
    client.send(request).await.expect("an open connection");
    client
}

/// Ends a gateway as an orchestrator does: its evidence is shipped.
async fn stop(mut gateway: Gateway) {
    gateway.terminate();
    gateway.wait().await;
}

/// Gives every resource a secret credential, and adds one that a test plays and one whose URL has a user in it.
fn plant(stack: &mut StackConfig, place: &str) {
    let secret = || Secret::new("planted-provider-06");
    stack.accept_session_mandates = true;
    for resource in &mut stack.resources {
        match &mut resource.credential {
            Credential::ProviderOauth { token, .. } => *token = secret(),
            Credential::ApiKeyHeader { key, .. } | Credential::ApiKeyQuery { key, .. } => *key = secret(),
            Credential::None | Credential::CaracalJwt => {}
        }
    }
    let mut hand = resource_at(HAND, Target::Url(place.to_owned()));
    hand.credential = Credential::ApiKeyQuery {
        parameter: "key".into(),
        key: secret(),
    };
    let url = place.replace("http://", "http://user:planted-user-info-07@");
    let user_info = resource_at(USER_INFO, Target::Url(url));
    stack.resources.extend([hand, user_info]);
}

#[tokio::test]
async fn mixed_run_of_every_failure_is_taken_by_the_audit_service_and_leaves_no_secret_anywhere() {
    let mut run = Run::start().await;
    gates::run(&mut run).await;
    crossings::run(&mut run).await;
    processes::run(&mut run).await;

    // A last request stands behind all others in every sink.
    let (addr, token) = (run.world.addr(), run.world.token(NONE));
    run.served("last", addr, NONE, &token).await;
    let is_last = |line: &serde_json::Value| line["request_id"] == "last";
    run.world
        .gateway
        .logged("the last request in the log", is_last)
        .await;
    let expected = std::mem::take(&mut run.expected);
    let events = until("every event", async || {
        let events = run.world.events().await;
        let has = |id: &String| events.iter().any(|event| event.text("request_id") == id);
        expected.iter().all(|(id, _)| has(id)).then_some(events)
    })
    .await;
    for (id, kind) in &expected {
        let found: Vec<_> = events
            .iter()
            .filter(|event| event.text("request_id") == id)
            .collect();
        let kinds: Vec<_> = found
            .iter()
            .map(|event| {
                (
                    event.text("evaluation_status"),
                    event.metadata("error_kind").as_str(),
                )
            })
            .collect();
        run.report.equal(id, kinds, [*kind]);
    }
    for event in &events {
        run.report.note(&event.data, shape(event));
    }
    taken_by_the_audit_service(&mut run).await;

    let streamed = events.iter().map(|event| event.data.as_str()).collect();
    run.sinks.push(("audit stream".into(), streamed));
    let Run {
        world,
        mut sinks,
        planted,
        mut report,
        ..
    } = run;
    collect(&mut sinks, "the first one", &world.gateway, true).await;
    report.equal("a leak", first_leak(&sinks, &planted), None);
    report.finish();
}

/// Every message of the stream is stored, or is a copy of one that was, and so is everything that is sent once more.
async fn taken_by_the_audit_service(run: &mut Run) {
    let entries = run.world.entries().await;
    let message = |entry: &redis::streams::StreamId| -> Message {
        let value = |name: &String| entry.get(name).expect("bytes");
        entry.map.keys().map(|name| (name.clone(), value(name))).collect()
    };
    let messages: Vec<Message> = entries.iter().map(message).collect();
    let consumer = Consumer::start(&run.world).await;
    let mut seen: HashMap<&[u8], &[u8]> = HashMap::new();
    let mut copies = 0;
    for message in &messages {
        let (id, data) = (&message["id"][..], &message["data"][..]);
        let text = String::from_utf8_lossy(data);
        let before = seen.insert(id, data);
        let expect = if before.is_some() {
            Taken::Again
        } else {
            Taken::Stored
        };
        run.report.equal(text, consumer.take(message).await, Ok(expect));
        run.report.holds(
            "copies are the same, byte for byte",
            before.is_none_or(|before| before == data),
        );
        copies += usize::from(before.is_some());
    }
    run.report.holds("there were copies", copies > 0);
    for message in &messages {
        let text = String::from_utf8_lossy(&message["data"]);
        run.report
            .equal(text, consumer.take(message).await, Ok(Taken::Again));
    }
    run.report.equal(
        "ids with two rows",
        consumer.twofold().await,
        Vec::<String>::new(),
    );
}

/// Whether an event has the members of its kind and no others.
fn shape(event: &Event) -> Found {
    let mut metadata = event.json["metadata_json"]
        .as_object()
        .ok_or("no metadata")?
        .clone();
    for name in ["chain_id", "chain_prev", "chain_seq"] {
        metadata.remove(name).ok_or_else(|| format!("no {name}"))?;
    }
    // Of the first one of each process.
    metadata.remove("chain_key");
    let metadata = &metadata;
    let known = |names: &[&str]| match metadata.keys().find(|name| !names.contains(&name.as_str())) {
        Some(name) => Err(format!("{name} is not known")),
        None => Ok(()),
    };
    let has = |names: &[&str]| match names.iter().find(|name| !metadata.contains_key(**name)) {
        Some(name) => Err(format!("no {name}")),
        None => Ok(()),
    };
    let (kind, status) = event.kind();
    let denied = [
        "denied",
        "upstream_rejected",
        "build_failed",
        "anomaly",
        "not_dispatched",
    ]
    .contains(&status);
    let crossed = ["executed", "upstream_error", "interrupted"].contains(&status);
    let decision = event.text("decision");
    if !(denied && decision == "deny" || crossed && decision == "allow") {
        return Err(format!("{decision} for {status}"));
    }
    if metadata.contains_key("suppressed") {
        let names = ["error_kind", "suppressed"];
        return known(&names).and(has(&names));
    }
    match kind {
        "replay_detected" => {
            let names = ["client_id", "jti", "request_id", "resource", "subject_fp"];
            known(&names).and(has(&names))
        }
        "gateway_resource_request" => {
            let always = ["application_id", "method", "resource", "subject_fingerprint"];
            // Of a process that was killed nobody knows them.
            let ended = ["gateway_status", "latency_ms", "response_bytes"];
            let sometimes = [
                "agent_session_id",
                "attempts",
                "auth_mode",
                "connection_id",
                "error_kind",
                "path_fingerprint",
                "provider_id",
                "request_bytes",
                "result_class",
                "revocation_interrupted",
                "session_id",
                "subject_kind",
                "trace_id",
                "upstream_host",
                "upstream_status",
            ];
            let killed =
                ["interrupted", "not_dispatched"].contains(&status) && !metadata.contains_key("error_kind");
            known(&[&always[..], &ended, &sometimes].concat())?;
            has(&always)?;
            if killed { Ok(()) } else { has(&ended) }
        }
        other => Err(format!("{other} is not known")),
    }
}
