//! How a world comes into being.

use super::World;
use super::signing::hex;
use crate::crossing::resource_at;
use crate::hand::{HAND, HandUpstream};
use admission::mode::Mode;
use devstack::{Devstack, RawAnswer, Scope, StackConfig, Target};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use testkit::gateway::Launch;
use testkit::http;
use testkit::mint::Key;
use testkit::postgres::{Database, Layout};
use testkit::redis::PrivateRedis;
use testkit::wait::until;

/// Time limits that a busy machine does not cross, shorter than a test's own patience, so that what hangs is refused
/// by the gateway. A test of a limit sets that limit itself.
const UNHURRIED: [(&str, &str); 4] = [
    ("READ_HEADER_TIMEOUT", "15s"),
    ("REDIS_DIAL_TIMEOUT", "15s"),
    ("REPLAY_TIMEOUT", "15s"),
    ("STS_TIMEOUT", "15s"),
];

/// The environment of a gateway, from which further ones can be started.
pub(super) struct Recipe {
    variables: BTreeMap<String, String>,
    own_loopback: bool,
}

impl Recipe {
    /// A gateway with its own spool, about to be started; `changes` replace variables, an empty value leaves one out.
    pub(super) fn launch(&self, changes: &[(&str, &str)]) -> Launch {
        let mut launch = Launch::new();
        let spool = launch.directory().join("spool");
        std::fs::create_dir(&spool).expect("a new directory");
        launch = launch.env("AUDIT_REPLAY_DIR", spool.display().to_string());
        // A machine that runs many tests at a time is late, and that is no fault of the one under test.
        launch = launch.env("OVERLOAD_DELAY", "0");
        for (name, value) in &self.variables {
            launch = launch.env(name, value.as_str());
        }
        if self.own_loopback {
            launch = launch.own_loopback();
        }
        launch.envs(changes.iter().copied())
    }

    pub(super) fn variable(&self, name: &str) -> &str {
        self.variables.get(name).map_or("", String::as_str)
    }
}

/// A world to be changed before it starts.
pub(crate) struct Builder {
    layout: Layout,
    stack: StackConfig,
    environment: BTreeMap<String, String>,
    production: bool,
    ready: bool,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            layout: Layout::StandAlone,
            stack: StackConfig::standard().expect("secrets"),
            environment: BTreeMap::new(),
            production: false,
            ready: true,
        }
    }
}

impl Builder {
    /// Another database layout than the stand-alone one.
    #[must_use]
    pub(crate) fn layout(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    /// Changes what the STS and the upstream serve.
    #[must_use]
    pub(crate) fn stack(mut self, change: impl FnOnce(&mut StackConfig)) -> Self {
        change(&mut self.stack);
        self
    }

    /// Binds [`HAND`] to an upstream that the test plays, without a credential.
    #[must_use]
    pub(crate) fn hand(self, upstream: &HandUpstream) -> Self {
        let place = Target::Url(upstream.url());
        self.stack(|stack| stack.resources.push(resource_at(HAND, place)))
    }

    /// Sets a variable of the gateway, in place of the world's own. An empty value counts as unset.
    #[must_use]
    pub(crate) fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.insert(name.to_owned(), value.into());
        self
    }

    /// Runs the gateway in production mode, on a loopback address of its own. The certificate variables are still to
    /// be set.
    #[must_use]
    pub(crate) fn production(mut self) -> Self {
        self.production = true;
        self
    }

    /// Does not wait until the gateway calls itself ready.
    #[must_use]
    pub(crate) fn without_waiting(mut self) -> Self {
        self.ready = false;
        self
    }

    /// Starts everything: servers, database, bindings, and last the gateway.
    pub(crate) async fn start(self) -> World {
        self.start_with(async |_, variables| variables).await
    }

    /// Starts everything; `arrange` may put something between the gateway and its neighbours, by changing the
    /// variables that say where they are.
    pub(crate) async fn start_with(
        self,
        arrange: impl AsyncFnOnce(&Devstack, BTreeMap<String, String>) -> BTreeMap<String, String>,
    ) -> World {
        let Ok(Mode::Dev(proof)) = Mode::parse("dev") else {
            panic!("dev is a mode")
        };
        let stack = Devstack::start(proof, self.stack).await.expect("a running stack");
        let (database, redis) = tokio::join!(Database::create(self.layout), PrivateRedis::start());
        for binding in stack.bindings() {
            database
                .bind(
                    &binding.zone,
                    &binding.resource,
                    &binding.upstream_url,
                    &binding.application_id,
                )
                .await;
        }
        let rogue = Key::generate("rogue");
        publish_beside(&stack, &rogue).await;
        let mut variables = surroundings(&stack, &database, &redis);
        variables.extend(posture(self.production));
        variables.extend(UNHURRIED.map(|(name, value)| (name.to_owned(), value.to_owned())));
        variables = arrange(&stack, variables).await;
        variables.extend(self.environment);
        let recipe = Recipe {
            variables,
            own_loopback: self.production,
        };
        let gateway = recipe.launch(&[]).start().await;
        if self.ready && !self.production {
            let addr = gateway.addr();
            until("the gateway to be ready", async || {
                (http::get(addr, "/ready", &[]).await.status() == 200).then_some(())
            })
            .await;
        }
        World {
            gateway,
            stack,
            database,
            redis,
            rogue,
            recipe,
        }
    }
}

/// Where the neighbours are, and the keys shared with them.
fn surroundings(stack: &Devstack, database: &Database, redis: &PrivateRedis) -> BTreeMap<String, String> {
    let key = |fill: u8| hex(&[fill; 32]);
    // The older layout's own gateway runs as the owner of the tables.
    let database = match database.layout() {
        Layout::June => database.owner_url(),
        _ => database.gateway_url(),
    };
    [
        ("DATABASE_URL", database),
        ("REDIS_URL", redis.url()),
        ("STS_URL", stack.sts_url().to_owned()),
        ("STREAMS_HMAC_KEY", key(0x51)),
        ("AUDIT_HMAC_KEY", key(0xa0)),
        (
            "GATEWAY_STS_HMAC_KEY",
            stack.gateway_hmac_key().expose().to_owned(),
        ),
        ("CARACAL_ADMIN_TOKEN", "an-admin-token-of-the-suite".to_owned()),
        ("LOG_LEVEL", "debug".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

fn posture(production: bool) -> BTreeMap<String, String> {
    let variables: &[(&str, &str)] = if production {
        &[
            ("CARACAL_ENV", "production"),
            ("ALLOW_PRIVATE_UPSTREAMS", "true"),
            ("UPSTREAM_HOST_ALLOWLIST", "127.0.0.1,localhost"),
        ]
    } else {
        &[
            ("CARACAL_ENV", "dev"),
            ("BIND_ADDR", "127.0.0.1"),
            ("PORT", "0"),
            ("INSECURE_HTTP", "true"),
            ("ALLOW_PRIVATE_UPSTREAMS", "true"),
        ]
    };
    variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

/// Lets the key set of the standard zone show a second key beside the STS's own.
async fn publish_beside(stack: &Devstack, key: &Key) {
    let Some(zone) = stack.bindings().first().map(|binding| binding.zone.clone()) else {
        return;
    };
    let addr: SocketAddr = stack.sts_url()["http://".len()..].parse().expect("an address");
    let path = format!("/.well-known/jwks.json?zone_id={zone}");
    let mut document: Value = http::get(addr, &path, &[]).await.json();
    document["keys"].as_array_mut().expect("keys").push(key.jwk());
    let answer = RawAnswer::new(200, "application/json", document.to_string());
    stack.script().set(Scope::Jwks, answer);
}
