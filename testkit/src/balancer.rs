//! A TCP load balancer.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::net::{Ipv4Addr, SocketAddr};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Hands each connection to the next of its targets, in turn. Ends, with its connections, when dropped.
pub struct Balancer {
    addr: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Balancer {
    /// Listens on a free port of 127.0.0.1 in front of these targets. It takes two descriptors for a connection, so this
    /// process may open as many as the system lets it from now on.
    pub async fn start(targets: Vec<SocketAddr>) -> Self {
        let limit = getrlimit(Resource::Nofile);
        let raised = Rlimit {
            current: limit.maximum,
            ..limit
        };
        setrlimit(Resource::Nofile, raised).expect("a soft limit up to the hard one");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a free port");
        let addr = listener.local_addr().expect("the address of a listener");
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            for target in targets.into_iter().cycle() {
                let Ok((mut client, _)) = listener.accept().await else {
                    continue;
                };
                while connections.try_join_next().is_some() {}
                connections.spawn(async move {
                    if let Ok(mut server) = TcpStream::connect(target).await {
                        // A broken connection is the business of the two ends.
                        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        });
        Self { addr, _tasks: tasks }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

#[cfg(test)]
mod tests {
    use super::Balancer;
    use std::net::Ipv4Addr;
    use tokio::net::{TcpListener, TcpStream};

    #[tokio::test]
    async fn balancer_takes_its_targets_in_turn() {
        let (one, two) = (
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap(),
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap(),
        );
        let targets = vec![one.local_addr().unwrap(), two.local_addr().unwrap()];
        let balancer = Balancer::start(targets).await;
        let mut clients = Vec::new();
        for _ in 0..2 {
            clients.push(TcpStream::connect(balancer.addr()).await.unwrap());
            one.accept().await.unwrap();
            clients.push(TcpStream::connect(balancer.addr()).await.unwrap());
            two.accept().await.unwrap();
        }
    }
}
