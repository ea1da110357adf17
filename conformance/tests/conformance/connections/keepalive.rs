//! Connections whose other end may be gone: TCP keepalive, as the kernel tells it, and what a pool makes of silence.

use crate::crossing::resource_at;
use crate::hand::{HAND, HandUpstream};
use crate::report::{Report, refusal};
use crate::world::{NONE, World};
use devstack::Target;
use std::fs;
use std::time::Duration;
use testkit::http::Connection;
use testkit::proxy::{Fault, FaultProxy};
use testkit::wait::until;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// The gateway's end of a connection, by the port that is known of it.
#[derive(Clone, Copy)]
enum End {
    Accepted { at: u16 },
    Dialled { to: u16 },
}

/// How soon the kernel asks the other end of a silent connection, if it does; none where there is no such connection or
/// it is not silent (`/proc/net/tcp`, where a connection without keepalive has no timer).
fn asked_within(end: End) -> Option<Duration> {
    let table = fs::read_to_string("/proc/net/tcp").expect("the kernel's table");
    table.lines().skip(1).find_map(|line| {
        let columns: Vec<_> = line.split_whitespace().collect();
        let port = |column: &str| u16::from_str_radix(column.split(':').nth(1)?, 16).ok();
        let (local, remote) = (port(columns[1])?, port(columns[2])?);
        let is_it = match end {
            End::Accepted { at } => local == at,
            End::Dialled { to } => remote == to,
        };
        let (established, keepalive) = (columns[3] == "01", columns[5].strip_prefix("02:"));
        let ticks = u64::from_str_radix(keepalive.filter(|_| is_it && established)?, 16).ok()?;
        // A hundred ticks a second, whatever the kernel counts in.
        Some(Duration::from_millis(ticks * 10))
    })
}

#[tokio::test]
async fn connections_that_are_silent_are_asked_whether_the_other_end_is_there() {
    let world = World::start().await;
    let mut report = Report::default();
    let mut caller = Connection::open(world.addr()).await;
    let token = world.token(NONE);
    let response = caller
        .exchange(format!(
            "GET / HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\nX-Caracal-Resource: {NONE}\r\n\r\n",
            world.addr()
        ))
        .await;
    report.status("a request", &response, 200);
    let port = |url: &str| {
        url.rsplit(':')
            .next()
            .and_then(|port| port.parse().ok())
            .expect("a port")
    };
    for (name, end) in [
        (
            "caller",
            End::Accepted {
                at: world.addr().port(),
            },
        ),
        (
            "STS",
            End::Dialled {
                to: port(world.stack.sts_url()),
            },
        ),
        (
            "upstream",
            End::Dialled {
                to: port(world.stack.upstream_url()),
            },
        ),
    ] {
        let within = until(name, async || asked_within(end)).await;
        report.holds(format!("{name}: {within:?}"), within <= Duration::from_secs(30));
    }
    report.finish();
}

/// Its idle connections are not tried one after the other.
#[tokio::test]
async fn connections_to_an_upstream_that_vanished_cost_one_deadline_together() {
    let mut upstream = HandUpstream::start().await;
    let proxy = FaultProxy::start(upstream.addr()).await;
    let place = Target::Url(format!("http://{}", proxy.addr()));
    let world = World::builder()
        .stack(|stack| stack.resources.push(resource_at(HAND, place)))
        .env("UPSTREAM_TIMEOUT", "1s")
        .start()
        .await;
    let mut report = Report::default();
    let get = || world.get(HAND, "/");
    let answers = async {
        let mut calls = [
            upstream.call().await,
            upstream.call().await,
            upstream.call().await,
        ];
        for call in &mut calls {
            call.head().await;
        }
        for call in &mut calls {
            call.send(OK).await;
        }
        calls
    };
    let (one, two, three, _calls) = tokio::join!(get(), get(), get(), answers);
    for answer in [one, two, three] {
        report.status("before", &answer, 200);
    }
    proxy.set(Fault::Vanish).await;
    let late = refusal(504, "internal_error", "upstream timeout");
    report.refused("while it is found out", &get().await, late);
    let answer = async {
        let mut call = upstream.call().await;
        call.head().await;
        call.send(OK).await;
        call
    };
    let (after, _call) = tokio::join!(get(), answer);
    report.status("after", &after, 200);
    report.finish();
}
