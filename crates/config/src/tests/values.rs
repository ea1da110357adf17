//! From a value's text to the configuration: what is refused, what is meant, and what holds by default.

use admission::exchange::Dialect;
use admission::limits::{OnReplayOutage, PrivateUpstreams};
use admission::mode::Mode;

use super::fixture::{Changes, Files, dev, load, now, production, violations, with};
use crate::endpoints::tests::show;
use crate::keys::Preset;
use crate::{Config, Fsync, LaxFlag, LogLevel, MetricsAccess, Stores, StsTransport, Transport, Warning};

#[test]
fn an_empty_variable_counts_as_unset() {
    let files = Files::new();
    let base = production(&files);
    let env = crate::keys::all().fold(base.clone(), |env, key| {
        if crate::Env::get(&base, key.name).is_some() {
            env
        } else {
            env.with(key.name, "")
        }
    });
    let env = env.with("REDIS_URL_FILE", "");
    assert_eq!(format!("{:?}", load(&env)), format!("{:?}", load(&base)));
    assert_eq!(violations(&env), [""; 0]);
}

#[test]
fn the_defaults_are_those_of_the_table() {
    let files = Files::new();
    let (config, warnings) = load(&production(&files)).unwrap();
    assert_eq!(warnings, []);
    let Config {
        listener,
        timeouts,
        capacity,
        gates,
        evidence,
        operator,
        life_cycle,
        ..
    } = &config;
    let shown = format!(
        "{timeouts:?} {capacity:?} {life_cycle:?} {evidence:?} {:?}",
        gates.limits
    );
    for part in [
        "read_header: 5s, read: 30s, write: 60s, idle: 120s, upstream: 30s, stream_idle: Some(60s), sse_keepalive: None, sts: 5s, replay: 500ms",
        "connections: 10000, inflight_requests: 5000, connections_per_source: 2048",
        "drain_delay: 2s, shutdown_grace: 14s",
        r#"directory: "/var/lib/caracal/audit-replay", checkpoint_key: None, fsync: Interval, fsync_timeout: 2s, max_bytes: 1073741824, stream_max_len: 0, denials_per_second: 100"#,
        r#"max_request_bytes: 10485760, preflight_window: 35s, reusable_uses: ReusableUses(["session", "ambient"]), upgrades: Upgrades(["websocket"])"#,
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    assert_eq!(gates.revocation_snapshot_max_age.as_secs(), 300);
    assert!(matches!(gates.on_replay_outage, OnReplayOutage::Refuse));
    assert_eq!(listener.address.to_string(), "[::]:8081");
    assert!(matches!(listener.transport, Transport::Tls(_)));
    assert_eq!(listener.trusted_proxies, []);
    assert_eq!(
        (config.sts.dialect, config.sts.max_inflight.get()),
        (Dialect::Caracal, 512)
    );
    assert!(matches!(config.sts.transport, StsTransport::Https));
    assert_eq!(config.egress.private, PrivateUpstreams::Blocked);
    assert!(matches!(operator.metrics, MetricsAccess::Closed));
    assert!(operator.admin_token.is_none() && operator.address.is_none());
    assert_eq!(operator.log_level, LogLevel::Info);
    let Stores::External(stores) = &config.stores else {
        panic!("serve never embeds")
    };
    let shown = format!("{stores:?}");
    for part in [
        "dial_timeout: 5s, read_timeout: 3s",
        "max_connections: 20, max_lifetime: 1800s, connect_timeout: 10s",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    // Accepted without effect, with the defaults of the installations that set them.
    for (name, expect) in [
        ("REDIS_WRITE_TIMEOUT", "3s"),
        ("REDIS_POOL_SIZE", "20"),
        ("REDIS_POOL_TIMEOUT", "4s"),
        ("DB_MIN_CONNS", "2"),
        ("DB_MAX_CONN_IDLE", "5m"),
        ("DB_HEALTH_CHECK_PERIOD", "30s"),
    ] {
        let key = crate::keys::all().find(|key| key.name == name).unwrap();
        assert!(
            matches!(key.default, Preset::Value(value) if value == expect),
            "{name}"
        );
        assert!(
            key.meaning
                .starts_with("Accepted so that existing installations start"),
            "{name}"
        );
    }
}

#[test]
fn a_bind_address_that_was_set_is_told_from_the_default() {
    for (value, default) in [
        (None, true),
        (Some(""), true),
        (Some("[::]"), false),
        (Some("0.0.0.0"), false),
    ] {
        let env = value.map_or_else(dev, |value| dev().with("BIND_ADDR", value));
        let (config, _) = load(&env).unwrap();
        assert_eq!(config.listener.address_is_default, default, "{value:?}");
    }
}

#[test]
fn values_reach_the_config() {
    let env = with(
        dev(),
        &[
            ("BIND_ADDR", "127.0.0.1"),
            ("PORT", "0"),
            ("STREAM_IDLE_TIMEOUT", "0"),
            ("SSE_KEEPALIVE", "1h"),
            ("OVERLOAD_DELAY", "0"),
            ("REUSABLE_MANDATE_USES", "none"),
            ("ALLOW_UPGRADES", "Off"),
            ("STS_DIALECT", "rfc8693"),
            ("AUDIT_FSYNC", "always"),
            ("LOG_LEVEL", "debug"),
            ("OPERATOR_ADDR", "127.0.0.1:9090"),
            ("METRICS_BEARER", "m"),
            ("CARACAL_ADMIN_TOKEN", "a"),
            ("UPSTREAM_HOST_ALLOWLIST", " API.Example., b.example ,"),
            ("UPSTREAM_H2C_HOSTS", "GRPC.example.,[fd00::1]"),
            ("ALLOW_PRIVATE_UPSTREAMS", "true"),
            ("JTI_FAIL_OPEN", "true"),
            ("DRAIN_DELAY", "1s"),
        ],
    );
    let (config, warnings) = load(&env).unwrap();
    assert_eq!(config.listener.address.to_string(), "127.0.0.1:0");
    assert_eq!(config.timeouts.stream_idle, None);
    assert_eq!(
        config.timeouts.sse_keepalive.map(|interval| interval.as_secs()),
        Some(3600)
    );
    assert_eq!(config.capacity.overload_delay, None);
    assert!(!config.gates.limits.reusable_uses.contains("session"));
    assert!(!config.gates.limits.upgrades.contains("websocket"));
    assert_eq!(config.sts.dialect, Dialect::Rfc8693);
    assert_eq!(config.evidence.fsync, Fsync::Always);
    assert_eq!(config.operator.log_level, LogLevel::Debug);
    assert!(matches!(&config.operator.metrics, MetricsAccess::Bearer(bearer) if bearer.expose() == "m"));
    assert_eq!(
        config.operator.admin_token.as_ref().map(crate::Secret::expose),
        Some("a")
    );
    assert_eq!(config.egress.allowlist, ["api.example", "b.example"]);
    assert_eq!(config.egress.h2c_hosts, ["grpc.example", "fd00::1"]);
    assert_eq!(config.egress.private, PrivateUpstreams::Allowed);
    assert!(matches!(config.gates.on_replay_outage, OnReplayOutage::Pass(_)));
    assert_eq!(config.life_cycle.drain_delay.as_secs(), 1);
    assert_eq!(
        warnings,
        [
            Warning::Lax(LaxFlag::InsecureHttp),
            Warning::Lax(LaxFlag::JtiFailOpen)
        ]
    );
    let keys = &config.signing;
    for key in [&keys.streams, &keys.audit, &keys.exchange] {
        assert_eq!(key.as_bytes().len(), 32);
    }
}

#[test]
fn dev_opens_metrics_and_drains_without_delay() {
    let (config, _) = load(&dev()).unwrap();
    assert!(matches!(config.operator.metrics, MetricsAccess::Open(_)));
    assert!(config.life_cycle.drain_delay.is_zero());
    assert!(matches!(config.listener.transport, Transport::Plain(_)));
}

#[test]
fn each_lax_flag_is_a_warning() {
    let every = with(
        dev(),
        &[
            ("INSECURE_STS", "true"),
            ("JTI_FAIL_OPEN", "true"),
            ("ALLOW_PRIVATE_UPSTREAMS", "true"),
        ],
    );
    let (_, warnings) = load(&every).unwrap();
    for flag in LaxFlag::ALL {
        let warning = Warning::Lax(flag);
        assert!(warnings.contains(&warning), "{flag:?}");
        assert!(
            warning
                .to_string()
                .starts_with(&format!("{}=true: ", flag.variable()))
        );
    }
    assert_eq!(warnings.len(), LaxFlag::ALL.len());
}

#[test]
fn a_single_use_class_made_reusable_is_a_warning() {
    for (classes, expect) in [
        ("", &[][..]),
        ("none", &[]),
        ("session,ambient", &[]),
        ("Session", &[]),
        ("session,gateway,resource", &["gateway", "resource"]),
    ] {
        let (_, warnings) = load(&dev().with("REUSABLE_MANDATE_USES", classes)).unwrap();
        let lines: Vec<_> = warnings
            .iter()
            .filter(|warning| matches!(warning, Warning::Replayable(_)))
            .map(ToString::to_string)
            .collect();
        let expect = expect
            .iter()
            .map(|class| format!("REUSABLE_MANDATE_USES: mandates of the class \"{class}\" can be replayed"));
        assert_eq!(lines, expect.collect::<Vec<_>>(), "{classes}");
    }
}

#[test]
fn trusted_proxies_are_named_or_taken_from_the_alias() {
    let private = "127.0.0.0/8 ::1/128 10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 fc00::/7";
    let lax = Warning::Lax(LaxFlag::InsecureHttp);
    let rows: [(Changes, &str, &[Warning]); 5] = [
        (
            &[("TRUSTED_PROXIES", "10.1.2.3/8, 192.0.2.7,::1")],
            "10.0.0.0/8 192.0.2.7/32 ::1/128",
            &[],
        ),
        (&[("TRUST_PROXY", "true")], private, &[Warning::TrustProxyAlias]),
        (&[("TRUST_PROXY", "false")], "", &[]),
        (
            &[("TRUST_PROXY", "true"), ("TRUSTED_PROXIES", "192.0.2.7")],
            "192.0.2.7/32",
            &[Warning::TrustProxyIgnored],
        ),
        (
            &[("TRUSTED_PROXIES", "0.0.0.0/0")],
            "0.0.0.0/0",
            &[Warning::TrustsEveryPeer],
        ),
    ];
    for (changes, expect, expect_warnings) in rows {
        let (config, mut warnings) = load(&with(dev(), changes)).unwrap();
        let nets: Vec<String> = config
            .listener
            .trusted_proxies
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(nets.join(" "), expect, "{changes:?}");
        warnings.retain(|warning| *warning != lax);
        assert_eq!(warnings, expect_warnings, "{changes:?}");
    }
}

#[test]
fn the_gateways_own_backends_are_never_upstreams() {
    let env = with(
        dev(),
        &[
            ("STS_URL", "https://sts.example"),
            ("REDIS_URL", "redis://10.0.0.6"),
            ("DATABASE_URL", "postgres://db/caracal"),
            ("AUDIT_ANCHOR_URL", "https://anchor.example"),
        ],
    );
    let (config, _) = load(&env).unwrap();
    assert_eq!(
        show(&config.egress.policy([]).own_endpoints),
        [
            "sts.example 443",
            "10.0.0.6/32 6379",
            "db 5432",
            "anchor.example 443"
        ]
    );
}

#[test]
fn embedded_stores_need_dev_mode_and_no_addresses() {
    let env = with(dev(), &[("REDIS_URL", ""), ("DATABASE_URL", "")]);
    let (config, _) = Config::load_embedded(&env, now()).unwrap();
    assert!(matches!(
        (config.stores, config.mode),
        (Stores::Embedded(_), Mode::Dev(_))
    ));

    let files = Files::new();
    let refused = Config::load_embedded(&production(&files), now()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "gateway config: embedded backends need CARACAL_ENV=dev; use `caracal-gateway serve` in production"
    );
}
