use super::{RedisServers, RedisUrl};
use crate::endpoints::tests::show;

fn parse(address: &str) -> Result<RedisUrl, String> {
    RedisUrl::parse(address).map_err(|violation| violation.to_string())
}

#[test]
fn redis_addresses_name_their_servers_or_a_socket() {
    for (address, tls, expect) in [
        ("redis://redis", false, &["redis 6379"][..]),
        (
            "redis://:p@ss@Redis.Example.:6380/1",
            false,
            &["redis.example 6380"],
        ),
        ("rediss://user:p@10.0.0.9/0?x=1", true, &["10.0.0.9/32 6379"]),
        ("rediss://[fd00::1]:7000", true, &["fd00::1/128 7000"]),
        ("redis://[::ffff:10.0.0.1]", false, &["10.0.0.1/32 6379"]),
        ("redis://redis/?protocol=resp3", false, &["redis 6379"]),
        ("unix:///run/redis.sock", false, &[]),
        ("unix:///run/redis.sock?db=1&user=u&pass=p%40w", false, &[]),
        (
            "redis-sentinel://s1:26379,S2,10.0.0.9:7/2?service=main",
            false,
            &["s1 26379", "s2 26379", "10.0.0.9/32 7"],
        ),
        (
            "rediss-sentinel://u:p%2Fw@[fd00::1],s2:1?service=main&protocol=3",
            true,
            &["fd00::1/128 26379", "s2 1"],
        ),
        (
            "redis-cluster://u:p%2Fw@c1,C2:7000,[fd00::1]",
            false,
            &["c1 6379", "c2 7000", "fd00::1/128 6379"],
        ),
        (
            "rediss-cluster://10.0.0.9/0?protocol=resp3",
            true,
            &["10.0.0.9/32 6379"],
        ),
    ] {
        let url = parse(address).unwrap_or_else(|why| panic!("{address}: {why}"));
        assert_eq!(
            (url.tls, show(&url.endpoints.0)),
            (tls, expect.iter().map(ToString::to_string).collect()),
            "{address}"
        );
    }
}

#[test]
fn redis_addresses_that_cannot_be_used_say_why() {
    for (address, expect) in [
        ("redis", "must look like"),
        ("", "must look like"),
        ("http://redis", "must look like"),
        ("redis://", "must look like"),
        ("redis://a,b", "must look like"),
        ("redis://host:port", "must look like"),
        ("redis://host:0", "must look like"),
        ("redis://0.0.0.0", "must look like"),
        ("redis://[::1", "must look like"),
        ("redis://[zz]", "must look like"),
        ("redis://[::1]x", "must look like"),
        ("redis://redis/?protocol=4", "must look like"),
        ("redis://redis/abc", "number from 0 up"),
        ("redis://redis/-1", "number from 0 up"),
        ("redis://redis/1/2", "number from 0 up"),
        ("redis://redis/4294967296", "number from 0 up"),
        ("redis://redis/?protocol=resp3&db=5", "in the path"),
        ("rediss://redis/#insecure", "remove #insecure"),
        ("redis://:pa/ss@redis:6379/0", "percent-encoded"),
        ("redis://user:12/ss@redis:6379/0", "percent-encoded"),
        ("redis://user:12?ss@redis:6379/0", "percent-encoded"),
        ("redis://user:12#ss@redis:6379/0", "percent-encoded"),
        ("redis://:50%ff@redis", "percent-encoded"),
        ("unix://", "must look like"),
        ("unix:///run/redis.sock?db=x", "number from 0 up"),
        ("unix:///run/redis.sock?db=-1", "number from 0 up"),
        (
            "unix://:pw@/run/redis.sock",
            "unix:///path?user=NAME&pass=PASSWORD&db=0",
        ),
        (
            "unix://run/redis.sock",
            "unix:///path?user=NAME&pass=PASSWORD&db=0",
        ),
        ("redis-sentinel://s1,s2/0", "?service=NAME"),
        ("redis-sentinel://s1/0?service=", "?service=NAME"),
        ("redis-sentinel://s1/0?service=m&db=1", "in the path"),
        (
            "redis-sentinel://s1/0?service=m&sentinel=x",
            "service and protocol are",
        ),
        ("redis-sentinel://s1,,s2/0?service=m", "must look like"),
        ("redis-sentinel:///0?service=m", "must look like"),
        ("redis-sentinel://:p/w@s1/0?service=m", "percent-encoded"),
        ("redis-sentinel://s1/x?service=m", "number from 0 up"),
        ("redis-cluster://", "must look like"),
        ("redis-cluster://c1,,c2", "must look like"),
        ("redis-cluster://:p/w@c1", "percent-encoded"),
        ("redis-cluster://c1,c2/1", "only database 0"),
        ("redis-cluster://c1/x", "number from 0 up"),
        ("redis-cluster://c1?db=0", "in the path"),
        ("redis-cluster://c1?service=m", "protocol is"),
        ("rediss-cluster://c1#insecure", "remove #insecure"),
    ] {
        let why = parse(address).err().unwrap_or_default();
        assert!(
            why.starts_with("REDIS_URL ") && why.contains(expect),
            "{address}: {why}"
        );
    }
}

#[test]
fn sentinel_login_is_not_the_login_at_the_primary() {
    let url = parse("redis-sentinel://app:secret@s1,s2/3?service=main").unwrap();
    let RedisServers::Sentinel {
        sentinels,
        service,
        primary,
    } = url.clone().servers
    else {
        panic!("sentinels")
    };
    assert_eq!((sentinels.len(), service.as_str()), (2, "main"));
    assert_eq!(
        (primary.username(), primary.password(), primary.db()),
        (Some("app"), Some("secret"), 3)
    );
    for sentinel in &sentinels {
        let login = sentinel.redis_settings();
        assert_eq!((login.username(), login.password(), login.db()), (None, None, 0));
    }
    let RedisServers::Sentinel { sentinels, .. } = url.sentinel_login(Some("watcher"), "other").servers
    else {
        panic!("sentinels")
    };
    for sentinel in &sentinels {
        let login = sentinel.redis_settings();
        assert_eq!(
            (login.username(), login.password()),
            (Some("watcher"), Some("other"))
        );
    }
}

#[test]
fn login_of_a_cluster_is_that_of_every_node() {
    let url = parse("rediss-cluster://app:secret@c1,c2:7000?protocol=resp3").unwrap();
    let RedisServers::Cluster { seeds } = url.servers else {
        panic!("a cluster")
    };
    let shown: Vec<_> = seeds.iter().map(|seed| seed.addr().to_string()).collect();
    assert_eq!(shown, ["c1:6379", "c2:7000"]);
    for seed in &seeds {
        let login = seed.redis_settings();
        assert_eq!(
            (login.username(), login.password(), login.db()),
            (Some("app"), Some("secret"), 0)
        );
        assert_eq!(login.protocol(), redis::ProtocolVersion::RESP3);
    }
}

proptest::proptest! {
    #[test]
    fn no_address_panics(text in "\\PC*", scheme in "(redis|rediss|unix|redis-sentinel|redis-cluster)") {
        let _ = RedisUrl::parse(&format!("{scheme}://{text}"));
    }
}
