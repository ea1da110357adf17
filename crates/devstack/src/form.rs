//! `application/x-www-form-urlencoded` text (WHATWG URL §5), for bodies and queries.

use std::borrow::Cow;

use percent_encoding::percent_decode;

/// The most fields a form may have.
const MAX_FIELDS: usize = 64;

/// The text is not a form: a bad percent escape, not UTF-8, or too many fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// The decoded fields, in order.
#[derive(Debug)]
pub(crate) struct Form<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Form<'a> {
    /// The library decodes whatever it can; what it would pass on or replace is looked for before.
    pub(crate) fn parse(text: &'a [u8]) -> Result<Self, Malformed> {
        let mut escapes = text.split(|byte| *byte == b'%').skip(1);
        let hexadecimal = |pair: &[u8; 2]| pair.iter().all(u8::is_ascii_hexdigit);
        if !escapes.all(|escape| escape.first_chunk().is_some_and(hexadecimal))
            || percent_decode(text).decode_utf8().is_err()
        {
            return Err(Malformed);
        }
        let fields: Vec<_> = form_urlencoded::parse(text).take(MAX_FIELDS + 1).collect();
        (fields.len() <= MAX_FIELDS)
            .then_some(Self(fields))
            .ok_or(Malformed)
    }

    /// The first value of a field.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// Every value of a field.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter(move |(known, _)| known == name)
            .map(|(_, value)| value.as_ref())
    }

    /// Every field.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value.as_ref()))
    }

    /// A name that occurs more than once although only `repeatable` may.
    pub(crate) fn duplicate(&self, repeatable: &str) -> Option<&str> {
        let names = self.0.iter().enumerate();
        names
            .filter(|(_, (name, _))| name != repeatable)
            .find(|(at, (name, _))| self.0.iter().take(*at).any(|(earlier, _)| earlier == name))
            .map(|(_, (name, _))| name.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_decoded_in_order() {
        let form = Form::parse(b"a=1&b=x+y%2Bz&&a=%C3%A9&c").unwrap();
        let fields: Vec<_> = form.fields().collect();
        assert_eq!(fields, [("a", "1"), ("b", "x y+z"), ("a", "é"), ("c", "")]);
        assert_eq!(form.get("b"), Some("x y+z"));
        assert_eq!(form.get("d"), None);
        assert_eq!(form.duplicate("resource"), Some("a"));
        assert_eq!(form.duplicate("a"), None);
    }

    #[test]
    fn malformed_text_is_refused() {
        let crowd = "a&".repeat(MAX_FIELDS + 1);
        for text in ["a=%", "a=%4", "a=%zz", "a=%ff", "%+1", crowd.as_str()] {
            assert_eq!(Form::parse(text.as_bytes()).err(), Some(Malformed), "{text}");
        }
        assert!(Form::parse(b"a=\xff").is_err());
    }
}
