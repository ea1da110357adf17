//! `docs/threats.md` names a test for every attack; the tests it names exist, and so do the files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

#[test]
fn threats_every_attack_names_tests_and_files_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = std::fs::read_to_string(root.join("docs/threats.md")).expect("docs/threats.md");
    let mut known = BTreeSet::new();
    for directory in ["crates", "testkit", "conformance", "bench", "fuzz"] {
        collect(&root.join(directory), &mut known);
    }
    let mut failures = Vec::new();
    let mut rows = 0;
    for row in page
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| Attack"))
    {
        rows += 1;
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        let (attack, tests) = (cells[0].trim(), cells[cells.len() - 1]);
        let named: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        if named.is_empty() {
            failures.push(format!("{attack}: no test"));
        }
        for name in named {
            if !known.contains(name) {
                failures.push(format!("{attack}: no test {name}"));
            }
        }
        let places = cells.get(1).copied().unwrap_or_default();
        for link in places.split("](").skip(1) {
            let path = link.split(')').next().unwrap_or_default();
            if !root.join("docs").join(path).is_file() {
                failures.push(format!("{attack}: no file {path}"));
            }
        }
    }
    assert!(rows > 30, "{rows} rows");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// The names of all test functions below a directory.
fn collect(directory: &Path, names: &mut BTreeSet<String>) {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return;
    };
    let paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    for path in paths {
        if path.is_dir() {
            collect(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).expect("a source file");
            let mut marked = false;
            for line in text.lines().map(str::trim) {
                marked |= line == "#[test]" || line.starts_with("#[tokio::test");
                let function = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
                if let Some(name) = function.and_then(|rest| rest.split('(').next()) {
                    if marked {
                        names.insert(name.to_owned());
                    }
                    marked = false;
                }
            }
        }
    }
}
