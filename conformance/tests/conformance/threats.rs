//! `docs/threats.md` names a test for every attack and `docs/compatibility.md` for every difference; the tests exist, and so
//! do the files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

#[test]
fn threats_every_attack_names_tests_and_files_that_exist() {
    judge("docs/threats.md", "| Attack", 30);
}

#[test]
fn compatibility_every_difference_names_tests_that_exist() {
    judge("docs/compatibility.md", "| What", 40);
}

/// Every row of a page's tables, whose first one begins like this: its last cell names tests or scripts, the one behind its first may
/// link to files.
fn judge(path: &str, heading: &str, least: usize) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = std::fs::read_to_string(root.join(path)).expect("a page");
    let mut known = BTreeSet::new();
    for directory in ["crates", "testkit", "conformance", "bench", "fuzz"] {
        collect(&root.join(directory), &mut known);
    }
    let mut failures = Vec::new();
    let mut rows = 0;
    for row in page
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with(heading))
    {
        rows += 1;
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        let (what, tests) = (cells[0].trim(), cells[cells.len() - 1]);
        let named: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        if named.is_empty() {
            failures.push(format!("{what}: no test"));
        }
        for name in named {
            let is_script = name.starts_with("scripts/") && root.join(name).is_file();
            if !is_script && !known.contains(name) {
                failures.push(format!("{what}: no test {name}"));
            }
        }
        let places = cells.get(1).copied().unwrap_or_default();
        for link in places.split("](").skip(1) {
            let file = link.split(')').next().unwrap_or_default();
            if !root.join("docs").join(file).is_file() {
                failures.push(format!("{what}: no file {file}"));
            }
        }
    }
    assert!(rows > least, "{rows} rows");
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
