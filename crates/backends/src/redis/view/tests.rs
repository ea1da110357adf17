use redis::Value;

use super::View;

fn bulk(text: &str) -> Value {
    Value::BulkString(text.as_bytes().to_vec())
}

/// A range of `CLUSTER SLOTS` with these servers: name, and id.
fn range(servers: &[(Value, &str)]) -> Vec<Value> {
    let servers = servers.iter().map(|(name, id)| {
        Value::Array(vec![
            name.clone(),
            Value::Int(6379),
            bulk(id),
            Value::Array(vec![]),
        ])
    });
    [Value::Int(0), Value::Int(1)]
        .into_iter()
        .chain(servers)
        .collect()
}

/// Id, host, port, epoch and slots of each node.
fn shown(view: &View) -> Vec<String> {
    view.nodes
        .iter()
        .map(|node| {
            let (host, port) = node.primary.address();
            format!(
                "{} {host} {port} {} {:?}",
                node.id, node.primary.epoch, node.slots
            )
        })
        .collect()
}

#[test]
fn view_holds_everybody_who_can_be_reached() {
    let nodes = "\
        a 10.0.0.1:6379@16379,,tls-port=0,shard-id=x myself,master - 0 0 1 connected 0-5460 5462 [5461->-b] [9-<-b]\n\
        b ::1:7000@17000 master,fail? - 0 0 2 connected 5461\n\
        c 10.0.0.3:6379@16379,c.example slave b 0 0 2 connected\n\
        d :0@0 master,fail,noaddr - 0 0 3 disconnected 10000\n\
        e 10.0.0.5:6379@16379 handshake - 0 0 0 connected\n";
    let view = View::read(nodes, &[], "seed").unwrap();
    assert_eq!(view.myself, "a");
    assert_eq!(
        shown(&view),
        [
            "a 10.0.0.1 6379 1 [0..=5460, 5462..=5462]",
            "b ::1 7000 2 [5461..=5461]",
            "c 10.0.0.3 6379 2 []",
        ]
    );
    assert!(view.names("c", &("10.0.0.3".to_owned(), 6379)));
    assert!(!view.names("c", &("10.0.0.1".to_owned(), 6379)));
}

#[test]
fn nodes_are_called_as_the_cluster_prefers() {
    let nodes = "\
        a :6379@16379,a.example myself,master - 0 0 1 connected 0\n\
        b 10.0.0.2:6379@16379,b.example master - 0 0 2 connected 1\n\
        c 10.0.0.3:6379@16379 slave b 0 0 2 connected\n\
        d 10.0.0.4:6379@16379 slave b 0 0 2 connected\n";
    let slots = [range(&[
        (bulk("b.example"), "b"),
        (Value::Nil, "c"),
        (bulk("?"), "d"),
    ])];
    let view = View::read(nodes, &slots, "seed").unwrap();
    assert_eq!(
        shown(&view),
        [
            "a seed 6379 1 [0..=0]",
            "b b.example 6379 2 [1..=1]",
            "c seed 6379 2 []",
        ]
    );
}

#[test]
fn answers_that_make_no_sense_are_refused() {
    for nodes in [
        "",
        "a",
        "a 10.0.0.1:6379@16379 master - 0 0 1 connected 0-1",
        "a 10.0.0.1:port@1 myself,master - 0 0 1 connected 0-1",
        "a 10.0.0.1:6379@1 myself,master - 0 0 epoch connected 0-1",
        "a 10.0.0.1:6379@1 myself,master - 0 0 1 connected 0-16384",
        "a 10.0.0.1:6379@1 myself,master - 0 0 1 connected x",
    ] {
        assert!(View::read(nodes, &[], "seed").is_err(), "{nodes}");
    }
}
