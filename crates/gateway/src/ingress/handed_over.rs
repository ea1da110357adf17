//! Listening sockets that the service manager bound (`sd_listen_fds(3)`).

use std::io;
use std::net::{SocketAddr, TcpListener};

use config::HandedOverError;
use socket2::Socket;

use super::listener::{Listener, Port};

/// A socket that was handed over cannot be used. Its `Display` names the socket and the fix.
#[derive(Debug, thiserror::Error)]
pub enum UnusableSocket {
    /// It is not a TCP socket.
    #[error(transparent)]
    NotTcp(#[from] HandedOverError),
    /// It takes no connections.
    #[error(
        "the socket that was handed over as `{0}` does not listen; \
        set ListenStream= and Accept=no in its .socket unit, so that the gateway accepts the connections"
    )]
    NotListening(&'static str),
    /// It listens elsewhere than the settings say.
    #[error(
        "the socket that was handed over as `{name}` listens on {socket}, and {settings} says {setting}; \
        set ListenStream= in its .socket unit to that, or change or unset {settings}"
    )]
    Elsewhere {
        /// Which one it is.
        name: &'static str,
        /// Where it listens.
        socket: SocketAddr,
        /// The variables that say where it should.
        settings: &'static str,
        /// What they say.
        setting: String,
    },
    /// The system refuses to use it.
    #[error("the socket that was handed over as `{0}` cannot be used: {1}")]
    System(&'static str, #[source] io::Error),
}

/// What the settings say of where a socket listens. Port 0 agrees with any.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    /// How the socket is called.
    pub name: &'static str,
    /// The variables.
    pub settings: &'static str,
    /// What they say; `None` where they say nothing.
    pub address: Option<SocketAddr>,
    /// Whether they name an IP address.
    pub is_ip_set: bool,
}

impl Expected {
    fn agrees(&self, socket: SocketAddr) -> bool {
        self.address.is_none_or(|setting| {
            let is_port = setting.port() == 0 || setting.port() == socket.port();
            is_port && (!self.is_ip_set || setting.ip() == socket.ip())
        })
    }

    fn says(&self) -> String {
        let port = |setting: SocketAddr| match self.is_ip_set {
            true => setting.to_string(),
            false => format!("port {}", setting.port()),
        };
        self.address.map(port).unwrap_or_default()
    }
}

/// Takes on a socket that was handed over, blocking or not, for this process and none of its children.
///
/// # Errors
/// It does not listen, or not where the settings say.
pub fn listener(socket: TcpListener, expected: &Expected) -> Result<Listener, UnusableSocket> {
    let name = expected.name;
    let unusable = |error| UnusableSocket::System(name, error);
    let socket = Socket::from(socket);
    socket.set_cloexec(true).map_err(unusable)?;
    if !socket.is_listener().map_err(unusable)? {
        return Err(UnusableSocket::NotListening(name));
    }
    let listener = Listener::of(socket, Port::Handed).map_err(unusable)?;
    if expected.agrees(listener.address()) {
        return Ok(listener);
    }
    Err(UnusableSocket::Elsewhere {
        name,
        socket: listener.address(),
        settings: expected.settings,
        setting: expected.says(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handed_over_socket_must_be_where_the_settings_say() {
        for (setting, is_ip_set, socket, expect) in [
            (None, false, "192.0.2.1:9", true),
            (Some("[::]:8081"), false, "[::]:8081", true),
            (Some("[::]:8081"), false, "192.0.2.1:8081", true),
            (Some("[::]:8081"), false, "[::]:443", false),
            (Some("[::]:0"), false, "[::]:443", true),
            (Some("192.0.2.1:8081"), true, "192.0.2.1:8081", true),
            (Some("192.0.2.1:8081"), true, "[::]:8081", false),
            (Some("0.0.0.0:0"), true, "[::]:8081", false),
        ] {
            let expected = Expected {
                name: "public",
                settings: "BIND_ADDR, PORT",
                address: setting.map(|address| address.parse().unwrap()),
                is_ip_set,
            };
            let agrees = expected.agrees(socket.parse().unwrap());
            assert_eq!(agrees, expect, "{setting:?} {is_ip_set} {socket}");
        }
    }
}
