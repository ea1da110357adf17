//! Query strings as `&`-separated pieces that are compared but never re-encoded.

use percent_encoding::percent_decode_str;

/// The pieces of a query, each `name` or `name=value`. `;` is data.
pub(crate) fn pieces(query: &str) -> impl Iterator<Item = &str> {
    query.split('&')
}

/// The name of a piece as written.
pub(crate) fn name(piece: &str) -> &str {
    piece.split_once('=').map_or(piece, |(name, _)| name)
}

/// Whether two names are the same to a reader of `application/x-www-form-urlencoded`: percent sequences decoded once,
/// `+` read as a space, a broken percent sequence as itself.
pub(crate) fn is_same_name(a: &str, b: &str) -> bool {
    let is_coded = |name: &str| name.contains(['%', '+']);
    a == b || ((is_coded(a) || is_coded(b)) && decoded_form(a) == decoded_form(b))
}

/// Whether a name is one of those that pieces of `query` have.
pub(crate) fn names_in(query: &str, wanted: &str) -> bool {
    pieces(query).any(|piece| !piece.is_empty() && is_same_name(name(piece), wanted))
}

fn decoded_form(name: &str) -> Vec<u8> {
    let spaced = name.replace('+', " ");
    percent_decode_str(&spaced).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_in_every_percent_spelling() {
        for (a, b) in [
            ("key", "%6bey"),
            ("key", "%6B%65%79"),
            ("a b", "a+b"),
            ("a+b", "a%20b"),
            ("%zz", "%zz"),
        ] {
            assert!(is_same_name(a, b), "{a} {b}");
        }
        for (a, b) in [
            ("key", "Key"),
            ("key", "%256bey"),
            ("a+b", "a%2Bb"),
            ("key", "key2"),
            ("key", "%6"),
            ("", "a"),
        ] {
            assert!(!is_same_name(a, b), "{a} {b}");
        }
    }

    #[test]
    fn a_name_ends_at_the_first_equals_sign() {
        assert_eq!(name("a=b=c"), "a");
        assert_eq!(name("a"), "a");
        assert_eq!(name("=a"), "");
        assert_eq!(name("a;b=c"), "a;b");
    }

    #[test]
    fn empty_pieces_name_nothing() {
        assert!(!names_in("", ""));
        assert!(!names_in("a=1&&b", ""));
        assert!(names_in("a=1&&b", "b"));
        assert!(names_in("=x", ""));
    }
}
