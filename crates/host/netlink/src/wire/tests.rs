//! The format against bytes written by hand, and against bytes that nobody means.

use super::*;
use crate::{address, conntrack, link, nft, route};

#[test]
fn a_request_is_framed_padded_and_nested() {
    let mut request = Request::new(16, flag::CREATE, "test").body(&[1, 2, 3, 4]);
    request.text(3, "ab");
    request.nest(18, |request| request.attribute(1, &[9]));
    let mut bytes = Vec::new();
    request.finish(7, flag::ACK, &mut bytes);
    let expected = [
        40_u32.to_ne_bytes().as_slice(),
        &16_u16.to_ne_bytes(),
        &0x405_u16.to_ne_bytes(),
        &7_u32.to_ne_bytes(),
        &[0; 4],
        &[1, 2, 3, 4],
        &7_u16.to_ne_bytes(),
        &3_u16.to_ne_bytes(),
        b"ab\0\0",
        &12_u16.to_ne_bytes(),
        &0x8012_u16.to_ne_bytes(),
        &5_u16.to_ne_bytes(),
        &1_u16.to_ne_bytes(),
        &[9, 0, 0, 0],
    ]
    .concat();
    assert_eq!(bytes, expected);
    let message = messages(&bytes).next().expect("one message");
    assert_eq!((message.kind, message.sequence), (16, 7));
    let read: Vec<_> = attributes(&message.payload[4..]).collect();
    assert_eq!(read[0].text(), "ab");
    assert_eq!(read[1].nested().next(), Some(Attribute { kind: 1, value: &[9] }));
}

#[test]
fn a_request_that_does_not_fit_its_length_field_says_so() {
    let mut request = Request::new(16, 0, "test");
    request.nest(1, |request| {
        for _ in 0..20 {
            request.attribute(1, &[0; 4000]);
        }
    });
    assert!(request.overflows());
    let mut request = Request::new(16, 0, "test");
    request.attribute(1, &vec![0; 70_000]);
    assert!(request.overflows());
}

#[test]
fn an_error_has_its_number_and_the_kernels_words() {
    let mut request = Request::new(ERROR, flag::CAPPED | flag::ACK_TLVS, "test");
    request.raw(&(-17_i32).to_ne_bytes());
    request.raw(&[0; 16]);
    request.text(1, "File is there");
    let mut bytes = Vec::new();
    request.finish(1, 0, &mut bytes);
    let message = messages(&bytes).next().expect("one message");
    assert_eq!(ack(&message), Some(Ack { errno: 17, text: "File is there".to_owned() }));
}

#[test]
fn lengths_that_lie_end_the_reading() {
    for length in [0_u32, 1, 15, 17, 4096, u32::MAX] {
        let mut bytes = vec![0; 16];
        bytes[..4].copy_from_slice(&length.to_ne_bytes());
        assert_eq!(messages(&bytes).count(), 0, "{length}");
    }
    for length in [0_u16, 3, 9, u16::MAX] {
        let mut bytes = vec![0; 8];
        bytes[..2].copy_from_slice(&length.to_ne_bytes());
        assert_eq!(attributes(&bytes).count(), 0, "{length}");
    }
}

/// All that reads what the kernel sends.
fn decode_all(datagram: &[u8]) {
    for message in messages(datagram) {
        ack(&message);
        link::decode(&message);
        address::decode(&message);
        route::decode(&message);
        conntrack::decode(&message);
        nft::decode_chain(&message);
        nft::decode_elements(&message);
    }
}

/// Numbers that look random and are the same every time (xorshift).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or_default()
    }
}

#[test]
fn no_bytes_make_the_decoders_panic() {
    let kinds = [2, 3, 16, 20, 24, 0x100, 0xa03, 0xa0c];
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    for round in 0..60_000 {
        let mut request = Request::new(kinds[round % kinds.len()], 0, "noise");
        request.raw(&vec![2; [4, 8, 12, 16][noise.next() % 4]]);
        for _ in 0..noise.next() % 6 {
            let depth = noise.next() % 4;
            nested_noise(&mut request, &mut noise, depth);
        }
        let mut bytes = Vec::new();
        request.finish(1, 0x300, &mut bytes);
        decode_all(&bytes);
        for _ in 0..4 {
            let at = noise.next() % bytes.len();
            bytes[at] = (noise.next() % 256) as u8;
        }
        decode_all(&bytes);
        bytes.truncate(noise.next() % bytes.len());
        decode_all(&bytes);
    }
}

fn nested_noise(request: &mut Request, noise: &mut Noise, depth: usize) {
    let kind = (noise.next() % 20) as u16;
    if depth > 0 {
        request.nest(kind, |request| nested_noise(request, noise, depth - 1));
    } else {
        let value = vec![2; noise.next() % 24];
        request.attribute(kind, &value);
    }
}
