//! Prints `docs/metrics.md`: `cargo run -p caracal-gateway --example metrics-md > docs/metrics.md`.

#[expect(clippy::print_stdout, reason = "printing is what this example is for")]
fn main() {
    print!("{}", gateway::telemetry::metrics::markdown());
}
