//! What `Host` and the target must say, to a proxied resource and to the operator's endpoints (RFC 9112 §3.2).

use crate::report::Report;
use crate::wire::{ask, head};
use crate::world::{NONE, World};

#[tokio::test]
async fn target_needs_one_well_formed_host_that_fits() {
    let world = World::start().await;
    let mut report = Report::default();
    let dispatched = world.dispatched();
    let with = |host: &str| head(&world, "GET", NONE, "/", "").replacen("Host: gateway.example\r\n", host, 1);
    for (case, request) in [
        ("a port of letters", with("Host: gw:abc\r\n")),
        ("a port beyond 16 bits", with("Host: gw:99999\r\n")),
        ("a list", with("Host: a,b\r\n")),
        ("user information", with("Host: user@gw\r\n")),
        (
            "an absolute target without Host",
            with("").replacen("GET / ", "GET http://gateway.example/ ", 1),
        ),
    ] {
        report.status(case, &ask(world.addr(), request).await, 400);
    }
    report.equal("dispatched", world.dispatched(), dispatched);
    for host in ["gw", "gw:8081", "[::1]:8081", "under_score.example.", "127.0.0.1"] {
        let request = with(&format!("Host: {host}\r\n"));
        report.status(host, &ask(world.addr(), request).await, 200);
    }
    report.finish();
}

#[tokio::test]
async fn target_of_an_operators_endpoint_is_held_to_the_same() {
    let world = World::start().await;
    let mut report = Report::default();
    for path in ["/health", "/ready", "/metrics"] {
        for (case, line, hosts, status) in [
            ("one host", format!("GET {path} HTTP/1.1"), "Host: a\r\n", 200),
            (
                "two hosts",
                format!("GET {path} HTTP/1.1"),
                "Host: a\r\nHost: a\r\n",
                400,
            ),
            ("no host", format!("GET {path} HTTP/1.1"), "", 400),
            (
                "a port of letters",
                format!("GET {path} HTTP/1.1"),
                "Host: a:b\r\n",
                400,
            ),
            (
                "another host",
                format!("GET http://b{path} HTTP/1.1"),
                "Host: a\r\n",
                400,
            ),
            ("HTTP/1.0 without", format!("GET {path} HTTP/1.0"), "", 200),
        ] {
            let response = ask(world.addr(), format!("{line}\r\n{hosts}\r\n")).await;
            report.status(format!("{path}: {case}"), &response, status);
        }
    }
    report.finish();
}
