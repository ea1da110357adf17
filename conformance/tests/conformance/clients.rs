//! Clients and servers of Go, Node and Python (`programs`): what each client gets through the gateway is what it gets from
//! the server itself.

mod case;

use crate::crossing::resource_at;
use crate::report::Report;
use crate::transport::replica_over_tls;
use crate::world::World;
use case::{CASES, Case, Needs};
use devstack::Target;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use tempfile::TempDir;
use testkit::gateway::Gateway;
use testkit::program::{Program, run};
use testkit::tls::{Ca, Files};

/// What is compared of a head, besides the status.
const FIELDS: [&str; 5] = [
    "content-type",
    "content-length",
    "content-range",
    "etag",
    "retry-after",
];
const NAME: &str = "127.0.0.1";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stack {
    Go,
    Node,
    Python,
}

struct Client {
    stack: Stack,
    /// Which of the stack's clients.
    by: &'static str,
    /// The way on which it meets the gateway.
    tls: bool,
    can: &'static [Needs],
}

const CLIENTS: [Client; 6] = [
    Client {
        stack: Stack::Go,
        by: "http",
        tls: true,
        can: &[Needs::Nothing, Needs::Trailers, Needs::Expect],
    },
    Client {
        stack: Stack::Go,
        by: "http2",
        tls: true,
        can: &[Needs::Nothing, Needs::Trailers, Needs::Early],
    },
    Client {
        stack: Stack::Node,
        by: "http",
        tls: false,
        can: &[Needs::Nothing, Needs::Trailers, Needs::Expect],
    },
    Client {
        stack: Stack::Node,
        by: "fetch",
        tls: true,
        can: &[Needs::Nothing],
    },
    Client {
        stack: Stack::Node,
        by: "http2",
        tls: true,
        can: &[Needs::Nothing, Needs::Trailers],
    },
    Client {
        stack: Stack::Python,
        by: "http",
        tls: false,
        can: &[Needs::Nothing, Needs::Early],
    },
];

/// A server, which speaks HTTP/1.1, and with TLS also HTTP/2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Server {
    stack: Stack,
    tls: bool,
}

impl Server {
    fn resource(self) -> String {
        format!("resource://{:?}-{}", self.stack, self.tls)
    }
}

const SERVERS: [Server; 5] = [
    Server {
        stack: Stack::Go,
        tls: false,
    },
    Server {
        stack: Stack::Go,
        tls: true,
    },
    Server {
        stack: Stack::Node,
        tls: false,
    },
    Server {
        stack: Stack::Node,
        tls: true,
    },
    Server {
        stack: Stack::Python,
        tls: false,
    },
];

/// The programs and what they need.
struct Programs {
    directory: TempDir,
    ca: Ca,
    files: Files,
}

impl Programs {
    async fn build() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let ca = Ca::new();
        let files = ca.server(&[NAME, "localhost"]).write_to(directory.path());
        std::fs::write(directory.path().join("authority.pem"), ca.pem()).expect("a file");
        let programs = Self { directory, ca, files };
        let (go, cache, home) = (programs.path("go"), programs.path("cache"), programs.path("home"));
        // Nothing of it is needed fast, and to optimise it takes longer.
        let arguments = ["build", "-gcflags=all=-N -l", "-ldflags=-s -w", "-o", &go, "."];
        let variables = [
            // Who runs the tests need not own the repository, which its version control insists on.
            ("GOFLAGS", "-trimpath -buildvcs=false"),
            ("GOCACHE", &cache),
            ("GOPATH", &home),
            ("GOPROXY", "off"),
            ("GOTOOLCHAIN", "local"),
            ("GOENV", "off"),
            ("CGO_ENABLED", "0"),
        ];
        run("go", &source("go"), &variables, &arguments, b"").await;
        programs
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// The program of a stack and its first arguments.
    fn command(&self, stack: Stack) -> (String, Vec<String>) {
        let script = |name| vec![source(name).display().to_string()];
        match stack {
            Stack::Go => (self.path("go"), Vec::new()),
            Stack::Node => ("node".into(), script("node.mjs")),
            Stack::Python => ("python3".into(), script("python.py")),
        }
    }

    async fn serve(&self, server: Server) -> Program {
        let (program, mut arguments) = self.command(server.stack);
        let start = |_: &Path, listens: &[SocketAddr]| {
            arguments.extend(["serve".into(), listens[0].to_string()]);
            let Files { certificate, key } = &self.files;
            match server.tls {
                true => arguments.extend([certificate, key].map(|file| file.display().to_string())),
                false => arguments.push("http1".into()),
            }
            arguments
        };
        Program::start(&program, 1, start).await
    }

    /// What a client of this stack got, line for line.
    async fn call(&self, stack: Stack, lines: &[Value]) -> Vec<Value> {
        let (program, arguments) = self.command(stack);
        let authority = self.path("authority.pem");
        let arguments: Vec<&str> = arguments
            .iter()
            .map(String::as_str)
            .chain(["call", authority.as_str()])
            .collect();
        let variables = [("NODE_EXTRA_CA_CERTS", authority.as_str())];
        let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let directory = self.directory.path();
        let printed = run(&program, directory, &variables, &arguments, lines.as_bytes()).await;
        let answer = |line| serde_json::from_str(line).expect("an answer in JSON");
        printed.lines().map(answer).collect()
    }
}

fn source(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("programs").join(name)
}

/// Everything that one stack's clients are to ask, in the order in which they do.
struct Plan<'a> {
    scene: &'a Scene,
    stack: Stack,
    lines: Vec<Value>,
    /// Which line asks this of the server itself.
    direct: BTreeMap<(&'static str, Server, usize), usize>,
    /// What is compared: the names, the case, the line that asks the server itself, and the one that asks the gateway.
    pairs: Vec<(String, Case, usize, usize)>,
}

impl Plan<'_> {
    fn add(&mut self, client: &Client, server: Server) {
        // Without a gateway in between both have to speak the same.
        let by = if server.tls { client.by } else { "http" };
        let by = if client.by == "fetch" { "fetch" } else { by };
        let behind = Server {
            tls: server.tls && client.tls,
            ..server
        };
        for (number, case) in CASES
            .into_iter()
            .enumerate()
            .filter(|(_, case)| client.can.contains(&case.needs))
            // The client that asks the server itself has to be able to as well.
            .filter(|(_, case)| case.needs != Needs::Early || by == client.by)
        {
            let key = (by, behind, number);
            let direct = match self.direct.get(&key) {
                Some(line) => *line,
                None => self.line(by, &self.scene.url(behind), json!({}), case),
            };
            self.direct.insert(key, direct);
            let gateway = match client.tls {
                true => format!("https://{}", self.scene.secure.addr()),
                false => format!("http://{}", self.scene.world.addr()),
            };
            let credentials = self.scene.credentials(server);
            let through = self.line(client.by, &gateway, credentials, case);
            let name = format!(
                "{:?} {} to {server:?}: {} {}",
                client.stack, client.by, case.method, case.target
            );
            self.pairs.push((name, case, direct, through));
        }
    }

    fn line(&mut self, by: &str, base: &str, mut headers: Value, case: Case) -> usize {
        let key = format!("{:?}{}", self.stack, self.lines.len());
        let place = |target: &str| format!("{base}{}", target.replace("KEY", &key));
        if let Some((name, value)) = case.header {
            headers[name] = value.into();
        }
        let line = json!({
            "by": by,
            "url": place(case.target),
            "method": case.method,
            "headers": headers,
            "body": case.body,
            "chunked": case.chunked,
            "trailers": case.needs == Needs::Trailers,
            "next": case.next.map_or_else(String::new, place),
            "gone": case.gone.map_or_else(String::new, place),
        });
        self.lines.push(line);
        self.lines.len() - 1
    }
}

/// What has to be the same. How much a client got before it left is its own affair.
fn compared(case: &Case, answer: &Value) -> Value {
    let fields: BTreeMap<&str, &Value> = FIELDS
        .iter()
        .map(|name| (*name, &answer["headers"][name]))
        .collect();
    let trailer = &answer["trailers"]["x-sum"];
    let length = case.gone.is_none().then(|| &answer["length"]);
    json!([
        answer["error"],
        answer["status"],
        length,
        answer["sum"],
        fields,
        trailer
    ])
}

struct Scene {
    programs: Programs,
    servers: BTreeMap<Server, Program>,
    world: World,
    /// A gateway of the same world that speaks TLS.
    secure: Gateway,
    tokens: BTreeMap<Server, String>,
}

impl Scene {
    async fn start() -> Self {
        let programs = Programs::build().await;
        let mut servers = BTreeMap::new();
        for server in SERVERS {
            servers.insert(server, programs.serve(server).await);
        }
        let world = World::builder()
            .stack(|stack| {
                stack.accept_session_mandates = true;
                for (server, program) in &servers {
                    let place = Target::Url(url(*server, program));
                    stack.resources.push(resource_at(&server.resource(), place));
                }
            })
            .env("UPSTREAM_CA_FILE", programs.path("authority.pem"))
            .start()
            .await;
        let secure = replica_over_tls(&world, &programs.files, NAME, &programs.ca).await;
        let token = |server: &Server| (*server, world.session_token(&server.resource()));
        Self {
            tokens: SERVERS.iter().map(token).collect(),
            programs,
            servers,
            world,
            secure,
        }
    }

    fn url(&self, server: Server) -> String {
        url(server, &self.servers[&server])
    }

    fn credentials(&self, server: Server) -> Value {
        json!({
            "authorization": format!("Bearer {}", self.tokens[&server]),
            "x-caracal-resource": server.resource(),
        })
    }

    /// Every case, from every client of this stack to every server.
    async fn walk(&self, stack: Stack) -> Report {
        let mut report = Report::default();
        let mut plan = Plan {
            scene: self,
            stack,
            lines: Vec::new(),
            direct: BTreeMap::new(),
            pairs: Vec::new(),
        };
        for client in CLIENTS.iter().filter(|client| client.stack == stack) {
            for server in SERVERS {
                plan.add(client, server);
            }
        }
        let answers = self.programs.call(stack, &plan.lines).await;
        report.equal(format!("{stack:?}: answers"), answers.len(), plan.lines.len());
        for (name, case, direct, through) in plan.pairs {
            let (Some(direct), Some(through)) = (answers.get(direct), answers.get(through)) else {
                continue;
            };
            report.equal(
                format!("directly, {name}"),
                direct["status"].as_u64(),
                Some(case.status.into()),
            );
            report.equal(&name, compared(&case, through), compared(&case, direct));
            // Go alone tells.
            let by_http2 = name.starts_with("Go http2");
            let is_http2 = through["protocol"] == "HTTP/2.0";
            report.holds(format!("{name}: the protocol"), by_http2 == is_http2);
        }
        report
    }
}

fn url(server: Server, program: &Program) -> String {
    let scheme = if server.tls { "https" } else { "http" };
    format!("{scheme}://{NAME}:{}", program.addrs()[0].port())
}

#[tokio::test]
async fn clients_and_servers_of_go_node_and_python_see_of_each_other_what_they_see_without_a_gateway() {
    let scene = Scene::start().await;
    let (go, node, python) = tokio::join!(
        scene.walk(Stack::Go),
        scene.walk(Stack::Node),
        scene.walk(Stack::Python)
    );
    for report in [go, node, python] {
        report.finish();
    }
}
