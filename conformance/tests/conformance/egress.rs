//! Gate 11: what the database calls an upstream is judged before anything is dialled, and nothing else is dialled.

use crate::report::{Refusal, Report, refusal};
use crate::world::{APP, NONE, World, ZONE, present_to};
use devstack::{Answer, Scope};
use redis::AsyncCommands as _;
use serde_json::Value;
use std::net::SocketAddr;
use testkit::clock::real_unix_seconds;
use testkit::mint::Mandate;
use testkit::postgres::Layout;
use testkit::wait::until;

pub(crate) const REFUSED: Refusal = refusal(502, "internal_error", "upstream not addressable");
/// What the STS says to a mandate that it did not sign: proof that every gate before it has let it pass.
const AT_THE_STS: Refusal = refusal(401, "invalid_token", "invalid subject_token");

/// A mandate that passes every gate but the STS.
fn probe(world: &World) -> String {
    Mandate::single_use(ZONE, real_unix_seconds()).sign(&world.rogue)
}

/// Binds each URL to a resource of its own, `resource://0` and so on, and waits until the gateway knows them.
pub(crate) async fn bind(world: &World, urls: &[String]) {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let mut sql = String::from("BEGIN;");
    for (number, url) in urls.iter().enumerate() {
        let resource = quoted(&format!("resource://{number}"));
        let (zone, app, url) = (quoted(ZONE), quoted(APP), quoted(url));
        sql += &format!(
            "INSERT INTO resources (id, zone_id, name, identifier, upstream_url, credential_provider_id) \
             VALUES (gen_random_uuid()::text, {zone}, {resource}, {resource}, {url}, 'provider-1'); \
             INSERT INTO gateway_resource_bindings (zone_id, resource_identifier, application_id) \
             VALUES ({zone}, {resource}, {app});"
        );
    }
    world.database.execute(&(sql + "COMMIT;")).await;
    let last = format!("resource://{}", urls.len() - 1);
    until("the bindings to be seen", async || {
        (world.present(&probe(world), &last, "/x").await.status() != 403).then_some(())
    })
    .await;
}

/// Asks a gateway for each resource of [`bind`].
pub(crate) async fn judge(
    report: &mut Report,
    world: &World,
    addr: SocketAddr,
    urls: &[String],
    expect: impl Fn(&str) -> Refusal,
) {
    for (number, url) in urls.iter().enumerate() {
        let response = present_to(addr, &probe(world), &format!("resource://{number}"), "/x").await;
        report.refused(url, &response, expect(url));
    }
}

fn vectors(name: &str) -> Vec<String> {
    let all: Value = testkit::vectors::load("addresses");
    let list = all[name].as_array().expect("a list").iter();
    list.map(|entry| entry.as_str().expect("a text").to_owned())
        .collect()
}

fn url_of(address: &str) -> String {
    if address.contains(':') && !address.starts_with('[') {
        format!("http://[{address}]:9/x")
    } else {
        format!("http://{address}:9/x")
    }
}

#[tokio::test]
async fn egress_to_what_is_never_an_upstream_is_refused_whatever_the_flags() {
    // Private upstreams are permitted here, and no list of hosts limits them.
    let anchor = 9443;
    let url = format!("https://localhost:{anchor}/");
    let world = World::builder().env("AUDIT_ANCHOR_URL", url).start().await;
    let mut report = Report::default();
    let mut urls: Vec<String> = vectors("never").iter().map(|address| url_of(address)).collect();
    assert!(urls.len() > 20);
    urls.extend(
        vectors("host_spellings_refused")
            .iter()
            .map(|host| format!("http://{host}/x")),
    );
    let tricks = [
        "ftp://8.8.8.8/",
        "file:///etc/passwd",
        "javascript:1",
        "8.8.8.8",
        "//8.8.8.8/",
        "http:8.8.8.8/",
        "http://",
        "http:///x",
        "http://:80/",
        " http://8.8.8.8/",
        "http://user@8.8.8.8/",
        "http://user:pw@8.8.8.8/",
        "http://8.8.8.8@169.254.169.254/",
        "http://8.8.8.8\\@169.254.169.254/",
        "http://8.8.8.8#@169.254.169.254/",
        "http://8.8.8.8/#fragment",
        "http://8.8.8.8:0/",
        "http://8.8.8.8:65536/",
        "http://8.8.8.8/a/../b",
        "http://8.8.8.8/a/%2e%2e/b",
        "http://8.8.8.8/a/%252e%252e/b",
        "http://8.8.8.8/..;/b",
        "http://8.8.8.8/a\\b",
        "http://8.8.8.8/a\nb",
        "http://8.8.8.8\t/",
        "http://metadata.google.internal/",
        "http://METADATA.google.internal./",
        "http://metadata/",
    ];
    urls.extend(tricks.map(str::to_owned));
    // The gateway's own listener and its neighbours, in every spelling.
    let database: u16 = {
        let url = world.database.gateway_url();
        let (_, rest) = url.split_once("@127.0.0.1:").expect("an address");
        rest.split('/')
            .next()
            .and_then(|port| port.parse().ok())
            .expect("a port")
    };
    let sts: SocketAddr = world.stack.sts_url()["http://".len()..]
        .parse()
        .expect("an address");
    for port in [world.addr().port(), world.redis.port(), database, sts.port()] {
        urls.push(format!("http://127.0.0.1:{port}/x"));
        urls.push(format!("http://localhost:{port}/x"));
        urls.push(format!("http://[::ffff:127.0.0.1]:{port}/x"));
    }
    urls.push(format!("https://localhost:{anchor}/x"));
    bind(&world, &urls).await;
    let before = world.stack.sts().counts().exchanges;
    judge(&mut report, &world, world.addr(), &urls, |_| REFUSED).await;
    report.equal("exchanges", world.stack.sts().counts().exchanges, before);
    let marks: Vec<String> = world.redis().await.keys("seen:jti:*").await.expect("keys");
    report.equal("spent mandates", marks, Vec::<String>::new());
    report.finish();
}

#[tokio::test]
async fn egress_to_private_addresses_needs_the_flag_and_public_ones_do_not() {
    let world = World::start().await;
    let strict = world.replica_with(&[("ALLOW_PRIVATE_UPSTREAMS", "")]).await;
    let listed = world
        .replica_with(&[("UPSTREAM_HOST_ALLOWLIST", "LocalHost, 8.8.8.8, 10.1.2.3")])
        .await;
    let mut report = Report::default();
    let private: Vec<String> = vectors("private").iter().map(|address| url_of(address)).collect();
    let public: Vec<String> = vectors("public").iter().map(|address| url_of(address)).collect();
    assert!(private.len() > 10 && public.len() > 4);
    let mut urls = [private.clone(), public].concat();
    urls.extend(["http://localhost:9/", "http://LOCALHOST:9/"].map(str::to_owned));
    bind(&world, &urls).await;
    let is_private =
        |url: &str| private.iter().any(|private| private == url) || url.to_lowercase().contains("localhost");
    judge(&mut report, &world, world.addr(), &urls, |_| AT_THE_STS).await;
    // Another process hears of the change by itself.
    for gateway in [&strict, &listed] {
        until("the bindings to be seen", async || {
            let last = format!("resource://{}", urls.len() - 1);
            (present_to(gateway.addr(), &probe(&world), &last, "/x")
                .await
                .status()
                != 403)
                .then_some(())
        })
        .await;
    }
    judge(&mut report, &world, strict.addr(), &urls, |url| {
        if is_private(url) { REFUSED } else { AT_THE_STS }
    })
    .await;
    let on_the_list = [
        "http://localhost:9/",
        "http://LOCALHOST:9/",
        "http://8.8.8.8:9/x",
        "http://10.1.2.3:9/x",
    ];
    let expect = |url: &str| {
        if on_the_list.contains(&url) {
            AT_THE_STS
        } else {
            REFUSED
        }
    };
    judge(&mut report, &world, listed.addr(), &urls, expect).await;
    // The ordinary upstream of this world is on loopback.
    let response = present_to(strict.addr(), &world.token(NONE), NONE, "/x").await;
    report.refused("an honest request to loopback", &response, REFUSED);
    report.equal("dispatched", world.dispatched(), 0);
    report.finish();
}

#[tokio::test]
async fn egress_redirect_of_the_upstream_is_not_followed() {
    let world = World::start().await;
    let mut report = Report::default();
    let upstream = world.stack.upstream_url().to_owned();
    for (to, expect) in [
        ("http://169.254.169.254/latest".to_owned(), None),
        ("//evil.example/x".to_owned(), None),
        (format!("{upstream}/here?a=1"), Some("/here?a=1")),
        ("/there".to_owned(), Some("/there")),
    ] {
        let before = world.dispatched();
        let response = world
            .get(
                NONE,
                &format!("/redirect?to={}", to.replace('?', "%3F").replace('=', "%3D")),
            )
            .await;
        report.status(&to, &response, 302);
        report.equal(&to, response.header("location"), expect);
        report.equal(format!("{to}: requests"), world.dispatched() - before, 1);
    }
    report.finish();
}

#[tokio::test]
async fn egress_mismatch_with_the_directive_is_refused_and_leaves_evidence() {
    let world = World::start().await;
    let mut report = Report::default();
    let directive = r#"{"url":"http://127.0.0.1:9/","auth_mode":"none"}"#.to_owned();
    world
        .stack
        .script()
        .set(Scope::Exchange, Answer::Directive(directive));
    let response = world
        .send("GET", NONE, "/x", &[("X-Request-Id", "mismatch-1")], b"")
        .await;
    report.refused("another origin", &response, REFUSED);
    let events = world.events_of("mismatch-1", 1).await;
    report.equal(
        "kind",
        events[0].kind(),
        ("gateway_resource_request", "upstream_rejected"),
    );
    report.equal(
        "error_kind",
        events[0].metadata("error_kind").as_str(),
        Some("upstream_mismatch"),
    );
    report.equal("dispatched", world.dispatched(), 0);
    report.finish();
}

#[tokio::test]
async fn egress_mismatch_with_an_outdated_binding_is_read_again_once() {
    // In this layout nobody announces a change made with SQL, so the gateway's copy is out of date.
    let world = World::builder().layout(Layout::June).start().await;
    let mut report = Report::default();
    let upstream = world.stack.upstream_url().to_owned();
    let stale =
        "UPDATE resources SET upstream_url = 'http://127.0.0.1:9/' WHERE identifier = 'resource://none'";
    world.database.execute(stale).await;
    let replica = world.replica().await;
    let fresh =
        format!("UPDATE resources SET upstream_url = '{upstream}' WHERE identifier = 'resource://none'");
    world.database.execute(&fresh).await;
    let response = present_to(replica.addr(), &world.token(NONE), NONE, "/x").await;
    report.status("read again", &response, 200);
    report.equal("dispatched", world.dispatched(), 1);
    report.finish();
}
