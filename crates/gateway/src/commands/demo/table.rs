//! The table of what was sent, expected and seen.

use std::fmt::Write as _;
use std::time::Duration;

/// Rows that belong together.
pub(super) struct Section {
    pub(super) title: &'static str,
    pub(super) rows: Vec<Row>,
}

/// One row.
pub(super) struct Row {
    /// The gate that decides, with its number in the walk.
    pub(super) gate: &'static str,
    /// What was sent.
    pub(super) sent: String,
    /// What must come of it.
    pub(super) expected: String,
    /// What came of it: a few words when it is as expected, everything known when it is not.
    pub(super) outcome: Result<String, String>,
}

impl Row {
    pub(super) fn new(
        gate: &'static str,
        sent: impl Into<String>,
        expected: impl Into<String>,
        outcome: Result<String, String>,
    ) -> Self {
        Self {
            gate,
            sent: sent.into(),
            expected: expected.into(),
            outcome,
        }
    }

    fn cells(&self) -> [&str; 3] {
        [self.gate, &self.sent, &self.expected]
    }
}

const HEADINGS: [&str; 3] = ["GATE", "SENT", "EXPECTED"];
const OUTCOME: &str = "OUTCOME";

const BOLD: &str = "\u{1b}[1m";
const GREEN: &str = "\u{1b}[32m";
const RED: &str = "\u{1b}[1;31m";
const PLAIN: &str = "\u{1b}[0m";

/// Draws the table and its closing line; colours are for terminals.
pub(super) fn render(sections: &[Section], colours: bool) -> String {
    let paint = |colour: &'static str| if colours { colour } else { "" };
    let plain = paint(PLAIN);
    let widths = widths(sections);
    let headings = line(&widths, HEADINGS);
    let mut text = format!("{}{headings}{OUTCOME}{plain}\n", paint(BOLD));
    for section in sections {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "\n{}{}{plain}", paint(BOLD), section.title);
        for row in &section.rows {
            let cells = line(&widths, row.cells());
            let _ = match &row.outcome {
                Ok(seen) => writeln!(text, "{cells}{}pass{plain}  {seen}", paint(GREEN)),
                Err(seen) => writeln!(text, "{cells}{}FAIL{plain}\n        got: {seen}", paint(RED)),
            };
        }
    }
    let (rows, failed) = (rows(sections).count(), failed(sections));
    let colour = paint(if failed == 0 { GREEN } else { RED });
    let _ = writeln!(text, "\n{colour}{} passed, {failed} failed{plain}", rows - failed);
    text
}

/// How many rows are not as expected.
pub(super) fn failed(sections: &[Section]) -> usize {
    rows(sections).filter(|row| row.outcome.is_err()).count()
}

fn rows(sections: &[Section]) -> impl Iterator<Item = &Row> {
    sections.iter().flat_map(|section| &section.rows)
}

/// The width of each column in characters.
fn widths(sections: &[Section]) -> [usize; 3] {
    let mut widths = HEADINGS.map(str::len);
    for row in rows(sections) {
        for (width, cell) in widths.iter_mut().zip(row.cells()) {
            *width = (*width).max(cell.chars().count());
        }
    }
    widths
}

fn line(widths: &[usize; 3], cells: [&str; 3]) -> String {
    widths
        .iter()
        .zip(cells)
        .fold(String::new(), |mut line, (width, cell)| {
            let _ = write!(line, "{cell:<width$}  ");
            line
        })
}

/// A duration for people.
pub(super) fn milliseconds(took: Duration) -> String {
    format!("{:.1} ms", took.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sections() -> [Section; 2] {
        let row = |gate, sent: &str, expected: &str, outcome| Row {
            gate,
            sent: sent.into(),
            expected: expected.into(),
            outcome,
        };
        [
            Section {
                title: "Crossings",
                rows: vec![row("all", "a mandate", "200", Ok("200  0.4 ms".into()))],
            },
            Section {
                title: "Preflight",
                rows: vec![row(
                    " 5 path",
                    "GET /á/../b",
                    "400 path traversal",
                    Err("200 {}".into()),
                )],
            },
        ]
    }

    #[test]
    fn columns_are_aligned_and_a_difference_is_told_below_its_row() {
        let expect = "\
GATE     SENT         EXPECTED            OUTCOME

Crossings
all      a mandate    200                 pass  200  0.4 ms

Preflight
 5 path  GET /á/../b  400 path traversal  FAIL
        got: 200 {}

1 passed, 1 failed
";
        assert_eq!(render(&sections(), false), expect);
        assert_eq!(failed(&sections()), 1);
    }

    #[test]
    fn colours_change_nothing_but_colours() {
        let mut coloured = render(&sections(), true);
        assert!(coloured.contains(RED) && coloured.contains(GREEN));
        for code in [BOLD, GREEN, RED, PLAIN] {
            coloured = coloured.replace(code, "");
        }
        assert_eq!(coloured, render(&sections(), false));
    }
}
