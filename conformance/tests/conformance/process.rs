//! The process among others: a log that nobody reads, signals, an ordinary end, a start that fails.

use crate::report::{Report, refusal};
use crate::wire::head;
use crate::world::{NONE, World, ZONE, parse_metrics};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use testkit::gateway::{Gateway, Signal};
use testkit::http::{self, Connection};
use testkit::wait::until;

const BINDINGS_READ: &str = "caracal_gateway_binding_reloads_total";

/// Refused requests whose log lines are long, on one connection.
async fn flood(gateway: &Gateway, count: usize) {
    let method = "M".repeat(500);
    let request = format!("{method} /x HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut client = Connection::open(gateway.addr()).await;
    for _ in 0..count {
        assert_eq!(client.exchange(&request).await.status(), 401);
    }
}

#[tokio::test]
async fn process_whose_log_nobody_reads_serves_on_counts_and_ends_when_asked() {
    let world = World::start().await;
    let mut report = Report::default();
    let mut gateway = world.replica_with(&[]).await;
    gateway.stop_reading();
    // More than the pipe and the buffer behind it hold.
    until("lines to be dropped", async || {
        flood(&gateway, 500).await;
        let metrics = parse_metrics(&http::get(gateway.addr(), "/metrics", &[]).await.text());
        let dropped = metrics.get("caracal_gateway_log_lines_dropped_total").copied();
        dropped.filter(|lines| *lines > 0.0)
    })
    .await;
    gateway.terminate();
    report.equal("SIGTERM", gateway.wait().await.code(), Some(0));

    // A second signal ends it, whatever is still under way.
    let mut gateway = world.replica_with(&[("SHUTDOWN_GRACE", "600s")]).await;
    let mut client = Connection::open(gateway.addr()).await;
    client
        .send(head(&world, "GET", NONE, "/sse?ms=600000", ""))
        .await
        .expect("an open connection");
    client.head().await;
    gateway.stop_reading();
    flood(&gateway, 500).await;
    gateway.terminate();
    until("the listener to close", async || {
        tokio::net::TcpStream::connect(gateway.addr())
            .await
            .is_err()
            .then_some(())
    })
    .await;
    gateway.terminate();
    report.equal("a second SIGTERM", gateway.wait().await.code(), Some(0));
    report.finish();
}

#[tokio::test]
async fn process_that_ends_as_asked_complains_of_nothing() {
    let world = World::start().await;
    let mut report = Report::default();
    for round in 0..8 {
        let mut gateway = world.replica_with(&[]).await;
        let answer = crate::world::present_to(gateway.addr(), &world.token(NONE), NONE, "/").await;
        report.status(format!("round {round}"), &answer, 200);
        gateway.terminate();
        report.equal(format!("round {round}"), gateway.wait().await.code(), Some(0));
        let log = gateway.log();
        let end = log.iter().position(|line| line["msg"] == "draining");
        let loud: Vec<_> = log[end.expect("the end in the log")..]
            .iter()
            .filter(|line| !matches!(line["level"].as_str(), Some("trace" | "debug" | "info")))
            .collect();
        report.equal(format!("round {round}"), loud, Vec::<&Value>::new());
        report.equal(
            format!("round {round}"),
            log.last().map(|line| &line["msg"]),
            Some(&Value::from("stopped")),
        );
    }
    report.finish();
}

#[tokio::test]
async fn process_that_cannot_start_says_why_once() {
    let world = World::start().await;
    let mut report = Report::default();
    let taken = world.addr().port().to_string();
    for round in 0..3 {
        let finished = world.launch(&[("PORT", &taken)]).finish().await;
        report.equal("exit status", finished.code, Some(70));
        let (events, said): (Vec<_>, Vec<_>) = finished.stderr.iter().partition(|line| line.starts_with('{'));
        let naming = |line: &&&String| line.contains("cannot listen") && line.contains(&taken);
        report.equal(
            format!("round {round}: {said:?}"),
            said.iter().filter(naming).count(),
            1,
        );
        report.equal(format!("round {round}: {said:?}"), said.len(), 1);
        let errors: Vec<_> = events
            .iter()
            .filter(|line| line.contains(r#""level":"error""#))
            .collect();
        report.equal(format!("round {round}"), errors, Vec::<&&String>::new());
    }
    report.finish();
}

#[tokio::test]
async fn process_reloads_on_sighup_and_ignores_the_user_signals() {
    let mut world = World::start().await;
    let mut report = Report::default();
    let minted = world.mint(NONE);
    let edge = minted.delegation_edge_id.as_deref().expect("a delegation edge");
    world.database.set_edge(ZONE, edge, "revoked").await;
    let bindings_read = world.metric(BINDINGS_READ).await;
    for signal in [Signal::USR1, Signal::USR2, Signal::HUP] {
        world.gateway.signal(signal);
    }
    world
        .gateway
        .logged("the reload", |line| {
            line["msg"]
                .as_str()
                .is_some_and(|text| text.contains("reloaded") && line["level"] == "info")
        })
        .await;
    report.refused(
        "what only the database knew",
        &world.present(minted.token.expose(), NONE, "/").await,
        refusal(401, "invalid_token", "session revoked"),
    );
    until("the bindings to be read again", async || {
        (world.metric(BINDINGS_READ).await > bindings_read).then_some(())
    })
    .await;
    report.holds("it lives", world.gateway.ended().is_none());
    report.equal("and serves", world.get(NONE, "/").await.status(), 200);
    world.gateway.terminate();
    report.equal("until SIGTERM", world.gateway.wait().await.code(), Some(0));
    report.finish();
}

/// A library that lets a process live on a kernel without IPv6: `socket` fails where it is not compiled in, `bind` where
/// it is disabled.
fn without_ipv6(directory: &Path, disabled_at: &str) -> Option<String> {
    let (socket, bind) = match disabled_at {
        "socket" => ("EAFNOSUPPORT", "0"),
        _ => ("0", "EADDRNOTAVAIL"),
    };
    let source = format!(
        r#"
        #define _GNU_SOURCE
        #include <dlfcn.h>
        #include <errno.h>
        #include <sys/socket.h>
        int socket(int domain, int type, int protocol) {{
            int (*next)(int, int, int) = dlsym(RTLD_NEXT, "socket");
            if (domain == AF_INET6 && {socket}) {{ errno = {socket}; return -1; }}
            return next(domain, type, protocol);
        }}
        int bind(int fd, const struct sockaddr *address, socklen_t length) {{
            int (*next)(int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "bind");
            if (address->sa_family == AF_INET6 && {bind}) {{ errno = {bind}; return -1; }}
            return next(fd, address, length);
        }}
        "#
    );
    let (text, library) = (directory.join("ipv6.c"), directory.join("ipv6.so"));
    std::fs::write(&text, source).expect("a new file");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &text])
        .arg("-ldl")
        .status();
    built
        .is_ok_and(|status| status.success())
        .then(|| library.display().to_string())
}

#[tokio::test]
async fn process_on_a_kernel_without_ipv6_listens_on_ipv4_unless_told_an_address() {
    let world = World::start().await;
    let mut report = Report::default();
    for disabled_at in ["socket", "bind"] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let Some(library) = without_ipv6(directory.path(), disabled_at) else {
            println!("skipped: no C compiler to take IPv6 away with");
            return;
        };
        let changes = [("BIND_ADDR", ""), ("LD_PRELOAD", &library)];
        let gateway = world.launch(&changes).start().await;
        report.equal(disabled_at, gateway.addr().ip().to_string().as_str(), "0.0.0.0");
        let warned = gateway.log().into_iter().any(|line| {
            line["level"] == "warn" && line["msg"].as_str().is_some_and(|text| text.contains("IPv6"))
        });
        report.holds(format!("{disabled_at}: a warning"), warned);
        let port = gateway.addr().port();
        let health = http::get(([127, 0, 0, 1], port).into(), "/health", &[]).await;
        report.status(disabled_at, &health, 200);

        let changes = [("BIND_ADDR", "[::]"), ("LD_PRELOAD", &library)];
        let finished = world.launch(&changes).finish().await;
        report.equal(format!("{disabled_at}: told"), finished.code, Some(70));
    }
    report.finish();
}
