//! `docs/denials.md` says what the table of refusals says.

use admission::Denial;

#[path = "../examples/denials_md/page.rs"]
mod page;

const WRITTEN: &str = include_str!("../../../docs/denials.md");

#[test]
fn denials_page_is_the_generated_one() {
    assert!(
        page::render() == WRITTEN,
        "docs/denials.md drifted: cargo run --release -p caracal-admission --example denials-md > docs/denials.md"
    );
}

#[test]
fn denials_page_has_every_refusal_once() {
    for denial in Denial::ALL {
        let row = denial.row();
        let cells = format!("| {} | `{}` |", row.description, row.label);
        assert_eq!(WRITTEN.matches(&cells).count(), 1, "{cells}");
    }
}
