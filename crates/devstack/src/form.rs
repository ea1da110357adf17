//! `application/x-www-form-urlencoded` text (WHATWG URL §5), for bodies and queries.

use std::borrow::Cow;

/// The most fields a form may have.
const MOST_FIELDS: usize = 64;

/// The text is not a form: a bad percent escape, not UTF-8, or too many fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// The decoded fields, in order.
#[derive(Debug)]
pub(crate) struct Form<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Form<'a> {
    pub(crate) fn parse(text: &'a [u8]) -> Result<Self, Malformed> {
        let pieces = text.split(|byte| *byte == b'&').filter(|piece| !piece.is_empty());
        let mut fields = Vec::with_capacity(12);
        for piece in pieces {
            if fields.len() == MOST_FIELDS {
                return Err(Malformed);
            }
            let mut halves = piece.splitn(2, |byte| *byte == b'=');
            let name = decode(halves.next().unwrap_or_default())?;
            let value = decode(halves.next().unwrap_or_default())?;
            fields.push((name, value));
        }
        Ok(Self(fields))
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

fn decode(text: &[u8]) -> Result<Cow<'_, str>, Malformed> {
    if !text.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return std::str::from_utf8(text)
            .map(Cow::Borrowed)
            .map_err(|_| Malformed);
    }
    let digit = |byte: Option<&u8>| {
        byte.and_then(|byte| char::from(*byte).to_digit(16))
            .ok_or(Malformed)
    };
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let value = digit(bytes.next())? << 4 | digit(bytes.next())?;
                u8::try_from(value).map_err(|_| Malformed)?
            }
            other => *other,
        });
    }
    String::from_utf8(decoded).map(Cow::Owned).map_err(|_| Malformed)
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
        let crowd = "a&".repeat(MOST_FIELDS + 1);
        for text in ["a=%", "a=%4", "a=%zz", "a=%ff", "%+1", crowd.as_str()] {
            assert_eq!(Form::parse(text.as_bytes()).err(), Some(Malformed), "{text}");
        }
        assert!(Form::parse(b"a=\xff").is_err());
    }
}
