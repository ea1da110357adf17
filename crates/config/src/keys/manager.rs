//! What the service manager says, systemd for one.

use super::declaration::section;

section! {
    SERVICE_MANAGER: "Service manager", "systemd sets these, or whatever speaks its protocols; nobody sets them by hand. The `dev` and `demo` \
    commands pass them over. How to use them is in [operations.md](operations.md).";
    LISTEN_FDS: CountOrZero, Value("0"),
        "How many listening sockets were handed over (`sd_listen_fds(3)`); with none the gateway binds its own. The public one takes the place of `BIND_ADDR` and `PORT`, that \
        of the operator the place of `OPERATOR_ADDR`: what these say must be where the socket listens, `PORT=8081` in production \
        too, but an unset `BIND_ADDR` or `OPERATOR_ADDR` and, in dev, port 0 agree with any.";
    LISTEN_PID: Count, Unset("refused where `LISTEN_FDS` is set"),
        "Which process they are for. They are refused where that is another one, so that no gateway passes them over and binds a \
        port of its own.";
    LISTEN_FDNAMES: List("names, with colons"), Unset("one socket is the public one"),
        "What each is: `public` or `operator`, each at most once (`FileDescriptorName=` of the .socket unit). A single socket is \
        the public one, unless it is called `operator`.";
    NOTIFY_SOCKET: UnixSocket, Unset("nobody is told"),
        "Where the manager is told (`sd_notify(3)`) that the gateway accepts connections, reloads and stops, and what `/ready` says.";
    WATCHDOG_USEC: Count, Unset("no watchdog"),
        "After how many microseconds without a sign of life the manager takes the process for dead. The gateway gives one each half of it.";
    WATCHDOG_PID: Count, Unset("this process"),
        "Whose sign of life the manager waits for. No other process gives one.";
}
