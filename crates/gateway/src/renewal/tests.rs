use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;

use config::{Config, MapEnv, ServerTls, Transport};
use parking_lot::Mutex;
use testkit::clock::FixedClock;
use testkit::tls::{Ca, Identity};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};

use super::*;

const NAME: &str = "gateway.example";

/// The chain that is shown, as PEM.
type InUse = Arc<Mutex<String>>;

/// A pair on disk and who watches it, without a task: the test looks.
struct Fixture {
    directory: tempfile::TempDir,
    ca: Ca,
    clock: FixedClock,
    renewal: Renewal,
    in_use: InUse,
    applied: Arc<AtomicUsize>,
}

fn write(path: &Path, pair: &Identity) {
    std::fs::write(path.join("tls.crt"), &pair.certificate).unwrap();
    std::fs::write(path.join("tls.key"), &pair.key).unwrap();
}

fn development() -> Mode {
    Mode::parse("dev").unwrap()
}

/// What the listener is told about a pair in this directory.
fn server(directory: &Path, clock: &FixedClock) -> ServerTls {
    let key = "00".repeat(32);
    let env = [
        ("CARACAL_ENV", "dev"),
        ("STS_URL", "http://sts:8080"),
        ("DATABASE_URL", "host=db"),
        ("REDIS_URL", "redis://redis"),
        ("STREAMS_HMAC_KEY", &key),
        ("AUDIT_HMAC_KEY", &key),
        ("GATEWAY_STS_HMAC_KEY", &key),
    ];
    let env = env
        .iter()
        .fold(MapEnv::new(), |env, (name, value)| env.with(name, *value));
    let env = env
        .with("TLS_CERT_FILE", directory.join("tls.crt"))
        .with("TLS_KEY_FILE", directory.join("tls.key"));
    let named = directory.join("named");
    let env = if named.exists() {
        env.with("TLS_CERT_DIR", named)
    } else {
        env
    };
    let (config, _) = Config::load(&env, wall_clock(clock)).unwrap();
    match config.listener.transport {
        Transport::Tls(server) => *server,
        Transport::Plain(_) => panic!("a certificate is set"),
    }
}

impl Fixture {
    fn new() -> Self {
        let (directory, ca, clock) = (tempfile::tempdir().unwrap(), Ca::new(), FixedClock::default());
        // As Kubernetes mounts a secret: links to a link to the directory of this version.
        let mounted = directory.path();
        std::fs::create_dir(mounted.join("v1")).unwrap();
        write(&mounted.join("v1"), &ca.server(&[NAME]));
        symlink("v1", mounted.join("..data")).unwrap();
        for name in ["tls.crt", "tls.key"] {
            symlink(Path::new("..data").join(name), mounted.join(name)).unwrap();
        }
        let server = server(mounted, &clock);
        let in_use: InUse = Arc::new(Mutex::new(text(&server)));
        let applied = Arc::new(AtomicUsize::new(0));
        let mut renewal = Renewal::new(development(), Arc::new(clock.clone()));
        let (shown, count) = (Arc::clone(&in_use), Arc::clone(&applied));
        renewal.watch(Shown::ToCallers, server, move |server| {
            *shown.lock() = text(server);
            count.fetch_add(1, Ordering::Relaxed);
            Ok(())
        });
        Self {
            directory,
            ca,
            clock,
            renewal,
            in_use,
            applied,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn pair(&self) -> Identity {
        self.ca.server(&[NAME])
    }

    /// Looks this often, and says what is shown then, and how many sets of files cannot be used.
    fn look(&mut self, times: usize) -> (String, usize) {
        for _ in 0..times {
            self.renewal.look(false);
        }
        let unusable = self.renewal.status.figures(UNIX_EPOCH).unusable;
        (self.in_use.lock().clone(), unusable)
    }

    fn counts(&self) -> (u64, u64, usize) {
        let figures = self.renewal.status.figures(UNIX_EPOCH);
        (
            figures.renewed,
            figures.refused,
            self.applied.load(Ordering::Relaxed),
        )
    }
}

fn text(server: &ServerTls) -> String {
    String::from_utf8(server.identity.chain_pem().to_vec()).unwrap()
}

/// Replaces the pair in one of the ways of the field.
fn change(fixture: &Fixture, how: &str, pair: &Identity) {
    let (cert, key) = (fixture.path("tls.crt"), fixture.path("tls.key"));
    match how {
        "in place" => write(fixture.directory.path(), pair),
        "renamed" => {
            for (path, content) in [(key, &pair.key), (cert, &pair.certificate)] {
                let new = path.with_extension("new");
                std::fs::write(&new, content).unwrap();
                std::fs::rename(new, path).unwrap();
            }
        }
        "removed and written" => {
            std::fs::remove_file(&cert).unwrap();
            std::fs::remove_file(&key).unwrap();
            write(fixture.directory.path(), pair);
        }
        "..data swapped" => {
            std::fs::create_dir(fixture.path("v2")).unwrap();
            write(&fixture.path("v2"), pair);
            symlink("v2", fixture.path("..data_tmp")).unwrap();
            std::fs::rename(fixture.path("..data_tmp"), fixture.path("..data")).unwrap();
            std::fs::remove_dir_all(fixture.path("v1")).unwrap();
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_changed_pair_is_in_use_after_the_second_look_however_it_changed() {
    for how in ["in place", "renamed", "removed and written", "..data swapped"] {
        let mut fixture = Fixture::new();
        let before = fixture.look(3).0;
        assert_eq!(fixture.counts(), (0, 0, 0), "{how}: nothing changed");
        let pair = fixture.pair();
        change(&fixture, how, &pair);
        assert_eq!(fixture.look(1), (before, 0), "{how}: it may be half written");
        assert_eq!(fixture.look(1), (pair.certificate.clone(), 0), "{how}");
        fixture.look(3);
        assert_eq!(fixture.counts(), (1, 0, 1), "{how}");
    }
}

#[test]
fn a_pair_that_changes_in_steps_is_never_taken_half() {
    let mut fixture = Fixture::new();
    let before = fixture.look(1).0;
    let pair = fixture.pair();
    let chain = pair.certificate.as_bytes();
    // The chain grows while it is written, and its key follows later; each step between two looks.
    for (file, content) in [
        ("tls.crt", &chain[..0]),
        ("tls.crt", &chain[..chain.len() / 2]),
        ("tls.crt", chain),
        ("tls.key", &pair.key.as_bytes()[..40]),
        ("tls.key", pair.key.as_bytes()),
    ] {
        std::fs::write(fixture.path(file), content).unwrap();
        assert_eq!(fixture.look(1), (before.clone(), 0), "{file} {}", content.len());
    }
    assert_eq!(fixture.look(1), (pair.certificate, 0));
    assert_eq!(fixture.counts(), (1, 0, 1));
}

#[test]
fn a_broken_pair_leaves_the_old_one_in_use_raises_the_alarm_once_and_ends_it() {
    let mut fixture = Fixture::new();
    let before = fixture.look(1).0;
    let key = std::fs::read(fixture.path("tls.key")).unwrap();
    let expired = fixture.ca.expired_server(&[NAME]);
    let other = fixture.pair();
    let key_of_other = Identity {
        certificate: fixture.pair().certificate,
        key: other.key.clone(),
    };
    let mut alarms = 0;
    let health = |fixture: &Fixture| {
        fixture
            .renewal
            .status
            .health(fixture.clock.now().monotonic)
            .fault
            .and_then(|cause| cause.label())
    };
    assert_eq!(health(&fixture), None);
    for (what, break_it) in [("removed", None), ("the key of another", Some(&key_of_other))] {
        match break_it {
            Some(pair) => write(fixture.directory.path(), pair),
            None => std::fs::remove_file(fixture.path("tls.crt")).unwrap(),
        }
        alarms += 1;
        assert_eq!(fixture.look(5), (before.clone(), 1), "{what}");
        assert_eq!(fixture.counts(), (0, alarms, 0), "{what}: said once");
        assert_eq!(health(&fixture), Some("renewal_refused"), "{what}");
    }
    // What is in use comes back, and later a good pair.
    std::fs::write(fixture.path("tls.crt"), &before).unwrap();
    std::fs::write(fixture.path("tls.key"), &key).unwrap();
    assert_eq!(fixture.look(1), (before, 0));
    assert_eq!((health(&fixture), fixture.counts()), (None, (0, alarms, 0)));
    write(fixture.directory.path(), &other);
    assert_eq!(fixture.look(2), (other.certificate, 0));
    // Development takes a pair that has expired, and says so.
    write(fixture.directory.path(), &expired);
    assert_eq!(fixture.look(2), (expired.certificate, 0));
    assert_eq!(health(&fixture), Some("certificate_expired"));
}

#[test]
fn production_refuses_an_expired_pair_and_keeps_the_old_one() {
    let mut fixture = Fixture::new();
    fixture.renewal.mode = Mode::Production;
    let before = fixture.look(1).0;
    write(fixture.directory.path(), &fixture.ca.expired_server(&[NAME]));
    assert_eq!(fixture.look(2), (before, 1));
}

#[test]
fn whoever_asks_gets_what_is_there_at_once() {
    let mut fixture = Fixture::new();
    let pair = fixture.pair();
    write(fixture.directory.path(), &pair);
    fixture.renewal.look(true);
    assert_eq!(
        (fixture.in_use.lock().clone(), fixture.counts()),
        (pair.certificate, (1, 0, 1))
    );
    // Also where no file has changed: what these files do not hold, such as the system's authorities, may have.
    fixture.renewal.look(true);
    assert_eq!(fixture.counts(), (1, 0, 2));
}

#[test]
fn what_cannot_be_put_to_use_is_tried_again() {
    let mut fixture = Fixture::new();
    let server = server(fixture.directory.path(), &FixedClock::default());
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&tries);
    fixture.renewal.watch(Shown::ToServers, server, move |_| {
        let before = counted.fetch_add(1, Ordering::Relaxed);
        if before < 2 {
            Err("no room".to_owned())
        } else {
            Ok(())
        }
    });
    write(fixture.directory.path(), &fixture.pair());
    assert_eq!(fixture.look(3).1, 1);
    assert_eq!(fixture.look(1).1, 0);
    assert_eq!(tries.load(Ordering::Relaxed), 3);
    assert_eq!(fixture.counts().0, 2);
}

/// Counts warnings.
struct Warnings(Arc<AtomicUsize>);

impl<S: tracing::Subscriber> Layer<S> for Warnings {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if *event.metadata().level() == tracing::Level::WARN {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[test]
fn a_certificate_that_expires_soon_is_said_once_a_day_and_measured() {
    const DAY: u64 = 86_400;
    // 1 January 2001, when the expired certificate of the tests ran out.
    const END: u64 = 978_307_200;
    let mut fixture = Fixture::new();
    let warnings = Arc::new(AtomicUsize::new(0));
    let subscriber = tracing_subscriber::registry().with(Warnings(Arc::clone(&warnings)));
    tracing::subscriber::with_default(subscriber, || {
        fixture.clock.set(END - 90 * DAY);
        write(fixture.directory.path(), &fixture.ca.expired_server(&[NAME]));
        fixture.look(2);
        for (now, warned) in [
            (END - 90 * DAY, 0),
            (END - 30 * DAY, 0),
            (END - 30 * DAY + 1, 1),
            (END - 29 * DAY - 1, 1),
            (END - 28 * DAY, 2),
            (END - 1, 3),
            (END + 1, 4),
            (END + DAY - 1, 4),
            (END + DAY + 1, 5),
        ] {
            fixture.clock.set(now);
            fixture.look(2);
            assert_eq!(warnings.load(Ordering::Relaxed), warned, "{now}");
            let figures = fixture.renewal.status.figures(wall_clock(&fixture.clock));
            let left = END.cast_signed() - now.cast_signed();
            assert_eq!(
                (figures.served_seconds_left, figures.shown_seconds_left),
                (Some(left), None)
            );
        }
    });
}

#[test]
fn each_certificate_that_expires_soon_is_said() {
    const DAY: u64 = 86_400;
    const END: u64 = 978_307_200;
    let mut fixture = Fixture::new();
    std::fs::create_dir(fixture.path("named")).unwrap();
    for name in ["a", "b"] {
        let pair = fixture.ca.expired_server(&[name]);
        std::fs::write(
            fixture.path("named").join(format!("{name}.crt")),
            pair.certificate,
        )
        .unwrap();
        std::fs::write(fixture.path("named").join(format!("{name}.key")), pair.key).unwrap();
    }
    fixture.clock.set(END - 90 * DAY);
    let server = server(fixture.directory.path(), &fixture.clock);
    fixture.renewal.watch(Shown::ToCallers, server, |_| Ok(()));
    let warnings = Arc::new(AtomicUsize::new(0));
    let subscriber = tracing_subscriber::registry().with(Warnings(Arc::clone(&warnings)));
    tracing::subscriber::with_default(subscriber, || {
        for (now, warned) in [(END - 30 * DAY, 0), (END - DAY, 2), (END + 1, 4), (END + 2, 4)] {
            fixture.clock.set(now);
            fixture.look(1);
            assert_eq!(warnings.load(Ordering::Relaxed), warned, "{now}");
        }
    });
}

#[tokio::test]
async fn a_look_at_what_does_not_answer_is_an_alarm_and_holds_up_no_start() {
    let mut fixture = Fixture::new();
    // A pipe that nobody writes to takes the place of the key.
    std::fs::remove_file(fixture.path("tls.key")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        fixture.path("tls.key"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    let before = fixture.look(0).0;
    assert_eq!(fixture.look(3), (before, 0), "a pipe is read once");
    assert_eq!(fixture.counts(), (0, 0, 0));
    let status = Arc::clone(&fixture.renewal.status);
    let of = |age| status.health(age).fault.and_then(|cause| cause.label());
    let now = fixture.clock.now().monotonic;
    assert_eq!(of(now + LOOK_OVERDUE - Duration::from_nanos(1)), None);
    assert_eq!(of(now + LOOK_OVERDUE), Some("look_overdue"));
    // The figures are there before the first look, which the task takes.
    status.seen.store(Arc::default());
    let _component = fixture.renewal.component();
    assert!(status.figures(UNIX_EPOCH).served_seconds_left.is_some());
}
