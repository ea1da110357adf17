//! The shared test vectors, `testkit/vectors/*.json`.

use serde::de::DeserializeOwned;
use std::path::PathBuf;

/// The folder of the vectors.
pub fn directory() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/vectors"))
}

/// Reads one file, named without its ending: `vectors::load::<serde_json::Value>("paths")`.
///
/// # Panics
/// When there is no such file or it does not have the wanted shape.
pub fn load<T: DeserializeOwned>(name: &str) -> T {
    let path = directory().join(name).with_extension("json");
    let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::directory;
    use std::collections::BTreeMap;
    use std::path::Path;

    fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
        std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
            .map(|path| {
                (
                    path.file_name().unwrap().to_string_lossy().into_owned(),
                    std::fs::read(&path).unwrap(),
                )
            })
            .collect()
    }

    #[test]
    fn every_vector_file_is_json() {
        let files = files(&directory());
        assert!(files.len() >= 7, "{:?}", files.keys());
        for (name, text) in files {
            serde_json::from_slice::<serde_json::Value>(&text)
                .unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }

    /// Beside the repository there may be a folder that other implementations read too; ours must be the same files.
    #[test]
    fn vectors_equal_the_shared_ones_where_those_exist() {
        let shared = directory().join("../../../shared/vectors");
        if !shared.is_dir() {
            return;
        }
        assert!(
            files(&directory()) == files(&shared),
            "{} differs from {}",
            directory().display(),
            shared.display()
        );
    }
}
