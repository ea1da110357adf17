//! A TCP proxy that breaks connections on command.

use crate::ports::{self, Reserved};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What the proxy does to connections, new and open ones alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Passes every byte on.
    #[default]
    None,
    /// Nothing listens: the kernel refuses new connections. Open ones are cut.
    Refuse,
    /// New connections are accepted and then ignored, and nothing is dialled; open ones are black holes.
    Hang,
    /// A connection is cut after this many bytes from the server, counted from its beginning.
    CutAfter(u64),
    /// Each piece of the server's bytes comes this much later.
    Delay(Duration),
    /// Connections are made, but no byte moves in either direction. Bytes held back flow again after the fault.
    BlackHole,
    /// The server's bytes are replaced by as many others that no protocol knows.
    Garbage,
    /// Open connections are black holes for ever, after the fault too; new ones work. So does a server that lost its
    /// power, and came back.
    Vanish,
    /// Open connections are cut, and new ones lead to another server.
    Elsewhere(SocketAddr),
    /// Open connections stay, and new ones lead to another server.
    Moved(SocketAddr),
}

/// What is in force, and for which connections.
#[derive(Clone, Copy, Debug, Default)]
struct Order {
    fault: Fault,
    /// Counts the changes. A connection is as old as the number that it was accepted under.
    number: u64,
    /// Connections older than this are black holes for ever.
    vanished: u64,
    /// Connections older than this are cut.
    cut: u64,
}

#[derive(Default)]
struct Counts {
    accepted: AtomicU64,
    asked: AtomicU64,
}

/// A proxy on a free port of 127.0.0.1. Ends, with its connections, when dropped.
pub struct FaultProxy {
    port: Reserved,
    order: watch::Sender<Order>,
    listening: watch::Receiver<bool>,
    counts: Arc<Counts>,
    _tasks: JoinSet<()>,
}

impl FaultProxy {
    /// Starts a proxy in front of `target`, without a fault.
    pub async fn start(target: SocketAddr) -> Self {
        let port = ports::port();
        let (order, orders) = watch::channel(Order::default());
        let (listens, listening) = watch::channel(false);
        let counts = Arc::<Counts>::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(port.addr(), target, orders, listens, Arc::clone(&counts)));
        let proxy = Self {
            port,
            order,
            listening,
            counts,
            _tasks: tasks,
        };
        proxy.set(Fault::None).await;
        proxy
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port.port()
    }

    /// Changes the fault. Afterwards the port is open, or closed, as the fault wants it.
    pub async fn set(&self, fault: Fault) {
        self.order.send_modify(|order| {
            order.fault = fault;
            order.number += 1;
            match fault {
                Fault::Vanish => order.vanished = order.number,
                Fault::Elsewhere(_) => order.cut = order.number,
                _ => {}
            }
        });
        let mut listening = self.listening.clone();
        let wanted = fault != Fault::Refuse;
        listening
            .wait_for(|&listens| listens == wanted)
            .await
            .expect("the proxy runs");
    }

    /// How many connections were accepted so far.
    pub fn accepted(&self) -> u64 {
        self.counts.accepted.load(Ordering::SeqCst)
    }

    /// How many pieces of the clients' bytes were taken so far, whatever became of them.
    pub fn asked(&self) -> u64 {
        self.counts.asked.load(Ordering::SeqCst)
    }
}

async fn serve(
    addr: SocketAddr,
    target: SocketAddr,
    mut orders: watch::Receiver<Order>,
    listens: watch::Sender<bool>,
    counts: Arc<Counts>,
) {
    loop {
        let listener = TcpListener::bind(addr).await.expect("the reserved port");
        listens.send_replace(true);
        let mut connections = JoinSet::new();
        loop {
            let for_connection = orders.clone();
            tokio::select! {
                refused = becomes(&mut orders, |order| order.fault == Fault::Refuse) => match refused {
                    Some(_) => break,
                    None => return,
                },
                Ok((client, _)) = listener.accept() => {
                    counts.accepted.fetch_add(1, Ordering::SeqCst);
                    connections.spawn(relay(client, target, for_connection, Arc::clone(&counts)));
                }
            }
            while connections.try_join_next().is_some() {}
        }
        drop(listener);
        connections.shutdown().await;
        listens.send_replace(false);
        if becomes(&mut orders, |order| order.fault != Fault::Refuse)
            .await
            .is_none()
        {
            return;
        }
    }
}

async fn relay(
    client: TcpStream,
    target: SocketAddr,
    mut orders: watch::Receiver<Order>,
    counts: Arc<Counts>,
) {
    let Some(order) = becomes(&mut orders, |order| order.fault != Fault::Hang).await else {
        return;
    };
    let target = match order.fault {
        Fault::Elsewhere(other) | Fault::Moved(other) => other,
        _ => target,
    };
    let Ok(server) = TcpStream::connect(target).await else {
        return;
    };
    // Small pieces are the point of many tests; a failure to say so harms nothing.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let gate = Gate {
        orders: orders.clone(),
        born: order.number,
    };
    tokio::select! {
        () = upstream(from_client, to_server, gate.clone(), &counts) => {}
        () = downstream(from_server, to_client, gate) => {}
        _ = becomes(&mut orders, |now| now.cut > order.number) => {}
    }
}

/// Waits until the order is of this kind; none when the proxy is gone.
async fn becomes(orders: &mut watch::Receiver<Order>, kind: impl FnMut(&Order) -> bool) -> Option<Order> {
    orders.wait_for(kind).await.ok().map(|order| *order)
}

/// What one connection's bytes pass.
#[derive(Clone)]
struct Gate {
    orders: watch::Receiver<Order>,
    /// The number of the order under which the connection was accepted.
    born: u64,
}

impl Gate {
    /// Waits until bytes may move, and tells the fault then; none when the proxy is gone.
    async fn opens(&mut self) -> Option<Fault> {
        let born = self.born;
        let flows =
            |order: &Order| born >= order.vanished && !matches!(order.fault, Fault::Hang | Fault::BlackHole);
        becomes(&mut self.orders, flows).await.map(|order| order.fault)
    }
}

/// Client to server. Returns only on an error: the end of the client's bytes leaves the other direction open.
async fn upstream(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut gate: Gate, counts: &Counts) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let Ok(read) = from.read(&mut buffer).await else {
            return;
        };
        counts.asked.fetch_add(1, Ordering::SeqCst);
        if gate.opens().await.is_none() {
            return;
        }
        if read == 0 {
            let _ = to.shutdown().await;
            return std::future::pending().await;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

/// Server to client, where delays, cuts and garbage happen.
async fn downstream(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut gate: Gate) {
    let mut buffer = vec![0; 16 * 1024];
    let mut passed = 0;
    loop {
        let Ok(read) = from.read(&mut buffer).await else {
            return;
        };
        let Some(fault) = gate.opens().await else {
            return;
        };
        let mut end = read;
        match fault {
            Fault::Delay(time) => tokio::time::sleep(time).await,
            Fault::CutAfter(limit) => {
                let room = usize::try_from(limit.saturating_sub(passed)).unwrap_or(usize::MAX);
                end = read.min(room);
            }
            Fault::Garbage => buffer[..read].fill(0xff),
            _ => {}
        }
        passed += end as u64;
        if to.write_all(&buffer[..end]).await.is_err()
            || end == 0
            || matches!(fault, Fault::CutAfter(n) if passed >= n)
        {
            return;
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
