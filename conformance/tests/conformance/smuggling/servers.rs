//! The corpus between real servers, which `scripts/smuggling` brings: behind the gateway, and in front of it.

use super::corpus::corpus;
use super::replay::{fields, send};
use crate::crossing::resource_at;
use crate::report::Report;
use crate::world::{NONE, World};
use devstack::{StackConfig, Target};
use std::collections::BTreeSet;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use testkit::http::Connection;
use testkit::wait::{PATIENCE, until};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const UPSTREAMS: [&str; 6] = ["nginx", "haproxy", "node", "gunicorn", "waitress", "go"];
const FRONTS: [&str; 2] = ["nginx", "haproxy"];
/// Messages on their way through a server in front at a time: it waits a second for what does not come.
const AT_A_TIME: usize = 16;

/// A server of a process of its own. Killed when dropped.
struct Server {
    child: Child,
    addr: SocketAddr,
    log: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        // An error means that it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    async fn start(name: &str, directory: &Path, front_of: Option<SocketAddr>) -> Self {
        // Free now, and nobody else's among the servers here.
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let addr = free.local_addr().expect("the address of a listener");
        let port = addr.port();
        drop(free);
        let log = directory.join(format!("{name}-{port}.log"));
        File::create(&log).expect("a log");
        let config = directory.join(format!("{name}-{port}.conf"));
        let text = match name {
            "nginx" => nginx(directory, addr, &log, front_of),
            _ => haproxy(addr, front_of),
        };
        std::fs::write(&config, text).expect("a configuration");
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/smuggling/servers");
        let (port, listens) = (port.to_string(), addr.to_string());
        let mut command = match name {
            "nginx" => Command::new("nginx"),
            "haproxy" => Command::new("haproxy"),
            "node" => Command::new("node"),
            "gunicorn" => Command::new("gunicorn"),
            "waitress" => Command::new("waitress-serve"),
            // Built of `server.go`.
            _ => Command::new("smuggling-go-server"),
        };
        match name {
            "nginx" => command.arg("-p").arg(directory).arg("-c").arg(&config),
            "haproxy" => command.arg("-f").arg(&config),
            "node" => command.arg(sources.join("server.js")).arg(&port).arg(&log),
            "gunicorn" => command
                .args([
                    "--worker-class",
                    "gthread",
                    "--threads",
                    "4",
                    "--keep-alive",
                    "30",
                ])
                .args(["--log-level", "critical", "--bind", &listens, "server:app"]),
            "waitress" => command.args(["--listen", &listens, "server:app"]),
            _ => command.arg(&port).arg(&log),
        };
        let output = File::options().append(true).open(&log).expect("a log");
        let child = command
            .env("LOG", &log)
            .env("PYTHONPATH", &sources)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null())
            .stdout(if name == "haproxy" {
                output.into()
            } else {
                Stdio::null()
            })
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}: run scripts/smuggling"));
        let server = Self { child, addr, log };
        until(name, async || TcpStream::connect(addr).await.ok()).await;
        server
    }

    /// The id and the target of each request that it saw.
    fn seen(&self) -> Vec<(String, String)> {
        let text = std::fs::read(&self.log).expect("a log");
        let text = String::from_utf8_lossy(&text).into_owned();
        let lines = text.lines().filter_map(|line| line.split_once(' '));
        lines
            .map(|(id, target)| (id.to_owned(), target.to_owned()))
            .collect()
    }
}

fn nginx(directory: &Path, addr: SocketAddr, log: &Path, front_of: Option<SocketAddr>) -> String {
    let (dir, log, port) = (directory.display(), log.display(), addr.port());
    let gateway = front_of.map_or_else(|| "127.0.0.1:1".to_owned(), |gateway| gateway.to_string());
    let does = match front_of {
        None => format!("access_log {log} seen; return 200 ok;"),
        Some(_) => "access_log off; proxy_pass http://gateway; proxy_http_version 1.1; proxy_set_header Connection ''; \
                    proxy_set_header Host gateway.example; proxy_set_header X-Front-Id $request_id;"
            .to_owned(),
    };
    format!(
        "daemon off; worker_processes 1; pid {dir}/nginx-{port}.pid; error_log /dev/null;\n\
         events {{ worker_connections 512; }}\n\
         http {{ log_format seen '$http_x_request_id $request_uri'; client_body_temp_path {dir}/body-{port};\n\
         proxy_temp_path {dir}/proxy-{port}; fastcgi_temp_path {dir}/f-{port}; uwsgi_temp_path {dir}/u-{port};\n\
         scgi_temp_path {dir}/s-{port}; client_header_timeout 1s; client_body_timeout 1s; keepalive_timeout 1s;\n\
         upstream gateway {{ server {gateway}; keepalive 8; }}\n\
         server {{ listen {addr}; location / {{ {does} }} }} }}\n"
    )
}

fn haproxy(addr: SocketAddr, front_of: Option<SocketAddr>) -> String {
    let does = match front_of {
        None => "  log global\n  http-request capture req.hdr(x-request-id) len 64\n\
                 \x20 log-format \"%[capture.req.hdr(0)] %[capture.req.uri]\"\n\
                 \x20 http-request return status 200 content-type text/plain string ok\n"
            .to_owned(),
        Some(gateway) => format!(
            "  http-request set-header X-Front-Id %[uuid()]\n  default_backend gateway\n\
             backend gateway\n  http-reuse always\n  server gateway {gateway}\n"
        ),
    };
    format!(
        "global\n  log stdout format raw local0\n\
         defaults\n  mode http\n  option dontlognull\n  timeout connect 5s\n  timeout server 10s\n  timeout client 1s\n\
         \x20 timeout http-request 1s\n  timeout http-keep-alive 1s\n\
         frontend callers\n  bind {addr}\n{does}"
    )
}

fn with_sessions(stack: &mut StackConfig) {
    stack.accept_session_mandates = true;
    stack.recorded_requests = 2 * corpus().len();
}

#[tokio::test]
#[ignore = "needs servers, which scripts/smuggling brings"]
async fn smuggling_corpus_makes_no_second_request_at_real_servers() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut servers = Vec::new();
    for name in UPSTREAMS {
        servers.push((name, Server::start(name, directory.path(), None).await));
    }
    let resource = |name: &str| format!("resource://{name}");
    let world = World::builder()
        .stack(|stack| {
            with_sessions(stack);
            for (name, server) in &servers {
                let place = Target::Url(format!("http://{}", server.addr));
                stack.resources.push(resource_at(&resource(name), place));
            }
        })
        .start()
        .await;
    let mut report = Report::default();
    for (name, server) in &servers {
        let mandate = fields(&world.session_token(&resource(name)), &resource(name));
        let mut served = 0;
        for (at, message) in corpus().iter().enumerate() {
            let mut client = Connection::open(world.addr()).await;
            let bytes = message.bytes(&format!("/outer-{at}"), &mandate, &mandate);
            served += usize::from(send(&mut client, &bytes, true).await.contains(&200));
            // Bytes that were left on a connection to the server would become part of this.
            let path = format!("/outer-after-{at}");
            let request = format!("GET {path} HTTP/1.1\r\n{mandate}\r\n");
            let response = Connection::open(world.addr()).await.exchange(request).await;
            report.status(format!("{name}: after {}", message.name), &response, 200);
        }
        let seen = server.seen();
        println!(
            "{name}: {served} of {} served, {} requests seen",
            corpus().len(),
            seen.len()
        );
        // Each message is followed by a request that is served: a server that logs nothing proves nothing.
        report.holds(
            format!("{name}: {} in its log", seen.len()),
            seen.len() >= corpus().len() + served,
        );
        distinct(&mut report, name, seen);
    }
    report.finish();
}

#[tokio::test]
#[ignore = "needs servers, which scripts/smuggling brings"]
async fn smuggling_corpus_makes_no_second_request_behind_real_proxies() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut report = Report::default();
    for name in FRONTS {
        let world = World::builder().stack(with_sessions).start().await;
        let front = Server::start(name, directory.path(), Some(world.addr())).await;
        let mandate: Arc<str> = fields(&world.session_token(NONE), NONE).into();
        let (corpus, mut served) = (corpus(), 0);
        for (chunk, messages) in corpus.chunks(AT_A_TIME).enumerate() {
            let mut sent = JoinSet::new();
            for (at, message) in messages.iter().enumerate() {
                let path = format!("/outer-{}", chunk * AT_A_TIME + at);
                let (addr, bytes) = (front.addr, message.bytes(&path, &mandate, &mandate));
                sent.spawn(async move {
                    let mut client = Connection::open(addr).await;
                    send(&mut client, &bytes, false).await
                });
            }
            let answers = sent.join_all().await;
            served += answers.iter().filter(|answers| answers.contains(&200)).count();
        }
        let upstream = world.stack.upstream();
        upstream.wait_for(PATIENCE, |counts| counts.in_flight == 0).await;
        let seen: Vec<_> = upstream
            .recorded()
            .iter()
            .map(|seen| (seen.header("x-front-id").concat(), seen.target()))
            .collect();
        println!(
            "{name} in front: {served} of {} served, {} requests seen",
            corpus.len(),
            seen.len()
        );
        report.holds(format!("{name}: some are served"), served > 20);
        // What it takes for two requests itself has an id for each.
        one_id_each(&mut report, name, seen);
    }
    report.finish();
}

/// Each has an id that no other has: behind the gateway one that it made, for one request of the corpus.
fn distinct(report: &mut Report, name: &str, seen: Vec<(String, String)>) {
    let targets: BTreeSet<_> = seen.iter().map(|(_, target)| target).collect();
    report.equal(
        format!("{name}: requests of one target"),
        seen.len(),
        targets.len(),
    );
    let strange = seen.iter().find(|(_, target)| !target.starts_with("/outer-"));
    report.equal(format!("{name}: another request"), strange, None);
    one_id_each(report, name, seen);
}

fn one_id_each(report: &mut Report, name: &str, seen: Vec<(String, String)>) {
    let mut ids = BTreeSet::new();
    for (id, target) in seen {
        report.holds(format!("{name}: {target} with the id {id}"), id.len() > 8);
        report.holds(format!("{name}: a second request, {id} {target}"), ids.insert(id));
    }
}
