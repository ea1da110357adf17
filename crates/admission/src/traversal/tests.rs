use percent_encoding::percent_decode;
use proptest::prelude::*;

use super::*;

#[derive(serde::Deserialize)]
struct Vectors {
    forwarded_unchanged: Vec<String>,
    refused: Vec<String>,
}

#[test]
fn path_vectors_are_judged_as_written() {
    let vectors: Vectors =
        serde_json::from_str(include_str!("../../../../testkit/vectors/paths.json")).unwrap();
    for path in &vectors.forwarded_unchanged {
        assert_eq!(judge(path.as_bytes()), Ok(()), "{path}");
    }
    for path in &vectors.refused {
        assert_eq!(judge(path.as_bytes()), Err(Traversal), "{path}");
    }
}

#[test]
fn path_separators_and_dots_are_seen_in_every_overlong_length() {
    for dot in [
        "%2e",
        "%c0%ae",
        "%e0%80%ae",
        "%f0%80%80%ae",
        "%f8%80%80%80%ae",
        "%fc%80%80%80%80%ae",
        "%25c0%25ae",
    ] {
        for slash in ["/", "%2f", "%c0%af", "%e0%80%af", "%f0%80%80%af", "%252f"] {
            let path = format!("/a{slash}{dot}{dot}{slash}b");
            assert_eq!(judge(path.as_bytes()), Err(Traversal), "{path}");
        }
    }
    for backslash in ["%c1%9c", "%e0%81%9c", "%f0%80%81%9c", "%255c", "%5c", "\\"] {
        let path = format!("/a{backslash}b");
        assert_eq!(judge(path.as_bytes()), Err(Traversal), "{path}");
    }
    for (last, expect) in [("bf", Err(Traversal)), ("a1", Ok(()))] {
        for lead in ["c1", "e0%81", "f0%80%81", "f8%80%80%81", "fc%80%80%80%81"] {
            let path = format!("/%{lead}%{last}/b");
            assert_eq!(
                judge(path.as_bytes()),
                expect,
                "{path}: an overlong DEL, an overlong letter"
            );
        }
    }
    assert_eq!(judge(b"/a/%c0%80b"), Err(Traversal), "overlong NUL");
    assert_eq!(
        judge(b"/\xc0\xae\xc0\xae/b"),
        Err(Traversal),
        "not escaped at all"
    );
    assert_eq!(
        judge(b"/\xc0\xa5252e/b"),
        Err(Traversal),
        "an overlong percent sign"
    );
}

#[test]
fn path_nested_escapes_cost_three_passes_only() {
    // 16 KiB of nested escapes: a fixpoint loop would need 8191 rounds.
    let path = format!("/%{}", "25".repeat(8191));
    assert_eq!(judge(path.as_bytes()), Ok(()));
}

proptest! {
    /// Decoding `.`/`..` parts by hand, in any mix of plain and escaped spellings, is refused.
    #[test]
    fn path_with_a_dot_part_is_refused(
        before in "[a-z]{0,8}", after in "[a-z]{0,8}",
        dots in prop::collection::vec(prop::sample::select(vec![".", "%2e", "%2E", "%252e"]), 1..=2),
        slash in prop::sample::select(vec!["/", "%2f", "%2F", "%252f"]),
    ) {
        let path = format!("/{before}{slash}{}{slash}{after}", dots.concat());
        prop_assert_eq!(judge(path.as_bytes()), Err(Traversal));
    }

    /// What is an escape and what is none, the library says.
    #[test]
    fn path_is_decoded_as_the_library_does(path in "([%]|[0-9a-fA-F]{1,3}|[/.;g]|\\PC){0,40}") {
        let library: Vec<u8> = percent_decode(path.as_bytes()).collect();
        prop_assert_eq!(decode(path.as_bytes()), library);
    }

    /// Nothing panics and decoding never grows.
    #[test]
    fn path_judgement_is_total(path in prop::collection::vec(any::<u8>(), 0..256)) {
        let _verdict = judge(&path);
        prop_assert!(decode(&path).len() <= path.len());
        prop_assert!(fold_overlong(Cow::Borrowed(&path)).len() <= path.len());
    }

    /// A path of ordinary parts passes whatever escapes of ordinary letters it holds.
    #[test]
    fn path_of_ordinary_parts_passes(parts in prop::collection::vec("[A-Za-z0-9~_-]([A-Za-z0-9~_.-]|%2F|%20|%41){0,12}", 1..8)) {
        // `x.` before an encoded slash leaves `..`-free parts as long as no part is only dots.
        let path = format!("/{}", parts.join("/"));
        let has_dot_part = String::from_utf8(percent_decode(path.as_bytes()).collect()).unwrap().split('/').any(|part| matches!(part, "." | ".."));
        prop_assert_eq!(judge(path.as_bytes()).is_err(), has_dot_part);
    }
}
