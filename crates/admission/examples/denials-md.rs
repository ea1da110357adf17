//! Prints `docs/denials.md`:
//! `cargo run --release -p caracal-admission --example denials-md > docs/denials.md`

#[path = "denials_md/page.rs"]
mod page;

#[expect(clippy::print_stdout, reason = "printing is what it is for")]
fn main() {
    print!("{}", page::render());
}
