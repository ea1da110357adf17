//! A small real STS over HTTP and an echo upstream, loopback only, for the dev command, the demo, benchmarks and tests.
