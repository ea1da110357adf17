//! Gateways that are replaced under load: each successor starts before its predecessor ends, and no request fails.

mod callers;

use crate::report::Report;
use crate::world::World;
use callers::{Callers, NAME};
use std::collections::HashMap;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::Arc;
use testkit::gateway::Launch;
use testkit::http::{self, Rest};
use testkit::tls::{Ca, Files};
use testkit::wait::{PATIENCE, until};

/// How the port is passed on.
enum Passing {
    /// Whoever starts the gateways keeps the socket; they speak TLS.
    Socket(TcpListener, Files),
    /// Each binds it beside the others; they speak plain HTTP.
    Port(u16),
}

impl Passing {
    /// A gateway that takes the port, about to be started. All share one directory of spools, as on one machine.
    fn launch(&self, world: &World, spool: &Path) -> Launch {
        let spool = spool.display().to_string();
        let launch = world.launch(&[
            ("AUDIT_REPLAY_DIR", &spool),
            ("DRAIN_DELAY", "2s"),
            ("LOG_LEVEL", "info"),
        ]);
        match self {
            Self::Socket(socket, files) => launch
                .env("INSECURE_HTTP", "false")
                .env("TLS_CERT_FILE", files.certificate.display().to_string())
                .env("TLS_KEY_FILE", files.key.display().to_string())
                .sockets(&[("public", socket.as_fd())]),
            Self::Port(port) => launch.env("REUSE_PORT", "on").env("PORT", port.to_string()),
        }
    }
}

async fn replace(
    restarts: usize,
    passing: &Passing,
    ca: Option<&Ca>,
    world: &Arc<World>,
    report: &mut Report,
) -> String {
    let spool = tempfile::tempdir().expect("a temporary directory");
    let mut gateway = passing.launch(world, spool.path()).start().await;
    let addr = gateway.addr();
    let passing = match passing {
        Passing::Socket(..) => passing,
        Passing::Port(_) => &Passing::Port(addr.port()),
    };
    let callers = Callers::start(world, addr, ca);
    callers.progress().await;
    for _ in 0..restarts {
        let successor = passing.launch(world, spool.path()).start().await;
        let mut predecessor = std::mem::replace(&mut gateway, successor);
        callers.progress().await;
        predecessor.terminate();
        report.equal("exit status", predecessor.wait().await.code(), Some(0));
        callers.progress().await;
    }
    let outcome = callers.stop().await;
    report.equal("failed requests", outcome.failures, Vec::<String>::new());
    gateway.terminate();
    report.equal("exit status", gateway.wait().await.code(), Some(0));
    // Each process delivered its part, and left nothing.
    let mut executed = HashMap::<String, usize>::new();
    for event in world.events().await {
        if event.text("evaluation_status") == "executed" {
            *executed.entry(event.text("request_id").to_owned()).or_default() += 1;
        }
    }
    let not_once = outcome.served.iter().filter(|id| executed.get(*id) != Some(&1));
    report.equal("without one event", not_once.count(), 0);
    let left = std::fs::read_dir(spool.path()).expect("the spool's directory");
    let left = left.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    report.equal("left", left.filter(|name| name.starts_with("spool-")).count(), 0);
    format!(
        "{restarts} restarts: {} requests over {} connections, none failed, {} streams were sent again; the slowest took {:?}",
        outcome.served.len(),
        outcome.connections,
        outcome.again,
        outcome.slowest
    )
}

async fn both_ways(restarts: usize) -> Vec<String> {
    let world = Arc::new(World::start().await);
    let mut report = Report::default();
    let (ca, directory) = (Ca::new(), tempfile::tempdir().expect("a temporary directory"));
    let files = ca.server(&[NAME]).write_to(directory.path());
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let mut told = Vec::new();
    for (passing, ca) in [
        (Passing::Socket(socket, files), Some(&ca)),
        (Passing::Port(0), None),
    ] {
        told.push(replace(restarts, &passing, ca, &world, &mut report).await);
    }
    report.finish();
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarts_under_load_fail_no_request_whoever_binds_the_port() {
    println!("{}", both_ways(3).await.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "scripts/restarts runs it: it takes minutes"]
async fn restarts_thirty_times_under_load() {
    println!("{}", both_ways(30).await.join("\n"));
}

/// What would fail with every client that pools connections: one that looks idle, and one without a request yet.
#[tokio::test]
async fn restarts_answer_requests_over_connections_that_look_idle() {
    let mut world = World::builder().env("DRAIN_DELAY", "5s").start().await;
    let mut report = Report::default();
    let health = "GET /health HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut kept = http::Connection::open(world.addr()).await;
    let first = kept.exchange(health).await;
    report.equal("it is kept", first.header("connection"), None);
    let old = "GET /health HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n";
    let mut older = http::Connection::open(world.addr()).await;
    let first = older.exchange(old).await;
    report.equal(
        "so is an older one",
        first.header("connection"),
        Some("keep-alive"),
    );
    let mut fresh = http::Connection::open(world.addr()).await;
    world.gateway.terminate();
    until("the listener to close", async || {
        let refused = tokio::net::TcpStream::connect(world.addr()).await.is_err();
        refused.then_some(())
    })
    .await;
    for (case, connection, request) in [
        ("kept", &mut kept, health),
        ("older", &mut older, old),
        ("fresh", &mut fresh, health),
    ] {
        let answer = connection.exchange(request).await;
        report.status(case, &answer, 200);
        report.equal(case, answer.header("connection"), Some("close"));
        report.equal(case, connection.rest(PATIENCE).await, Rest::Closed);
    }
    report.equal("exit status", world.gateway.wait().await.code(), Some(0));
    report.finish();
}
