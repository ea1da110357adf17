//! A service manager that binds the sockets, and is told what the gateway does.

use crate::report::Report;
use crate::world::{NONE, World, present_to};
use socket2::{Domain, Socket, Type};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixDatagram, UnixListener};
use testkit::gateway::{Gateway, Signal};
use testkit::http::{self, Connection};
use testkit::wait::until;

/// `O_NONBLOCK` and `O_CLOEXEC`.
const FLAGS: u32 = 0o2_004_000;

fn bound() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port")
}

fn address(socket: &TcpListener) -> SocketAddr {
    socket.local_addr().expect("the address of a socket")
}

/// The flags of a descriptor, as the kernel tells them.
fn flags(gateway: &Gateway, descriptor: u32) -> u32 {
    let path = format!("/proc/{}/fdinfo/{descriptor}", gateway.pid());
    let told = std::fs::read_to_string(path).expect("an open descriptor");
    let flags = told.lines().find_map(|line| line.strip_prefix("flags:"));
    u32::from_str_radix(flags.expect("flags").trim(), 8).expect("octal digits")
}

#[tokio::test]
async fn handed_over_sockets_are_served_and_outlive_the_gateway() {
    let world = World::start().await;
    let mut report = Report::default();
    // Blocking, and children would get them.
    let (public, operator) = (bound(), bound());
    let sockets = [("public", public.as_fd()), ("operator", operator.as_fd())];
    let mut gateway = world.launch(&[]).sockets(&sockets).start().await;
    report.equal("address", gateway.addr(), address(&public));
    for descriptor in [3, 4] {
        let flags = flags(&gateway, descriptor);
        report.equal(format!("flags of {descriptor}"), flags & FLAGS, FLAGS);
    }
    let answer = present_to(gateway.addr(), &world.token(NONE), NONE, "/").await;
    report.status("public", &answer, 200);
    for (socket, status) in [(&public, 404), (&operator, 200)] {
        let metrics = http::get(address(socket), "/metrics", &[]).await;
        report.status("metrics", &metrics, status);
    }
    gateway.terminate();
    report.equal("exit status", gateway.wait().await.code(), Some(0));

    // Who comes in between waits, and is served by the next one.
    let mut early = Connection::open(address(&public)).await;
    early
        .send("GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .expect("an open connection");
    let unnamed = [("caracal-gateway.socket", public.as_fd())];
    let next = world.launch(&[]).sockets(&unnamed).start().await;
    report.status("in between", &early.response().await, 200);
    report.equal("the same address", next.addr(), address(&public));
    report.finish();
}

#[tokio::test]
async fn handed_over_sockets_that_cannot_be_served_are_refused_with_the_fix() {
    let world = World::start().await;
    let mut report = Report::default();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (tcp, other) = (bound(), bound());
    let datagram = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let unix = UnixListener::bind(directory.path().join("socket")).expect("a new socket");
    let silent = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let at = address(&tcp).to_string();
    type Named<'a> = (&'a str, BorrowedFd<'a>);
    type Rows<'a> = Vec<(Vec<Named<'a>>, Vec<(&'a str, &'a str)>, [&'a str; 2])>;
    let public = ("public", tcp.as_fd());
    let second = |name| (name, other.as_fd());
    let rows: Rows<'_> = vec![
        (
            vec![("public", datagram.as_fd())],
            vec![],
            ["not a TCP socket", "ListenStream="],
        ),
        (
            vec![("public", unix.as_fd())],
            vec![],
            ["not a TCP socket", "ListenStream="],
        ),
        (
            vec![("public", silent.as_fd())],
            vec![],
            ["does not listen", "Accept=no"],
        ),
        (
            vec![("web", tcp.as_fd()), second("operator")],
            vec![],
            ["LISTEN_FDNAMES", "`public`"],
        ),
        (
            vec![public, second("public")],
            vec![],
            ["LISTEN_FDNAMES", "each once"],
        ),
        (
            vec![public],
            vec![("PORT", "1")],
            ["BIND_ADDR, PORT", "ListenStream="],
        ),
        (
            vec![public],
            vec![("BIND_ADDR", "127.0.0.2")],
            ["BIND_ADDR, PORT", "127.0.0.2"],
        ),
        (
            vec![("operator", tcp.as_fd())],
            vec![("OPERATOR_ADDR", "127.0.0.1:1")],
            ["OPERATOR_ADDR", &at],
        ),
        (vec![public], vec![("REUSE_PORT", "on")], ["REUSE_PORT", "unset"]),
        (
            vec![],
            vec![("LISTEN_FDS", "1"), ("LISTEN_PID", "1")],
            ["LISTEN_PID", "exec"],
        ),
    ];
    for (sockets, changes, expect) in rows {
        for command in ["serve", "check"] {
            let mut launch = world.launch(&changes).arg(command);
            if !sockets.is_empty() {
                launch = launch.sockets(&sockets);
            }
            let finished = launch.finish().await;
            let said = finished.stderr.join("\n");
            report.equal(format!("{command} {expect:?}: {said}"), finished.code, Some(78));
            let says = expect.iter().all(|part| said.contains(part));
            report.holds(format!("{command} {expect:?}: {said}"), says);
        }
    }
    report.finish();
}

/// The next messages of the gateway up to one that begins like this.
async fn told(manager: &UnixDatagram, begin: &str) -> String {
    until(begin, async || {
        let mut message = [0; 512];
        let length = manager.recv(&mut message).ok()?;
        let message = String::from_utf8_lossy(&message[..length]).into_owned();
        message.starts_with(begin).then_some(message)
    })
    .await
}

/// The clock by which a manager tells old reloads from new ones.
fn monotonic_micros() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1000
}

#[tokio::test]
async fn service_manager_hears_of_start_life_reload_and_stop() {
    let world = World::start().await;
    let mut report = Report::default();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("notify");
    let name = format!("caracal-{}", std::process::id());
    let by_path = UnixDatagram::bind(&path).expect("a new socket");
    let by_name = UnixAddress::from_abstract_name(&name).expect("a name");
    let by_name = UnixDatagram::bind_addr(&by_name).expect("a new socket");
    for (address, manager) in [
        (path.display().to_string(), by_path),
        (format!("@{name}"), by_name),
    ] {
        manager.set_nonblocking(true).expect("a socket");
        let variables = [("NOTIFY_SOCKET", address.as_str()), ("WATCHDOG_USEC", "60000")];
        let mut gateway = world.launch(&variables).spawn();
        // From here on it accepts connections.
        told(&manager, "READY=1").await;
        let listens = until("its address", async || gateway.listening()).await;
        report.status("ready", &http::get(listens, "/ready", &[]).await, 200);
        for sign in ["STATUS=ready", "WATCHDOG=1", "WATCHDOG=1"] {
            told(&manager, sign).await;
        }
        let before = monotonic_micros();
        gateway.signal(Signal::HUP);
        let reloading = told(&manager, "RELOADING=1\nMONOTONIC_USEC=").await;
        let since = reloading.rsplit('=').next().and_then(|text| text.parse().ok());
        let since: i64 = since.expect("a number");
        report.holds("when it began", before <= since && since <= monotonic_micros());
        told(&manager, "READY=1").await;
        let log = gateway.log();
        let again = |line: &serde_json::Value| {
            line["msg"]
                .as_str()
                .is_some_and(|text| text.contains("were read again"))
        };
        report.holds("the reload was over", log.iter().any(again));
        gateway.terminate();
        told(&manager, "STOPPING=1").await;
        report.equal("exit status", gateway.wait().await.code(), Some(0));
    }

    // A manager that is gone, or that waits for another process, changes nothing.
    let manager = UnixDatagram::bind(directory.path().join("other")).expect("a new socket");
    manager.set_nonblocking(true).expect("a socket");
    let address = directory.path().join("other").display().to_string();
    let variables = [
        ("NOTIFY_SOCKET", address.as_str()),
        ("WATCHDOG_USEC", "10000"),
        ("WATCHDOG_PID", "1"),
    ];
    let mut gateway = world.launch(&variables).start().await;
    told(&manager, "STATUS=ready").await;
    let mut message = [0; 512];
    report.holds("no sign for another process", manager.recv(&mut message).is_err());
    drop(manager);
    gateway.signal(Signal::HUP);
    gateway
        .logged("the reload", |line| {
            line["msg"]
                .as_str()
                .is_some_and(|text| text.contains("were read again"))
        })
        .await;
    let answer = present_to(gateway.addr(), &world.token(NONE), NONE, "/").await;
    report.status("without a manager", &answer, 200);
    gateway.terminate();
    report.equal("exit status", gateway.wait().await.code(), Some(0));
    report.finish();
}
