//! Nothing is counted that no operator can read.

use std::path::Path;

/// What the rooms below publish for the operator ends in one of these.
const SUFFIXES: [&str; 4] = ["Stats", "Counters", "Status", "Figures"];
/// Known through `/ready` alone.
const CHECKS: [&str; 1] = ["LinkStatus"];

/// Every line of the sources below a folder, tests aside.
fn sources(folder: &Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("tests") {
            sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
            text.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

/// What takes this struct apart, up to the brace that ends the pattern.
fn patterns<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let body = |rest: &'a str| rest.split_once('}').unwrap().0;
    let mut found = Vec::new();
    for pattern in [format!("let {name} {{"), format!("let evidence::{name} {{")] {
        found.extend(text.split(&pattern).skip(1).map(body));
    }
    for block in text.split(&format!("\nimpl {name} {{")).skip(1) {
        let block = block.split("\n}").next().unwrap();
        found.extend(block.split_once("let Self {").map(|(_, rest)| body(rest)));
    }
    found
}

#[test]
fn every_published_figure_is_written_to_the_page() {
    let mut text = String::new();
    for room in ["admission", "backends", "evidence", "gateway"] {
        let folder = format!("{}/../{room}/src", env!("CARGO_MANIFEST_DIR"));
        sources(Path::new(&folder), &mut text);
    }
    let mut structs: Vec<&str> = text
        .split("\npub struct ")
        .skip(1)
        .filter_map(|rest| rest.split_once(" {").map(|(name, _)| name))
        .filter(|name| SUFFIXES.iter().any(|suffix| name.ends_with(suffix)) && !CHECKS.contains(name))
        .collect();
    structs.sort_unstable();
    assert!(structs.len() > 8, "{structs:?}");
    for name in &structs {
        let defined = structs.iter().filter(|other| *other == name).count();
        let whole = patterns(&text, name)
            .into_iter()
            .filter(|pattern| !pattern.contains(".."))
            .count();
        assert!(
            whole >= defined,
            "{name}: {defined} defined, {whole} taken apart without `..` by what writes its figures"
        );
    }
}
