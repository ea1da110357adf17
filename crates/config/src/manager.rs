//! What the service manager that started the process says: the sockets that it bound, and where it wants to be told.

use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use listenfd::ListenFd;

use crate::keys::manager as keys;
use crate::listener::Listener;
use crate::reader::{Read, Reader};
use crate::violation::Violation;

/// The first descriptor that is handed over (`sd_listen_fds(3)`).
const FIRST_DESCRIPTOR: usize = 3;
/// The names of sockets.
const PUBLIC: &str = "public";
const OPERATOR: &str = "operator";

/// What the service manager said of this process; nothing where there is none.
#[derive(Clone, Debug, Default)]
pub struct ServiceManager {
    /// The listening sockets that it hands over.
    pub sockets: Sockets,
    /// Where it wants to be told what the process does.
    pub notify: Option<NotifySocket>,
    /// After how long without a sign of life it takes this process for dead.
    pub watchdog: Option<Duration>,
}

/// Which of the sockets that are handed over is which, by their places. They are still to be taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sockets {
    public: Option<usize>,
    operator: Option<usize>,
}

/// Sockets that were handed over. Whether they listen, and where, is still to be judged.
#[derive(Debug, Default)]
pub struct HandedOver {
    /// Where callers connect.
    pub public: Option<TcpListener>,
    /// Where the operator does.
    pub operator: Option<TcpListener>,
}

/// A socket that was handed over cannot be used. Its `Display` names the socket and the fix.
#[derive(Debug, thiserror::Error)]
#[error(
    "the socket that was handed over as `{name}` (descriptor {descriptor}) is not a TCP socket: {problem}; \
    set ListenStream= in its .socket unit to a port, or to an IP address and a port"
)]
pub struct HandedOverError {
    name: &'static str,
    descriptor: usize,
    problem: String,
}

/// The address of a Unix datagram socket (`NOTIFY_SOCKET`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotifySocket {
    /// In the file system.
    Path(PathBuf),
    /// In the abstract name space of Linux.
    Abstract(String),
}

impl ServiceManager {
    pub(crate) fn read(reader: &mut Reader<'_>, listener: Option<&Listener>) -> Read<Self> {
        let sockets = Sockets::read(reader);
        let notify = reader.parsed(
            &keys::NOTIFY_SOCKET,
            "an absolute path, or @ and a name",
            NotifySocket::parse,
        );
        let pid = reader.optional_number(&keys::WATCHDOG_PID);
        let watchdog = reader.optional_number(&keys::WATCHDOG_USEC);
        let sockets = sockets.and_then(|sockets| match listener {
            Some(Listener { reuses_port: true, .. }) if sockets.public.is_some() => {
                Err(reader.report(Violation::Rule(
                    "REUSE_PORT=on is for a port that the gateway binds itself, and LISTEN_FDS hands one over; unset REUSE_PORT",
                )))
            }
            _ => Ok(sockets),
        });
        let is_ours = pid?.is_none_or(is_this_process);
        Ok(Self {
            sockets: sockets?,
            notify: notify?,
            watchdog: watchdog?.filter(|_| is_ours).map(Duration::from_micros),
        })
    }
}

fn is_this_process(pid: u64) -> bool {
    pid == u64::from(std::process::id())
}

impl Sockets {
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        let count = reader.count_or_zero(&keys::LISTEN_FDS);
        let pid = reader.optional_number(&keys::LISTEN_PID);
        let names = reader.text(&keys::LISTEN_FDNAMES);
        let (count, pid, names) = (count?, pid?, names?);
        if count == 0 {
            return Ok(Self::default());
        }
        if !pid.is_some_and(is_this_process) {
            return Err(reader.report(Violation::Rule(
                "LISTEN_FDS hands sockets over, but LISTEN_PID does not name this process; start the gateway as the unit's \
                main process (in a script, with exec), or unset LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES",
            )));
        }
        let names = names.unwrap_or_default();
        reader.judge(Self::named(count, &names).ok_or_else(|| {
            let expected = format!(
                "as many names as sockets, {count}, of `{PUBLIC}` and `{OPERATOR}`, each once: FileDescriptorName= of the .socket \
                unit, whose one ListenStream= takes IPv4 and IPv6"
            );
            Violation::invalid("value", &keys::LISTEN_FDNAMES, &names, expected)
        }))
    }

    /// Which is which; `None` where that is not clear.
    fn named(count: u32, names: &str) -> Option<Self> {
        let names: Vec<&str> = names.split(':').collect();
        if count == 1 && names != [OPERATOR] {
            return Some(Self {
                public: Some(0),
                operator: None,
            });
        }
        let all_known = names.iter().all(|name| [PUBLIC, OPERATOR].contains(name));
        let place = |wanted| {
            let mut places = (0..names.len()).filter(|&place| names[place] == wanted);
            (places.next(), places.next().is_none())
        };
        let ((public, public_once), (operator, operator_once)) = (place(PUBLIC), place(OPERATOR));
        let is_clear = all_known && public_once && operator_once && names.len() == count as usize;
        is_clear.then_some(Self { public, operator })
    }

    /// Takes them, for this process alone: no child gets them. They are there once, and are to be taken before
    /// other threads have anything to do.
    ///
    /// # Errors
    /// One is not a TCP socket.
    pub fn take(&self) -> Result<HandedOver, HandedOverError> {
        if *self == Self::default() {
            return Ok(HandedOver::default());
        }
        let mut handed = ListenFd::from_env();
        let mut take = |name, place: Option<usize>| {
            let Some(place) = place else { return Ok(None) };
            let taken = handed.take_tcp_listener(place);
            taken.map_err(|error| HandedOverError {
                name,
                descriptor: FIRST_DESCRIPTOR + place,
                problem: error.to_string(),
            })
        };
        Ok(HandedOver {
            public: take(PUBLIC, self.public)?,
            operator: take(OPERATOR, self.operator)?,
        })
    }
}

impl NotifySocket {
    fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix('@') {
            Some("") => None,
            Some(name) => Some(Self::Abstract(name.to_owned())),
            None if text.starts_with('/') => Some(Self::Path(text.into())),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::fixture::{Files, load, production, violations, with};

    #[test]
    fn sockets_are_told_apart_by_their_names() {
        let sockets = |public, operator| Some(Sockets { public, operator });
        for (count, names, expect) in [
            (1, "", sockets(Some(0), None)),
            (1, "caracal-gateway.socket", sockets(Some(0), None)),
            (1, "public", sockets(Some(0), None)),
            (1, "operator", sockets(None, Some(0))),
            (2, "public:operator", sockets(Some(0), Some(1))),
            (2, "operator:public", sockets(Some(1), Some(0))),
            (2, "", None),
            (2, "public", None),
            (2, "public:public", None),
            (2, "operator:operator", None),
            (2, "public:metrics", None),
            (2, "public:operator:public", None),
            (3, "public:operator:", None),
        ] {
            assert_eq!(Sockets::named(count, names), expect, "{count} {names:?}");
        }
    }

    #[test]
    fn sockets_for_another_process_or_beside_a_shared_port_are_refused() {
        let files = Files::new();
        let here = std::process::id().to_string();
        let said = |changes: &[(&str, &str)]| violations(&with(production(&files), changes)).join("\n");
        assert_eq!(said(&[("LISTEN_FDS", "1"), ("LISTEN_PID", &here)]), "");
        assert_eq!(said(&[("LISTEN_FDS", "0"), ("LISTEN_PID", "1")]), "");
        for pid in ["", "1"] {
            let said = said(&[("LISTEN_FDS", "1"), ("LISTEN_PID", pid)]);
            assert!(said.contains("LISTEN_PID does not name this process"), "{said}");
        }
        let twice = said(&[
            ("LISTEN_FDS", "2"),
            ("LISTEN_PID", &here),
            ("LISTEN_FDNAMES", "web:web"),
        ]);
        assert!(
            twice.contains("LISTEN_FDNAMES") && twice.contains("\"web:web\""),
            "{twice}"
        );
        let shared = said(&[("LISTEN_FDS", "1"), ("LISTEN_PID", &here), ("REUSE_PORT", "on")]);
        assert!(shared.contains("unset REUSE_PORT"), "{shared}");
    }

    #[test]
    fn the_manager_is_told_at_a_path_or_an_abstract_name() {
        let path = NotifySocket::Path("/run/notify".into());
        for (text, expect) in [
            ("/run/notify", Some(path)),
            ("@a/b", Some(NotifySocket::Abstract("a/b".to_owned()))),
            ("@", None),
            ("notify", None),
            ("vsock:2:1234", None),
        ] {
            assert_eq!(NotifySocket::parse(text), expect, "{text}");
        }
    }

    #[test]
    fn the_watchdog_waits_for_the_process_that_it_names() {
        let files = Files::new();
        let here = std::process::id().to_string();
        let hour = Duration::from_secs(3600);
        for (pid, expect) in [("", Some(hour)), (here.as_str(), Some(hour)), ("1", None)] {
            let changes = [("WATCHDOG_USEC", "3600000000"), ("WATCHDOG_PID", pid)];
            let (config, _) = load(&with(production(&files), &changes)).unwrap();
            assert_eq!(config.manager.watchdog, expect, "{pid:?}");
        }
    }
}
