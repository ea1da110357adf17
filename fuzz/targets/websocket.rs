//! The frames of a direction of a WebSocket connection: however they are cut, the same boundaries.
#![no_main]

use gateway::relay::websocket::Frames;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], u8)| {
    let (bytes, cut) = input;
    let (mut one_by_one, mut in_pieces) = (Frames::default(), Frames::default());
    for piece in bytes.chunks(usize::from(cut).max(1)) {
        for byte in piece {
            let had_closed = one_by_one.has_closed();
            one_by_one.pass(&[*byte]);
            // A boundary behind the frame that ends the connection is none for another frame.
            assert!(!(had_closed && one_by_one.may_close()));
        }
        in_pieces.pass(piece);
        assert_eq!(one_by_one.may_close(), in_pieces.may_close());
        assert_eq!(one_by_one.has_closed(), in_pieces.has_closed());
    }
});
