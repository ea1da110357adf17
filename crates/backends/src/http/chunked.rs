//! The chunked coding of a response body (RFC 9112 §7.1), byte by byte: what is unfinished needs no buffer.
//!
//! As strict as the HTTP library, with the same bounds, and stricter in that a line of the trailers ends with CRLF.

use bytes::{Buf as _, Bytes};
use http::{HeaderMap, HeaderName, HeaderValue};

/// Most bytes of chunk extensions in a body. They are ignored, as nobody defines any.
const MAX_EXTENSION_BYTES: usize = 16 * 1024;
/// Most bytes of trailers, with their line ends.
const MAX_TRAILER_BYTES: usize = 16 * 1024;
/// Most trailers.
const MAX_TRAILERS: usize = 100;

/// Where in the coding it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    /// The first digit of a chunk's size.
    #[default]
    FirstDigit,
    Size,
    /// White space behind the size.
    Space,
    Extension,
    /// The LF of a size's line.
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// The first byte of a line behind the last chunk.
    TrailerStart,
    Trailer,
    TrailerLf,
    /// The LF of the empty line.
    EndLf,
    End,
}

/// What the next bytes of a body hold.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// Some of its data.
    Data(Bytes),
    /// The body is whole, with these trailers. What follows is not part of it.
    End(Option<HeaderMap>),
}

/// The bytes are no chunked coding, or one that is out of bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed chunked coding: {0}")]
pub struct Malformed(&'static str);

/// Decodes one body.
#[derive(Debug, Default)]
pub struct Chunked {
    at: At,
    /// What is left of the chunk.
    left: u64,
    extension_bytes: usize,
    /// The lines behind the last chunk, the empty one too if there are others.
    trailers: Vec<u8>,
    trailer_lines: usize,
}

impl Chunked {
    /// Takes the next piece from the front of the bytes; `None` if they hold none and are used up.
    ///
    /// # Errors
    /// The bytes are malformed. The body has to be given up.
    pub fn next(&mut self, bytes: &mut Bytes) -> Result<Option<Piece>, Malformed> {
        while bytes.has_remaining() {
            if self.at == At::Data {
                let length = usize::try_from(self.left).map_or(bytes.len(), |left| left.min(bytes.len()));
                self.left -= length as u64;
                if self.left == 0 {
                    self.at = At::DataCr;
                }
                return Ok(Some(Piece::Data(bytes.split_to(length))));
            }
            self.at = self.step(bytes.get_u8())?;
            if self.at == At::End {
                return Ok(Some(Piece::End(self.trailers()?)));
            }
        }
        Ok(None)
    }

    fn step(&mut self, byte: u8) -> Result<At, Malformed> {
        match (self.at, byte) {
            (At::FirstDigit | At::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => self.digit(byte),
            (At::Size | At::Space, b' ' | b'\t') => Ok(At::Space),
            (At::Size | At::Space, b';') => Ok(At::Extension),
            (At::Size | At::Space | At::Extension, b'\r') => Ok(At::SizeLf),
            (At::Extension, b'\n') => Err(Malformed("a line feed in a chunk's extension")),
            (At::Extension, _) => self.extension(),
            (At::SizeLf, b'\n') if self.left == 0 => Ok(At::TrailerStart),
            (At::SizeLf, b'\n') => Ok(At::Data),
            (At::DataCr, b'\r') => Ok(At::DataLf),
            (At::DataLf, b'\n') => Ok(At::FirstDigit),
            (At::TrailerStart, b'\r') if self.trailers.is_empty() => Ok(At::EndLf),
            (At::TrailerStart, b'\r') => self.trailer(byte, At::EndLf),
            (At::TrailerStart | At::Trailer, b'\n') => Err(Malformed("a line feed alone in the trailers")),
            (At::Trailer, b'\r') => self.trailer(byte, At::TrailerLf),
            (At::TrailerStart | At::Trailer, _) => self.trailer(byte, At::Trailer),
            (At::TrailerLf, b'\n') => self.trailer_end(),
            (At::EndLf, b'\n') if self.trailers.is_empty() => Ok(At::End),
            (At::EndLf, b'\n') => self.trailer(byte, At::End),
            (At::FirstDigit | At::Size | At::Space | At::SizeLf, _) => Err(Malformed("a chunk's size")),
            (At::DataCr | At::DataLf, _) => Err(Malformed("no line end behind a chunk")),
            (At::TrailerLf | At::EndLf, _) => Err(Malformed("a carriage return alone in the trailers")),
            // Data is taken as a whole, and nothing is asked for behind the end.
            (At::Data | At::End, _) => Err(Malformed("a byte that belongs nowhere")),
        }
    }

    fn digit(&mut self, byte: u8) -> Result<At, Malformed> {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            _ => byte.to_ascii_lowercase() - b'a' + 10,
        };
        let size = self.left.checked_mul(16);
        let size = size.and_then(|size| size.checked_add(u64::from(digit)));
        self.left = size.ok_or(Malformed("a chunk's size beyond 64 bits"))?;
        Ok(At::Size)
    }

    fn extension(&mut self) -> Result<At, Malformed> {
        self.extension_bytes += 1;
        if self.extension_bytes < MAX_EXTENSION_BYTES {
            Ok(At::Extension)
        } else {
            Err(Malformed("more than 16 KiB of chunk extensions"))
        }
    }

    fn trailer(&mut self, byte: u8, then: At) -> Result<At, Malformed> {
        self.trailers.push(byte);
        if self.trailers.len() < MAX_TRAILER_BYTES {
            Ok(then)
        } else {
            Err(Malformed("more than 16 KiB of trailers"))
        }
    }

    fn trailer_end(&mut self) -> Result<At, Malformed> {
        self.trailer_lines += 1;
        if self.trailer_lines <= MAX_TRAILERS {
            self.trailer(b'\n', At::TrailerStart)
        } else {
            Err(Malformed("more than 100 trailers"))
        }
    }

    fn trailers(&self) -> Result<Option<HeaderMap>, Malformed> {
        if self.trailers.is_empty() {
            return Ok(None);
        }
        let mut lines = [httparse::EMPTY_HEADER; MAX_TRAILERS];
        let Ok(httparse::Status::Complete((_, fields))) = httparse::parse_headers(&self.trailers, &mut lines)
        else {
            return Err(Malformed("the trailers"));
        };
        let mut trailers = HeaderMap::new();
        for field in fields {
            let name = HeaderName::try_from(field.name).map_err(|_| Malformed("a trailer's name"))?;
            let value = HeaderValue::from_bytes(field.value).map_err(|_| Malformed("a trailer's value"))?;
            trailers.append(name, value);
        }
        Ok(Some(trailers))
    }
}

#[cfg(test)]
mod tests;
