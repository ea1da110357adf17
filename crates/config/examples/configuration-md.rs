//! Prints `docs/configuration.md`: `cargo run -p caracal-config --example configuration-md > docs/configuration.md`.

#[expect(clippy::print_stdout, reason = "printing is what this example is for")]
fn main() {
    print!("{}", config::render::configuration_markdown());
}
