//! Where in a direction of a WebSocket connection the relay is, and the frame that ends it (RFC 6455 §5).

/// The most bytes of a frame's header: two, a length of eight, a mask of four.
const MAX_HEADER: usize = 14;
const CLOSE: u8 = 8;
const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;
/// The highest bit of a length that a frame may not have.
const TOO_LONG: u64 = 1 << 63;

/// Follows the frames of one direction as far as their boundaries go. What they hold is nobody's business here.
#[derive(Debug, Default)]
pub struct Frames {
    place: Place,
    /// The header of a close frame came.
    has_closed: bool,
}

#[derive(Debug)]
enum Place {
    /// So many bytes of a header came; none between frames.
    Header([u8; MAX_HEADER], usize),
    /// So many bytes of a payload are to come.
    Payload(u64),
    /// What came is no frame.
    Lost,
}

impl Default for Place {
    fn default() -> Self {
        Self::Header([0; MAX_HEADER], 0)
    }
}

impl Frames {
    /// These bytes were passed on.
    pub fn pass(&mut self, mut bytes: &[u8]) {
        while let Some((&first, rest)) = bytes.split_first() {
            match &mut self.place {
                Place::Lost => return,
                Place::Payload(left) => {
                    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    bytes = &bytes[taken..];
                    *left -= taken as u64;
                    if *left == 0 {
                        self.place = Place::default();
                    }
                }
                Place::Header(header, came) => {
                    header[*came] = first;
                    *came += 1;
                    bytes = rest;
                    if let Some(length) = payload(&header[..*came]) {
                        self.has_closed |= header[0] & 0x0f == CLOSE;
                        self.place = match length {
                            0 => Place::default(),
                            TOO_LONG.. => Place::Lost,
                            _ => Place::Payload(length),
                        };
                    }
                }
            }
        }
    }

    /// Whether a frame of the gateway's own may come next: none is under way, and none that ends the connection came.
    #[must_use]
    pub fn may_close(&self) -> bool {
        !self.has_closed && matches!(self.place, Place::Header(_, 0))
    }

    /// Whether the frame that ends the connection has passed.
    #[must_use]
    pub fn has_closed(&self) -> bool {
        self.has_closed && matches!(self.place, Place::Header(_, 0))
    }
}

/// The length of the payload, once its header is whole.
fn payload(header: &[u8]) -> Option<u64> {
    let (&[_, second], rest) = header.split_first_chunk()?;
    let (width, length) = match second & !MASKED {
        126 => (2, None),
        127 => (8, None),
        length => (0, Some(u64::from(length))),
    };
    let mask = if second & MASKED == 0 { 0 } else { 4 };
    let extended = rest.get(..width).filter(|_| rest.len() == width + mask)?;
    Some(length.unwrap_or_else(|| {
        let byte = |length, &byte: &u8| length << 8 | u64::from(byte);
        extended.iter().fold(0, byte)
    }))
}

/// A close frame with this status and reason (RFC 6455 §5.5.1, §7.4), masked towards a server.
pub(super) fn close_frame(status: u16, reason: &str, mask: Option<[u8; 4]>) -> Vec<u8> {
    let payload = [&status.to_be_bytes(), reason.as_bytes()].concat();
    // The reasons are the gateway's own and short.
    let length = u8::try_from(payload.len()).unwrap_or(125).min(125);
    let payload = payload.into_iter().take(length.into());
    let mut frame = vec![FIN | CLOSE];
    match mask {
        None => {
            frame.push(length);
            frame.extend(payload);
        }
        Some(mask) => {
            frame.push(MASKED | length);
            frame.extend(mask);
            frame.extend(payload.zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        }
    }
    frame
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn frame(first: u8, length: u64, mask: bool) -> Vec<u8> {
        let flag = if mask { MASKED } else { 0 };
        let mut bytes = match length {
            0..126 => vec![first, flag | u8::try_from(length).unwrap()],
            126..0x1_0000 => [
                &[first, flag | 126][..],
                &u16::try_from(length).unwrap().to_be_bytes(),
            ]
            .concat(),
            _ => [&[first, flag | 127][..], &length.to_be_bytes()].concat(),
        };
        bytes.extend(if mask { &[1, 2, 3, 4][..] } else { &[] });
        bytes.extend(vec![b'x'; usize::try_from(length).unwrap()]);
        bytes
    }

    /// Behind which of these bytes a frame of the gateway's own may come.
    fn boundaries(bytes: &[u8]) -> Vec<usize> {
        let mut frames = Frames::default();
        let at_start = frames.may_close().then_some(0);
        let behind = bytes.iter().enumerate().filter_map(|(at, byte)| {
            frames.pass(&[*byte]);
            frames.may_close().then_some(at + 1)
        });
        at_start.into_iter().chain(behind).collect()
    }

    #[test]
    fn websocket_boundaries_lie_between_frames_however_they_arrive() {
        for mask in [false, true] {
            // Text, a fragment and its ping and end, every width of a length.
            let frames = [
                frame(0x81, 5, mask),
                frame(0x02, 0, mask),
                frame(0x89, 125, mask),
                frame(0x80, 126, mask),
                frame(0xc2, 65_535, mask),
                frame(0x82, 65_536, mask),
            ];
            let mut ends = vec![0];
            for frame in &frames {
                ends.push(ends.last().unwrap() + frame.len());
            }
            let bytes = frames.concat();
            assert_eq!(boundaries(&bytes), ends, "masked: {mask}");
            let mut whole = Frames::default();
            whole.pass(&bytes);
            assert!(whole.may_close() && !whole.has_closed());
        }
    }

    proptest! {
        #[test]
        fn websocket_boundaries_do_not_depend_on_how_bytes_are_cut(
            frames in vec((prop::sample::select(&[0x81_u8, 0x02, 0x80, 0x88, 0x89, 0x8a, 0xc1][..]), 0..300_u64, any::<bool>()), 0..8),
            noise in vec(any::<u8>(), 0..20),
            cuts in vec(1..40_usize, 1..20),
        ) {
            let whole: Vec<u8> = frames.iter().flat_map(|(first, length, mask)| frame(*first, *length, *mask)).collect();
            let bytes = [&whole[..], &noise].concat();
            let mut ends = vec![0];
            for (first, length, mask) in &frames {
                // There is none behind a close frame.
                if *first == 0x88 {
                    break;
                }
                ends.push(ends.last().unwrap() + frame(*first, *length, *mask).len());
            }
            let found = boundaries(&bytes);
            prop_assert!(found.iter().filter(|at| **at <= whole.len()).eq(&ends));
            let (mut tracker, mut at, mut cuts) = (Frames::default(), 0, cuts.into_iter().cycle());
            while at < bytes.len() {
                let next = bytes.len().min(at + cuts.next().unwrap());
                tracker.pass(&bytes[at..next]);
                at = next;
                prop_assert_eq!(tracker.may_close(), found.contains(&at));
            }
        }
    }

    #[test]
    fn websocket_has_no_boundary_behind_a_close_frame_or_what_is_none() {
        let mut frames = Frames::default();
        let close = frame(0x88, 2, true);
        frames.pass(&close[..6]);
        assert!(!frames.has_closed() && !frames.may_close(), "under way");
        frames.pass(&close[6..]);
        assert!(frames.has_closed() && !frames.may_close());

        let mut frames = Frames::default();
        frames.pass(&[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0]);
        frames.pass(&frame(0x81, 5, false));
        assert!(!frames.may_close() && !frames.has_closed());
    }

    #[test]
    fn websocket_close_frames_are_those_of_the_specification() {
        assert_eq!(close_frame(1008, "ab", None), [0x88, 4, 0x03, 0xf0, b'a', b'b']);
        let masked = close_frame(1001, "a", Some([1, 2, 3, 4]));
        assert_eq!(masked, [0x88, 0x83, 1, 2, 3, 4, 0x03 ^ 1, 0xe9 ^ 2, b'a' ^ 3]);
        let long = close_frame(1000, &"a".repeat(200), None);
        assert_eq!((long.len(), long[1]), (127, 125));
        for frame in [long, masked] {
            let mut frames = Frames::default();
            frames.pass(&frame);
            assert!(frames.has_closed());
        }
    }
}
