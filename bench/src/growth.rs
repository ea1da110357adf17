//! What a request costs where there is more of everything: the gateway beside itself, in turns.
//!
//! Both gateways of a comparison run all the time, each with a database of its own; only one at a time has work. What is
//! compared is the CPU time of the whole process per request.

use std::ffi::OsString;
use std::fmt::Write as _;

use clap::{Args, ValueEnum, value_parser};
use devstack::{Binding, Client, Credential, Devstack, MintRequest, Resource, StackConfig, Target};
use testkit::postgres::Database;

use crate::cpu::{MEASURED, OTHERS};
use crate::failure::Result;
use crate::load::Loop;
use crate::requests::Requests;
use crate::servers::{self, Servers};
use crate::spread::Spread;
use crate::subject::Subject;
use crate::{gateway, state};

/// The far end may cost this much more.
const MOST: f64 = 1.05;

/// What grows, and how far.
#[derive(Args, Clone, Debug)]
pub(crate) struct Plan {
    /// Turns of each end.
    #[arg(long, default_value_t = 9, value_parser = value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// Requests that are measured in each turn.
    #[arg(long, default_value_t = 4_000, value_parser = value_parser!(u32).range(1..=100_000))]
    requests: u32,
    /// Requests of each gateway before anything is measured, and at least one for each zone.
    #[arg(long, default_value_t = 4_000, value_parser = value_parser!(u32).range(0..=100_000))]
    warm_up: u32,
    /// Keep-alive connections, where they do not grow, and the most where they do.
    #[arg(long, default_value_t = 64, value_parser = value_parser!(u16).range(1..=1_000))]
    connections: u16,
    /// The most zones, each with a key and a binding that are asked for in turn.
    #[arg(long, default_value_t = 1_000, value_parser = value_parser!(u32).range(1..=10_000))]
    zones: u32,
    /// The most bindings, which are asked for in turn.
    #[arg(long, default_value_t = 100_000, value_parser = value_parser!(u32).range(1..=1_000_000))]
    bindings: u32,
    /// The most revoked anchors, all of the zone whose mandates are sent.
    #[arg(long, default_value_t = 1_000_000, value_parser = value_parser!(u32).range(1..=10_000_000))]
    anchors: u32,
    /// Only these.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Dimension>,
}

/// What grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Dimension {
    Connections,
    Zones,
    Bindings,
    Anchors,
    Cores,
}

/// One end of a comparison: a gateway, and what is sent to it.
struct End {
    subject: Subject,
    connections: usize,
    /// What mandates are for, in turn.
    targets: Vec<MintRequest>,
    next: usize,
    /// CPU per request of each turn, in microseconds.
    micros: Vec<f64>,
    /// Where its bindings are; dropped behind the gateway.
    _database: Database,
}

/// STS and upstream with as many zones and resources as the plan has at most.
pub(crate) async fn stack(plan: &Plan) -> Result<Devstack> {
    let mut config = StackConfig {
        recorded_requests: 0,
        ..StackConfig::standard()?
    };
    let client = config.clients.first().cloned().ok_or("no client")?;
    let resource = |zone: &str, identifier: String| Resource {
        zone: zone.to_owned(),
        identifier,
        application_id: client.id.clone(),
        target: Target::Echo(String::new()),
        credential: Credential::CaracalJwt,
        forward_identity: false,
        allowed_token_hosts: Vec::new(),
        provider_id: None,
        connection_id: None,
    };
    if plan.has(Dimension::Zones) {
        for number in 0..plan.zones {
            let zone = format!("grown-{number}");
            config.resources.push(resource(&zone, Requests::RESOURCE.into()));
            config.clients.push(Client {
                zone: zone.clone(),
                ..client.clone()
            });
            config.zones.push(zone);
        }
    }
    if plan.has(Dimension::Bindings) {
        let numbers = 0..plan.bindings;
        let bound = numbers.map(|number| resource(&client.zone, format!("resource://grown-{number}")));
        config.resources.extend(bound);
    }
    servers::serve(config).await
}

/// Runs it all; the second value tells whether the far end of everything costs at most a little more.
pub(crate) async fn run(command: &[OsString], servers: &Servers, plan: &Plan) -> Result<(String, bool)> {
    let mut text = format!(
        "## CPU per request where there is more of everything\n\nMedians of {} turns of {} requests; closed loop, over {} \
         connections but in the first row. The gateways have core {MEASURED} to themselves, but in the last row that of \
         two cores, which shares core {OTHERS} with everything else.\n\n\
         | from, to | near (µs) | far (µs) | far / near: median of the rounds (least to greatest) | at most {MOST} |\n\
         |---|---:|---:|---:|---|\n",
        plan.rounds, plan.requests, plan.connections
    );
    let mut good = true;
    for dimension in Dimension::value_variants() {
        if plan.has(*dimension) {
            let (near, far) = measure(*dimension, command, servers, plan).await?;
            let ratio = Spread::of(near.iter().zip(&far).map(|(near, far)| far / near.max(1e-9)));
            let held = ratio.median <= MOST;
            writeln!(
                text,
                "| {} | {:.1} | {:.1} | {:.3} ({:.3} to {:.3}) | {} |",
                dimension.name(plan),
                Spread::of(near).median,
                Spread::of(far).median,
                ratio.median,
                ratio.min,
                ratio.max,
                if held { "held" } else { "NOT held" }
            )?;
            good &= held;
        }
    }
    Ok((text, good))
}

/// The CPU per request of each turn, at the near end and at the far one.
async fn measure(
    dimension: Dimension,
    command: &[OsString],
    servers: &Servers,
    plan: &Plan,
) -> Result<(Vec<f64>, Vec<f64>)> {
    let mut near = End::near(dimension, command, servers, plan).await?;
    let mut far = End::far(dimension, command, servers, plan).await?;
    for end in [&mut near, &mut far] {
        let least = usize::try_from(plan.warm_up.max(plan.zones))?;
        end.load(servers, least).await?;
        end.micros.clear();
    }
    for _ in 0..plan.rounds {
        for end in [&mut near, &mut far] {
            end.load(servers, usize::try_from(plan.requests)?).await?;
        }
    }
    Ok((near.stop().await?, far.stop().await?))
}

/// Whether it is the one binding that everything else is compared with.
fn is_plain(servers: &Servers, binding: &Binding) -> bool {
    let plain = servers.stack().request_for(Requests::RESOURCE);
    binding.zone == plain.zone && binding.resource == Requests::RESOURCE
}

impl Plan {
    fn has(&self, dimension: Dimension) -> bool {
        self.only.is_empty() || self.only.contains(&dimension)
    }
}

impl Dimension {
    fn name(self, plan: &Plan) -> String {
        match self {
            Self::Connections => format!("1 connection, {}", plan.connections),
            Self::Zones => format!("1 zone, {} in turn", plan.zones),
            Self::Bindings => format!("1 binding, {} in turn", plan.bindings),
            Self::Anchors => format!("no anchor, {} of the zone", plan.anchors),
            Self::Cores => "1 core, 2".into(),
        }
    }
}

impl End {
    async fn near(
        dimension: Dimension,
        command: &[OsString],
        servers: &Servers,
        plan: &Plan,
    ) -> Result<Self> {
        let connections = if dimension == Dimension::Connections {
            1
        } else {
            plan.connections
        };
        let bindings = |binding: &&Binding| is_plain(servers, binding);
        Self::start(command, servers, connections, bindings, &[], 0).await
    }

    async fn far(dimension: Dimension, command: &[OsString], servers: &Servers, plan: &Plan) -> Result<Self> {
        let anchors = if dimension == Dimension::Anchors {
            plan.anchors
        } else {
            0
        };
        let bound = anchors.max(1).to_string();
        let variables = match dimension {
            Dimension::Anchors => vec![
                ("REVOCATION_MAX_ANCHORS", bound.clone()),
                ("REVOCATION_MAX_ZONE_ANCHORS", bound),
            ],
            _ => Vec::new(),
        };
        let bindings = |binding: &&Binding| match dimension {
            Dimension::Zones => binding.zone.starts_with("grown-"),
            Dimension::Bindings => binding.resource.starts_with("resource://grown-"),
            _ => is_plain(servers, binding),
        };
        // The inner one of two has the last word.
        let two: [OsString; 3] = ["taskset", "-c", &format!("{MEASURED},{OTHERS}")].map(Into::into);
        let command = match dimension {
            Dimension::Cores => [&two, command].concat(),
            _ => command.to_vec(),
        };
        let anchors = usize::try_from(anchors)?;
        Self::start(&command, servers, plan.connections, bindings, &variables, anchors).await
    }

    /// Starts a gateway with these bindings, each of which is asked for in turn.
    async fn start(
        command: &[OsString],
        servers: &Servers,
        connections: u16,
        mut has: impl FnMut(&&Binding) -> bool,
        variables: &[(&'static str, String)],
        anchors: usize,
    ) -> Result<Self> {
        let bindings: Vec<_> = servers
            .stack()
            .bindings()
            .iter()
            .filter(|binding| has(binding))
            .collect();
        let zone = &bindings.first().ok_or("no binding")?.zone;
        let database = servers.database_with(bindings.iter().copied()).await;
        if anchors > 0 {
            state::fill(&database, anchors, &format!("'{zone}'")).await;
        }
        // As the server itself does soon after.
        database.execute("ANALYZE").await;
        let mut variables = variables.to_vec();
        variables.push(("DATABASE_URL", database.gateway_url()));
        let subject = gateway::start_with(command, servers, &variables).await?;
        let target = |binding: &&Binding| MintRequest {
            resources: vec![binding.resource.clone()],
            ..MintRequest::new(&binding.zone, &binding.application_id)
        };
        Ok(Self {
            subject,
            connections: connections.into(),
            targets: bindings.iter().map(target).collect(),
            next: 0,
            micros: Vec::new(),
            _database: database,
        })
    }

    /// Ends its gateway, and gives the CPU per request of each turn.
    async fn stop(self) -> Result<Vec<f64>> {
        self.subject.child.stop().await?;
        Ok(self.micros)
    }

    /// One turn. A request that is not answered as it should be ends the run.
    async fn load(&mut self, servers: &Servers, count: usize) -> Result<()> {
        let targets = self.targets.iter().cycle().skip(self.next).take(count);
        let targets: Vec<_> = targets.cloned().collect();
        self.next = (self.next + count) % self.targets.len().max(1);
        let requests = Requests::mint_each(servers.stack(), &targets)?;
        let measured = self
            .subject
            .load(&requests, self.connections, Loop::Closed)
            .await?
            .all_right()?;
        self.micros.push(measured.micros());
        Ok(())
    }
}
