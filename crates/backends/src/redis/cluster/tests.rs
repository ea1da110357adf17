use std::time::Duration;

use admission::limits::OwnEndpoint;

use super::{Cluster, Dialer, Host, Primary, View, Word};
use crate::pem::PemTls;
use crate::redis::view::Node;
use crate::redis::{RedisConfig, RedisServers};

/// A cluster that is told what its nodes say.
struct Bench {
    cluster: Cluster,
    dialer: Dialer,
}

/// The address of a node, which has its name.
fn at(name: &str) -> Host {
    (name.to_owned(), 6379)
}

/// Id, name, epoch and slots.
type Said<'a> = (&'a str, &'a str, u64, Option<(u16, u16)>);

/// What a node says: its own id, and all nodes.
fn says(myself: &str, nodes: &[Said<'_>]) -> Word {
    let nodes = nodes.iter().map(|(id, name, epoch, slots)| {
        let (host, port) = at(name);
        let epoch = *epoch;
        Node {
            id: (*id).to_owned(),
            primary: Primary { host, port, epoch },
            slots: slots.iter().map(|(first, last)| *first..=*last).collect(),
        }
    });
    Word::Says(View {
        myself: myself.to_owned(),
        nodes: nodes.collect(),
    })
}

impl Bench {
    fn new(seeds: &[&str]) -> Self {
        let seeds = seeds
            .iter()
            .map(|seed| format!("redis://{seed}").parse().unwrap());
        let seeds: Vec<redis::ConnectionInfo> = seeds.collect();
        let dialer = Dialer::new(&RedisConfig {
            servers: RedisServers::Cluster { seeds: seeds.clone() },
            tls: PemTls::default(),
            dial_timeout: Duration::from_secs(1),
            answer_timeout: Duration::from_secs(1),
        });
        let clients = seeds.into_iter().map(|seed| dialer.client(seed).unwrap());
        let cluster = Cluster::new(clients.collect());
        Self { cluster, dialer }
    }

    fn hears(&self, name: &str, word: Word) {
        self.cluster.heard(&at(name), word, &self.dialer);
    }

    /// Who serves these slots.
    fn serving(&self, slots: &[u16]) -> Vec<String> {
        let topology = self.cluster.topology();
        let topology = topology.borrow();
        let host = |slot: &u16| Some(topology.shard_of(*slot)?.address().0.to_owned());
        slots.iter().map(|slot| host(slot).unwrap_or_default()).collect()
    }

    /// The names that are the gateway's own.
    fn own(&self) -> Vec<String> {
        let name = |endpoint: &OwnEndpoint| match endpoint {
            OwnEndpoint::Host(name, _) => name.clone(),
            OwnEndpoint::Net(net, _) => net.to_string(),
        };
        self.dialer.endpoints().borrow().iter().map(name).collect()
    }
}

#[test]
fn nothing_is_said_before_every_node_was_asked_and_those_that_leave_are_forgotten() {
    let bench = Bench::new(&["a"]);
    let all = [
        ("a", "a", 1, Some((0, 9))),
        ("b", "b", 2, Some((10, 19))),
        ("c", "c", 1, None),
    ];
    bench.hears("a", says("a", &all));
    assert_eq!(bench.own(), ["a", "b", "c"], "replicas, too");
    assert_eq!(bench.serving(&[0, 10]), ["", ""]);
    bench.hears("b", says("b", &all));
    bench.hears("c", Word::Silent(super::Cause::new("gone")));
    assert_eq!(bench.serving(&[0, 10]), ["a", "b"]);
    for name in ["a", "b"] {
        bench.hears(name, says(name, &all[..2]));
    }
    assert_eq!(bench.own(), ["a", "b"]);
}

#[test]
fn node_of_another_cluster_at_a_known_address_misleads_nobody() {
    let bench = Bench::new(&["a"]);
    let all = [("a", "a", 1, Some((0, 9))), ("b", "b", 2, Some((10, 19)))];
    bench.hears("a", says("a", &all));
    bench.hears("b", says("b", &all));
    let other = [("z", "b", 1000, Some((0, 19))), ("y", "y", 999, None)];
    bench.hears("b", says("z", &other));
    assert_eq!(bench.serving(&[0, 10]), ["a", "b"]);
    assert_eq!(bench.own(), ["a", "b"]);
    // Once the others have it among them it counts.
    bench.hears("a", says("a", &[all[0], ("z", "b", 3, Some((10, 19)))]));
    bench.hears("b", says("z", &[all[0], ("z", "b", 4, Some((9, 19)))]));
    assert_eq!(bench.serving(&[0, 9, 10]), ["a", "b", "b"]);
}
