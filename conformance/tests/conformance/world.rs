//! A gateway in its world: STS and upstream in this process, PostgreSQL database and Redis server of its own.

mod builder;
mod evidence;
mod signing;
mod wiretap;

pub(crate) use builder::Builder;
pub(crate) use evidence::{CHECKPOINT, Event};
pub(crate) use signing::{hmac_sha256_hex, stream_signature};
pub(crate) use wiretap::{Seen, Wiretap};

use builder::Recipe;
use devstack::{Devstack, MintRequest, Minted, Use};
use redis::aio::MultiplexedConnection;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use testkit::gateway::{Finished, Gateway, Launch};
use testkit::http::{self, Response};
use testkit::mint::Key;
use testkit::postgres::Database;
use testkit::redis::PrivateRedis;

/// The zone of the standard stack.
pub(crate) const ZONE: &str = "zone-dev";
/// Its application.
pub(crate) const APP: &str = "app-dev";
/// Its resource whose upstream gets no credential.
pub(crate) const NONE: &str = "resource://none";
/// Its resource whose upstream gets the resource mandate.
pub(crate) const MANDATE: &str = "resource://mandate";

/// A running gateway and everything it talks to.
pub(crate) struct World {
    /// The gateway under test.
    pub(crate) gateway: Gateway,
    /// The STS and the echo upstream.
    pub(crate) stack: Devstack,
    /// The database with the bindings.
    pub(crate) database: Database,
    /// The Redis server.
    pub(crate) redis: PrivateRedis,
    /// A second signing key of the zone, for mandates that no STS would make: the key set that the gateway fetches
    /// holds it, the STS itself does not know it.
    pub(crate) rogue: Key,
    recipe: Recipe,
}

impl World {
    /// A world to be changed before it starts.
    pub(crate) fn builder() -> Builder {
        Builder::default()
    }

    /// The ordinary world: development mode, a database with a binding table, every standard resource bound.
    pub(crate) async fn start() -> Self {
        Self::builder().start().await
    }

    /// Another gateway beside the first, on the same Redis, database and STS.
    pub(crate) async fn replica(&self) -> Gateway {
        self.recipe.launch(&[]).start().await
    }

    /// Another gateway with some variables changed.
    pub(crate) async fn replica_with(&self, variables: &[(&str, &str)]) -> Gateway {
        self.recipe.launch(variables).start().await
    }

    /// A gateway that does not start with some variables changed, and what it left behind.
    pub(crate) async fn failed_start(&self, variables: &[(&str, &str)]) -> Finished {
        self.recipe.launch(variables).finish().await
    }

    /// Another gateway with some variables changed, about to be started.
    pub(crate) fn launch(&self, variables: &[(&str, &str)]) -> Launch {
        self.recipe.launch(variables)
    }

    /// A secret of the environment, such as `AUDIT_HMAC_KEY`, or any other variable.
    pub(crate) fn variable(&self, name: &str) -> &str {
        self.recipe.variable(name)
    }

    /// What the gateway and its neighbours share, each with its name.
    pub(crate) fn secrets(&self) -> Vec<(&'static str, String)> {
        let names = [
            "STREAMS_HMAC_KEY",
            "AUDIT_HMAC_KEY",
            "GATEWAY_STS_HMAC_KEY",
            "CARACAL_ADMIN_TOKEN",
        ];
        let variables = names.iter().map(|name| (*name, self.variable(name).to_owned()));
        let redis = ("Redis password", self.redis.password().to_owned());
        variables.chain([redis]).collect()
    }

    /// Where the gateway listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.gateway.addr()
    }

    /// A single-use mandate for one resource of the stack.
    pub(crate) fn mint(&self, resource: &str) -> Minted {
        self.stack
            .mint(&self.stack.request_for(resource))
            .unwrap_or_else(|refusal| panic!("{resource}: {refusal:?}"))
    }

    /// A single-use mandate as text.
    pub(crate) fn token(&self, resource: &str) -> String {
        self.mint(resource).token.expose().to_owned()
    }

    /// A mandate that may be presented again and again, where the STS takes such (`accept_session_mandates`).
    pub(crate) fn session_token(&self, resource: &str) -> String {
        let request = MintRequest {
            mandate_use: Use::Session,
            ..self.stack.request_for(resource)
        };
        let minted = self.stack.mint(&request);
        let minted = minted.unwrap_or_else(|refusal| panic!("{resource}: {refusal:?}"));
        minted.token.expose().to_owned()
    }

    /// A mandate of the STS with its claims changed, signed by the STS: it passes there too.
    pub(crate) fn mandate_with(
        &self,
        resource: &str,
        change: impl FnOnce(&mut Map<String, Value>),
    ) -> String {
        let token = self.token(resource);
        let part = |at: usize| {
            let text = token.split('.').nth(at).expect("a part of the token");
            signing::unbase64url(text)
        };
        let mut claims: Map<String, Value> = serde_json::from_slice(&part(1)).expect("claims");
        change(&mut claims);
        let header = String::from_utf8(part(0)).expect("a header");
        let claims = Value::Object(claims).to_string();
        let signed = self.stack.sts().sign_literally(ZONE, &header, &claims);
        signed.expect("a signed mandate").expose().to_owned()
    }

    /// `GET path` with a fresh mandate for `resource`.
    pub(crate) async fn get(&self, resource: &str, path: &str) -> Response {
        self.present(&self.token(resource), resource, path).await
    }

    /// `GET path` with this mandate for `resource`.
    pub(crate) async fn present(&self, token: &str, resource: &str, path: &str) -> Response {
        present_to(self.addr(), token, resource, path).await
    }

    /// A request with a fresh mandate for `resource`, these further header fields, and a body.
    pub(crate) async fn send(
        &self,
        method: &str,
        resource: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        let bearer = format!("Bearer {}", self.token(resource));
        let mut all = vec![
            ("Authorization", bearer.as_str()),
            ("X-Caracal-Resource", resource),
        ];
        all.extend_from_slice(headers);
        http::request(self.addr(), method, path, &all, body).await
    }

    /// How many requests the upstream has seen.
    pub(crate) fn dispatched(&self) -> u64 {
        self.stack.upstream().counts().requests
    }

    /// A connection to Redis.
    pub(crate) async fn redis(&self) -> MultiplexedConnection {
        self.redis.connection().await
    }

    /// The value of a mandate's replay mark and its life in milliseconds; none when there is no mark.
    pub(crate) async fn replay_mark(&self, jti: &str) -> Option<(String, i64)> {
        let key = format!("seen:jti:{jti}");
        let (value, life): (Option<String>, i64) = redis::pipe()
            .get(&key)
            .cmd("PTTL")
            .arg(&key)
            .query_async(&mut self.redis().await)
            .await
            .expect("an answer of Redis");
        value.map(|value| (value, life))
    }

    /// Publishes a signed message on a stream, as the stack's services do.
    pub(crate) async fn publish(&self, stream: &str, fields: &[(&str, &str)]) {
        self.publish_over(&mut self.redis().await, stream, fields).await;
    }

    /// The same over a connection that is there.
    pub(crate) async fn publish_over(
        &self,
        redis: &mut MultiplexedConnection,
        stream: &str,
        fields: &[(&str, &str)],
    ) {
        let signature = stream_signature(self.variable("STREAMS_HMAC_KEY"), stream, fields);
        let mut command = redis::cmd("XADD");
        command.arg(stream).arg("*");
        for (name, value) in fields {
            command.arg(name).arg(value);
        }
        command.arg("_sig").arg(signature);
        let _: String = command.query_async(redis).await.expect("an answer of Redis");
    }

    /// Every metric of `/metrics` by name and labels, as Prometheus writes them.
    pub(crate) async fn metrics(&self) -> BTreeMap<String, f64> {
        let response = http::get(self.addr(), "/metrics", &[]).await;
        assert_eq!(response.status(), 200, "{}", response.text());
        parse_metrics(&response.text())
    }

    /// One metric; 0 when there is none.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        self.metrics().await.get(name).copied().unwrap_or_default()
    }

    /// Everything that the gateway printed so far.
    pub(crate) fn printed(&self) -> String {
        [self.gateway.stdout(), self.gateway.stderr()].concat().join("\n")
    }
}

/// `GET path` at some gateway.
pub(crate) async fn present_to(addr: SocketAddr, token: &str, resource: &str, path: &str) -> Response {
    let bearer = format!("Bearer {token}");
    let headers = [
        ("Authorization", bearer.as_str()),
        ("X-Caracal-Resource", resource),
    ];
    http::get(addr, path, &headers).await
}

/// A URL with a loopback address in it, as what stands before the address, the address, and what follows it.
pub(crate) fn around_address(url: &str) -> (&str, SocketAddr, &str) {
    let (start, rest) = url.split_at(url.find("127.0.0.1:").expect("a loopback address"));
    let (address, rest) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    (start, address.parse().expect("an address"), rest)
}

/// The samples of a text exposition.
pub(crate) fn parse_metrics(text: &str) -> BTreeMap<String, f64> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        })
        .collect()
}
