//! A name server whose every answer the test decides, over UDP and TCP on one port (RFC 1035).

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;

/// The response code of a server that failed.
pub const SERVFAIL: u8 = 2;
/// The response code for a name that does not exist.
pub const NXDOMAIN: u8 = 3;
/// The response code of a server that does not want to answer.
pub const REFUSED: u8 = 5;

/// The query type of IPv6 addresses (RFC 3596 §2.1).
const AAAA: u16 = 28;
const CNAME: u16 = 5;
/// How many ports are tried until one is free for UDP and TCP.
const PORTS: usize = 16;

/// What is said to a question: as many messages as there are, one behind the other.
type Script = Arc<dyn Fn(&Question) -> Vec<Vec<u8>> + Send + Sync>;

/// A name server on loopback. Ends when dropped.
pub struct NameServer {
    /// Where it listens.
    pub addr: SocketAddr,
    state: Arc<State>,
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct State {
    scripts: Mutex<HashMap<String, Script>>,
    asked: Mutex<Vec<(String, bool)>>,
}

/// One question of the gateway.
pub struct Question {
    /// The name in lower case, without the last dot.
    pub name: String,
    /// Whether IPv6 addresses are asked for; else IPv4 ones.
    pub is_six: bool,
    /// Whether it came over TCP.
    pub over_tcp: bool,
    /// How often the same was asked before.
    pub before: usize,
    id: [u8; 2],
    section: Vec<u8>,
}

/// One resource record.
pub struct Record {
    owner: String,
    kind: u16,
    data: Vec<u8>,
    ttl: u32,
}

impl Record {
    /// An address of a name.
    pub fn address(owner: &str, address: &str, ttl: u32) -> Self {
        let (kind, data) = match address.parse().expect("an address") {
            IpAddr::V4(address) => (1, address.octets().to_vec()),
            IpAddr::V6(address) => (AAAA, address.octets().to_vec()),
        };
        let owner = owner.to_owned();
        Self {
            owner,
            kind,
            data,
            ttl,
        }
    }

    /// Another name of what `target` names.
    pub fn alias(owner: &str, target: &str, ttl: u32) -> Self {
        Self {
            owner: owner.to_owned(),
            kind: CNAME,
            data: labels(target),
            ttl,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = labels(&self.owner);
        bytes.extend(self.kind.to_be_bytes());
        bytes.extend([0, 1]);
        bytes.extend(self.ttl.to_be_bytes());
        bytes.extend(length(self.data.len()));
        bytes.extend(&self.data);
        bytes
    }
}

/// A name in the form of a message, not compressed.
fn labels(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).expect("a short label"));
        bytes.extend(label.bytes());
    }
    bytes.push(0);
    bytes
}

fn length(length: usize) -> [u8; 2] {
    u16::try_from(length)
        .expect("a length of two bytes")
        .to_be_bytes()
}

impl Question {
    fn parse(query: &[u8], over_tcp: bool, state: &State) -> Self {
        let (mut at, mut labels) = (12, Vec::new());
        while query[at] != 0 {
            let length = usize::from(query[at]);
            let label = std::str::from_utf8(&query[at + 1..=at + length]);
            labels.push(label.expect("a label").to_ascii_lowercase());
            at += length + 1;
        }
        let (name, is_six) = (labels.join("."), query[at + 2] == 28);
        let mut asked = state.asked.lock().expect("a lock");
        let same = |(known, six): &&(String, bool)| *known == name && *six == is_six;
        let before = asked.iter().filter(same).count();
        asked.push((name.clone(), is_six));
        Self {
            name,
            is_six,
            over_tcp,
            before,
            id: [query[0], query[1]],
            section: query[12..at + 5].to_vec(),
        }
    }

    /// These records, of which those of the other address family are left out.
    pub fn answer(&self, records: &[Record]) -> Vec<u8> {
        let other = if self.is_six { 1 } else { AAAA };
        let records: Vec<_> = records.iter().filter(|record| record.kind != other).collect();
        self.message(0, &records, &[])
    }

    /// A response code, and nothing else.
    pub fn code(&self, code: u8) -> Vec<u8> {
        self.message(code, &[], &[])
    }

    /// No room: to be asked for over TCP.
    pub fn truncated(&self) -> Vec<u8> {
        let mut message = self.code(0);
        message[2] |= 2;
        message
    }

    /// A message with a response code, answers and additional records.
    pub fn message(&self, code: u8, answers: &[&Record], additional: &[&Record]) -> Vec<u8> {
        let mut message = self.id.to_vec();
        message.extend([0x81, 0x80 | code, 0, 1]);
        message.extend(length(answers.len()));
        message.extend([0, 0]);
        message.extend(length(additional.len()));
        message.extend(&self.section);
        let records = answers.iter().chain(additional);
        records.for_each(|record| message.extend(record.bytes()));
        message
    }
}

impl NameServer {
    /// Listens on 127.0.0.1. Every name is `NXDOMAIN`.
    pub async fn start() -> Self {
        for _ in 0..PORTS {
            let udp = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
            let addr = udp.local_addr().expect("an address");
            if let Ok(tcp) = TcpListener::bind(addr).await {
                return Self::serve(udp, tcp);
            }
        }
        panic!("no port is free for both UDP and TCP");
    }

    /// Listens at this address.
    pub async fn at(addr: SocketAddr) -> Self {
        let udp = UdpSocket::bind(addr).await.expect("a free port");
        Self::serve(udp, TcpListener::bind(addr).await.expect("a free port"))
    }

    fn serve(udp: UdpSocket, tcp: TcpListener) -> Self {
        let (addr, state) = (udp.local_addr().expect("an address"), Arc::<State>::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(over_udp(udp, Arc::clone(&state)));
        tasks.spawn(over_tcp(tcp, Arc::clone(&state)));
        Self {
            addr,
            state,
            _tasks: tasks,
        }
    }

    /// From now on a name has these addresses, or, without any, gets no answer.
    pub fn set(&self, name: &str, addresses: &[&str], ttl: u32) {
        let record = |address: &&str| Record::address(name, address, ttl);
        let records: Vec<_> = addresses.iter().map(record).collect();
        self.script(name, move |question| match records.is_empty() {
            true => vec![],
            false => vec![question.answer(&records)],
        });
    }

    /// From now on this is said to each question for a name.
    pub fn script(&self, name: &str, say: impl Fn(&Question) -> Vec<Vec<u8>> + Send + Sync + 'static) {
        let mut scripts = self.state.scripts.lock().expect("a lock");
        scripts.insert(name.to_owned(), Arc::new(say));
    }

    /// How many questions came.
    pub fn asked(&self) -> usize {
        self.state.asked.lock().expect("a lock").len()
    }
}

impl State {
    fn messages(&self, query: &[u8], over_tcp: bool) -> Vec<Vec<u8>> {
        let question = Question::parse(query, over_tcp, self);
        let script = self.scripts.lock().expect("a lock").get(&question.name).cloned();
        script.map_or_else(|| vec![question.code(NXDOMAIN)], |say| say(&question))
    }
}

async fn over_udp(socket: UdpSocket, state: Arc<State>) {
    let mut query = [0; 512];
    while let Ok((length, peer)) = socket.recv_from(&mut query).await {
        for message in state.messages(&query[..length], false) {
            // Who asked may be gone.
            let _ = socket.send_to(&message, peer).await;
        }
    }
}

async fn over_tcp(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        connections.spawn(serve_connection(stream, Arc::clone(&state)));
    }
}

/// Messages with their lengths before them (RFC 1035 §4.2.2), until the other side hangs up.
async fn serve_connection(mut stream: TcpStream, state: Arc<State>) -> std::io::Result<()> {
    loop {
        let mut query = vec![0; stream.read_u16().await?.into()];
        stream.read_exact(&mut query).await?;
        for message in state.messages(&query, true) {
            stream.write_all(&length(message.len())).await?;
            stream.write_all(&message).await?;
        }
    }
}
