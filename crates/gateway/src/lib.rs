//! The gateway: sockets, wiring, life cycle, operator endpoints, telemetry, command line.
