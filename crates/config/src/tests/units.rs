//! The unit files in `docs/operations.md` against what the gateway takes.

use std::collections::BTreeMap;

use super::fixture::{Files, load, production, with};
use crate::keys;

/// The settings of the unit files, by file name and by name. None stands twice.
fn units() -> BTreeMap<String, BTreeMap<String, String>> {
    let page =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operations.md")).unwrap();
    let fences = page.split("```ini\n").skip(1);
    let units = fences.map(|fence| {
        let text = fence.split("```").next().unwrap();
        let path = text
            .lines()
            .next()
            .and_then(|line| line.strip_prefix("# "))
            .unwrap();
        let settings = text.lines().filter_map(|line| line.split_once('='));
        let settings: Vec<_> = settings
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let by_name: BTreeMap<_, _> = settings.iter().cloned().collect();
        assert_eq!(by_name.len(), settings.len(), "{path}");
        (path.rsplit('/').next().unwrap().to_owned(), by_name)
    });
    units.collect()
}

#[test]
fn the_unit_files_of_the_documentation_fit_the_settings() {
    let units = units();
    let (socket, service) = (
        &units["caracal-gateway.socket"],
        &units["caracal-gateway.service"],
    );
    assert_eq!(units.len(), 2);
    let here = std::process::id().to_string();
    let seconds: u64 = service["WatchdogSec"].parse().unwrap();
    let microseconds = (seconds * 1_000_000).to_string();
    // What systemd makes of the two.
    let set = [
        ("LISTEN_FDS", "1"),
        ("LISTEN_PID", &here),
        ("LISTEN_FDNAMES", &socket["FileDescriptorName"]),
        ("NOTIFY_SOCKET", "/run/systemd/notify"),
        ("WATCHDOG_PID", &here),
        ("WATCHDOG_USEC", &microseconds),
    ];
    let mut declared: Vec<_> = keys::manager::SERVICE_MANAGER
        .keys
        .iter()
        .map(|key| key.name)
        .collect();
    declared.sort_unstable();
    let mut names = set.map(|(name, _)| name);
    names.sort_unstable();
    assert_eq!(names.as_slice(), declared);
    let (config, _) = load(&with(production(&Files::new()), &set)).unwrap();
    assert!(config.manager.notify.is_some() && config.manager.watchdog.is_some());
    assert_ne!(config.manager.sockets, crate::Sockets::default());
    assert_eq!(service["Type"], "notify-reload");
    assert_eq!(service["Sockets"], "caracal-gateway.socket");
    assert_eq!(socket["ListenStream"], config.listener.address.port().to_string());
    assert_eq!(
        format!("/var/lib/{}", service["StateDirectory"]),
        config.evidence.directory.display().to_string()
    );
    assert_eq!(service["RestartPreventExitStatus"], "78");
    let stop: u64 = service["TimeoutStopSec"].parse().unwrap();
    let longest = config.life_cycle.drain_delay + config.life_cycle.shutdown_grace;
    assert!(stop > longest.as_secs() + 13, "{stop} s");
    // Longer than the gateway waits for its stores.
    assert!(service["TimeoutStartSec"].parse::<u64>().unwrap() > 30);
}
